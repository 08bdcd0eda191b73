//! Where accepted connections wait for a place in the table. A process that has many connections there waits longer, so
//! that a crowd of one process does not stand between another one and the agent.

use std::collections::VecDeque;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;

use crate::{
    limits::FEW,
    peer::{Crowds, Party, Peer},
};

/// A connection of which nothing has been read.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) stream: UnixStream,
    pub(super) peer: Peer,
}

/// Those that wait, the earliest first.
#[derive(Debug)]
pub(super) struct Lobby {
    /// With the number of its arrival.
    waiting: VecDeque<(u64, Newcomer)>,
    arrivals: u64,
    /// How many of them each process has.
    crowds: Crowds,
    most: usize,
}

impl Lobby {
    /// Room for `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            arrivals: 0,
            crowds: Crowds::default(),
            most,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many of a user's wait.
    pub(super) fn of_user(&self, uid: u32) -> usize {
        self.waiting
            .iter()
            .filter(|(_, one)| one.peer.uid() == uid)
            .count()
    }

    /// Whether one more can come: where no process waits often, the kernel's queue holds the next ones.
    pub(super) fn is_open(&self) -> bool {
        self.waiting.len() < self.most || self.largest_crowd().is_some()
    }

    /// Lets one in. Where that is one too many, one that has gone leaves, else the last of the largest crowd.
    #[must_use]
    pub(super) fn enter(&mut self, newcomer: Newcomer) -> Option<Newcomer> {
        self.crowds.add(newcomer.peer.party());
        self.waiting.push_back((self.arrivals, newcomer));
        self.arrivals += 1;
        if self.waiting.len() <= self.most || self.drop_gone() {
            return None;
        }
        let crowd = self.largest_crowd()?;
        let last = self
            .waiting
            .iter()
            .rposition(|(_, one)| one.peer.party() == crowd);
        self.leave(last?)
    }

    /// Whose turn it is, when a party has so many in the table.
    pub(super) fn next_party(&self, in_table: impl Fn(Party) -> usize) -> Option<Party> {
        let next = self.next_position(in_table)?;
        self.waiting.get(next).map(|(_, one)| one.peer.party())
    }

    /// Whoever has the next place, when a party has so many in the table.
    pub(super) fn next(&mut self, in_table: impl Fn(Party) -> usize) -> Option<Newcomer> {
        let next = self.next_position(in_table)?;
        self.leave(next)
    }

    /// Each connection that a party has beyond a few sets it back by one arrival, so that nobody waits for ever.
    fn next_position(&self, in_table: impl Fn(Party) -> usize) -> Option<usize> {
        let key = |number: u64, party| number.saturating_add(beyond_few(in_table(party)));
        let waiting = self.waiting.iter().enumerate();
        let (next, _) = waiting.min_by_key(|(_, (number, one))| key(*number, one.peer.party()))?;
        Some(next)
    }

    /// Drops one whose client has closed it, if there is one.
    fn drop_gone(&mut self) -> bool {
        let watched = self
            .waiting
            .iter()
            .map(|(_, one)| PollFd::new(&one.stream, PollFlags::empty()));
        let mut watched: Vec<_> = watched.collect();
        // A failure tells of nobody who has gone.
        poll(&mut watched, Some(&Timespec::default())).ok();
        let gone = watched
            .iter()
            .position(|one| one.revents().contains(PollFlags::HUP));
        gone.and_then(|gone| self.leave(gone)).is_some()
    }

    fn leave(&mut self, position: usize) -> Option<Newcomer> {
        let (_, one) = self.waiting.remove(position)?;
        self.crowds.remove(one.peer.party());
        Some(one)
    }

    /// The process of which most wait, if those are more than an eighth of the lobby.
    fn largest_crowd(&self) -> Option<Party> {
        let (party, count) = self.crowds.largest()?;
        (count > (self.most / 8).max(1)).then_some(party)
    }
}

fn beyond_few(connections: usize) -> u64 {
    u64::try_from(connections.saturating_sub(FEW)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    /// A newcomer, and its client.
    fn pair(pid: i32) -> (Newcomer, UnixStream) {
        let (stream, client) = UnixStream::pair().expect("a pair");
        let peer = Peer::of_process_for_test(pid);
        (Newcomer { stream, peer }, client)
    }

    fn newcomer(pid: i32) -> Newcomer {
        let (newcomer, client) = pair(pid);
        // It stays open for as long as the test runs.
        let _open = client.into_std().expect("a socket").into_raw_fd();
        newcomer
    }

    fn pid(newcomer: Option<Newcomer>) -> Option<i32> {
        newcomer?.peer.pid()
    }

    fn lobby(most: usize, pids: &[i32]) -> Lobby {
        let mut lobby = Lobby::new(most);
        for pid in pids {
            assert!(lobby.is_open() && lobby.enter(newcomer(*pid)).is_none());
        }
        lobby
    }

    #[tokio::test]
    async fn a_process_that_has_many_connections_in_the_table_is_set_back_and_not_for_ever() {
        let mut lobby = lobby(8, &[1, 2, 1, 3]);
        let in_table = |party: Party| match party.pid {
            Some(1) => FEW + 3,
            _ => FEW,
        };
        assert_eq!(lobby.next_party(in_table).and_then(|party| party.pid), Some(2));
        let order: Vec<_> = (0..5).map(|_| pid(lobby.next(in_table))).collect();
        assert_eq!(order, [Some(2), Some(1), Some(3), Some(1), None]);
        assert!(lobby.is_empty() && lobby.crowds.largest().is_none());
    }

    #[tokio::test]
    async fn where_there_is_no_room_the_last_of_the_largest_crowd_leaves() {
        let mut lobby = lobby(4, &[1, 1, 2, 1]);
        assert_eq!(pid(lobby.enter(newcomer(3))), Some(1));
        assert_eq!(pid(lobby.enter(newcomer(4))), Some(1));
        assert_eq!(lobby.of_user(1000), 4);
        assert_eq!(pid(lobby.next(|_| 0)), Some(1), "the first one stayed");
    }

    #[tokio::test]
    async fn whoever_has_gone_leaves_before_anybody_who_waits() {
        let mut lobby = lobby(2, &[1]);
        let (given_up, client) = pair(1);
        assert!(lobby.enter(given_up).is_none());
        drop(client);
        assert!(lobby.enter(newcomer(1)).is_none(), "nobody is refused");
        assert_eq!(pid(lobby.enter(newcomer(1))), Some(1), "all of them wait");
    }

    #[tokio::test]
    async fn where_nobody_waits_twice_nobody_leaves_and_the_next_ones_wait_outside() {
        let mut lobby = lobby(2, &[1, 2]);
        assert!(!lobby.is_open());
        assert_eq!(pid(lobby.next(|_| 0)), Some(1));
        assert!(lobby.is_open());
    }
}
