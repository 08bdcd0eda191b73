//! The connections that are open: whose they are, what they weigh, and which of them goes when there is too much.
//!
//! What a client does with its own connections must not cost others theirs. So nothing that is full refuses whoever
//! comes next; it closes a connection: for room in the table one that is of no use, or one of a crowd, for
//! memory the one that holds the most requests half-sent or answers unread.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Caller, load::Load, turns::Turns};
use crate::{
    custody::heap,
    limits::{
        CONNECTION_BYTES, FEW, GIVE_BACK_BYTES, HALF_SENT_BYTES, MAX_STALLED, SILENT_TIME, SLOT_BYTES,
        STREAM_BYTES, TOKEN_LOAD_BYTES,
    },
    peer::{Crowds, Party, Peer, Socket},
};

/// The open connections, for whoever must close them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    main_turns: Turns,
    token_turns: Turns,
    /// What was taken can be given back to the system.
    shrunk: Notify,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// How many of those that stay each process has.
    crowds: Crowds,
    /// Those that do not take what is sent to them, since the longest time first.
    stalled: VecDeque<u64>,
    main: Scale,
    token: Scale,
    /// The most that all of it weighed since memory was given back.
    peak: usize,
}

/// What the streams of one socket weigh, in bytes, and may weigh.
#[derive(Debug, Default)]
struct Scale {
    /// Those of connections that stay.
    weight: usize,
    /// All of them: what was closed is gone when its tasks have run.
    held: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    /// Where it came in, and whose it is.
    party: Party,
    close: CancellationToken,
    /// It is closed as soon as its task runs, and counts for nothing any more.
    closing: bool,
    /// Its task ran: what the client sent may have been read.
    met: bool,
    /// The preface came: there may be requests in work.
    spoke: bool,
    /// When a request began or ended.
    used: Instant,
    weight: usize,
    streams: usize,
    /// The most streams that it had at once: HTTP/2 keeps their slots for as long as it is open.
    slots: usize,
    /// Streams that wait for the client.
    stuck: usize,
}

impl Entry {
    /// Whether the agent has anything to do for it.
    fn is_idle(&self) -> bool {
        self.streams == self.stuck
    }
}

impl Connections {
    /// None yet. So many `requests` may be in work at the main socket.
    #[must_use]
    pub fn new(requests: usize) -> Self {
        let scale = |most| Scale {
            most,
            ..Scale::default()
        };
        let book = Book {
            main: scale(requests * STREAM_BYTES + HALF_SENT_BYTES),
            token: scale(TOKEN_LOAD_BYTES),
            ..Book::default()
        };
        Self(Arc::new(Shared {
            book: Mutex::new(book),
            main_turns: Turns::new(),
            token_turns: Turns::new(),
            shrunk: Notify::new(),
        }))
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.book().entries.len()
    }

    /// How many the user `uid` has open at `socket`.
    #[must_use]
    pub fn open_of(&self, socket: Socket, uid: u32) -> usize {
        let of_user = |entry: &&Entry| (entry.party.socket, entry.party.uid) == (socket, uid);
        self.book().entries.values().filter(of_user).count()
    }

    /// How many are open at `socket`.
    #[must_use]
    pub fn open_at(&self, socket: Socket) -> usize {
        self.book().open_at(socket)
    }

    /// How many `party` has open that are to stay.
    #[must_use]
    pub fn of(&self, party: Party) -> usize {
        self.book().crowds.of(party)
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        self.book().close_where(|_, _| true);
    }

    /// Closes every connection but the caller's own, in the middle of whatever they are doing.
    pub fn close_others(&self, than: &Caller) {
        self.book().close_where(|id, _| id != than.id);
    }

    /// Closes every connection that has not said anything yet.
    pub fn close_silent(&self) {
        self.book().close_where(|_, entry| !entry.spoke);
    }

    /// Closes the connection that is missed least at the socket of `next`, who waits for room: one that has said
    /// nothing for a while, else of the process with the most connections, if those are many, the one whose last
    /// request is the longest ago. What the agent works for goes only when it is one of a crowd that keeps `next` out.
    /// `false`: there is none.
    pub fn make_room(&self, next: Party) -> bool {
        let mut book = self.book();
        let now = Instant::now();
        let (of_next, open) = (book.crowds.of(next), book.open_at(next.socket));
        let there = book
            .entries
            .iter()
            .filter(|(_, entry)| entry.party.socket == next.socket && !entry.closing && entry.met);
        let ranked = there.filter_map(|(id, entry)| {
            let crowd = book.crowds.of(entry.party);
            let busy = !entry.is_idle();
            if busy && (crowd <= FEW || crowd <= 2 * of_next) {
                return None;
            }
            let may_speak = entry.spoke || now - entry.used < SILENT_TIME;
            let spared = busy && 2 * crowd <= open;
            let beyond_few = Reverse(crowd.saturating_sub(FEW));
            Some(((may_speak, spared, beyond_few, busy, entry.used), *id))
        });
        let found = ranked.min().map(|(_, id)| id);
        found.inspect(|id| book.close(*id)).is_some()
    }

    /// Closes what was of no use for `idle`, and gives memory back after a rush. Never ends.
    pub async fn keep_tidy(self, idle: Duration) {
        // Nobody minds a tenth more.
        let mut look = tokio::time::interval((idle / 10).max(Duration::from_secs(1)));
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let now = Instant::now();
                    self.book().close_where(|_, entry| entry.is_idle() && now - entry.used >= idle);
                }
                () = self.0.shrunk.notified() => {
                    // The tasks of the connections that went are dropped first.
                    yield_now().await;
                    heap::give_back();
                }
            }
        }
    }

    /// Who may be read from at `socket`.
    pub(super) fn turns(&self, socket: Socket) -> &Turns {
        match socket {
            Socket::Main => &self.0.main_turns,
            Socket::Token => &self.0.token_turns,
        }
    }

    pub(super) fn enter(&self, peer: &Peer) -> (u64, CancellationToken) {
        let close = CancellationToken::new();
        let entry = Entry {
            party: peer.party(),
            close: close.clone(),
            closing: false,
            met: false,
            spoke: false,
            used: Instant::now(),
            weight: 0,
            streams: 0,
            slots: 0,
            stuck: 0,
        };
        let mut book = self.book();
        let id = book.next;
        book.next += 1;
        book.crowds.add(entry.party);
        book.entries.insert(id, entry);
        book.note_peak();
        (id, close)
    }

    pub(super) fn leave(&self, id: u64) {
        let mut book = self.book();
        if let Some(entry) = book.entries.remove(&id) {
            let scale = book.scale(entry.party.socket);
            scale.held -= entry.slots * SLOT_BYTES;
            if !entry.closing {
                scale.weight -= entry.weight;
                book.crowds.remove(entry.party);
            }
        }
        book.stalled.retain(|stalled| *stalled != id);
        self.note_shrinking(&mut book);
    }

    pub(super) fn met(&self, id: u64) {
        if let Some(entry) = self.book().entries.get_mut(&id) {
            entry.met = true;
        }
    }

    pub(super) fn spoke(&self, id: u64) {
        if let Some(entry) = self.book().entries.get_mut(&id) {
            entry.spoke = true;
        }
    }

    /// The client does not take what is sent. Only so many may do that at a time: what waits for them is memory.
    pub(super) fn stalls(&self, id: u64) {
        let mut book = self.book();
        book.stalled.push_back(id);
        if book.stalled.len() > MAX_STALLED
            && let Some(longest) = book.stalled.pop_front()
        {
            book.close(longest);
        }
    }

    pub(super) fn flows(&self, id: u64) {
        self.book().stalled.retain(|stalled| *stalled != id);
    }

    /// Whether more is held for the streams of `socket` than may be: what was closed must go before more is read.
    pub fn is_overloaded(&self, socket: Socket) -> bool {
        let mut book = self.book();
        let scale = book.scale(socket);
        scale.held > scale.most
    }

    /// A stream began at the connection `id`.
    pub(super) fn begin(&self, id: u64, socket: Socket) -> Load {
        let mut book = self.book();
        let mut bytes = STREAM_BYTES;
        if let Some(entry) = book.entries.get_mut(&id) {
            entry.streams += 1;
            entry.used = Instant::now();
            if entry.streams > entry.slots {
                entry.slots = entry.streams;
                bytes += SLOT_BYTES;
            }
        }
        book.weigh(id, socket, bytes);
        Load::new(self.clone(), id, socket)
    }

    /// A stream of the connection `id` holds so many bytes more.
    pub(super) fn weigh(&self, id: u64, socket: Socket, bytes: usize) {
        self.book().weigh(id, socket, bytes);
    }

    /// It holds so many bytes less.
    pub(super) fn lighten(&self, id: u64, socket: Socket, bytes: usize) {
        self.book().lighten(id, socket, bytes);
    }

    pub(super) fn set_stuck(&self, id: u64, stuck: bool) {
        if let Some(entry) = self.book().entries.get_mut(&id) {
            match stuck {
                true => entry.stuck += 1,
                false => entry.stuck -= 1,
            }
        }
    }

    /// A stream of the connection `id` that weighed so much has ended.
    pub(super) fn end(&self, id: u64, socket: Socket, weight: usize) {
        let mut book = self.book();
        // The stream may live on for a moment when its connection has gone.
        if let Some(entry) = book.entries.get_mut(&id) {
            entry.streams -= 1;
            entry.used = Instant::now();
        }
        book.lighten(id, socket, weight);
        self.note_shrinking(&mut book);
    }

    fn note_shrinking(&self, book: &mut Book) {
        if book.has_shrunk() {
            self.0.shrunk.notify_one();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn scale(&mut self, socket: Socket) -> &mut Scale {
        match socket {
            Socket::Main => &mut self.main,
            Socket::Token => &mut self.token,
        }
    }

    fn weigh(&mut self, id: u64, socket: Socket, bytes: usize) {
        self.scale(socket).held += bytes;
        self.note_peak();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.weight += bytes;
        if entry.closing {
            return;
        }
        self.scale(socket).weight += bytes;
        while self.scale(socket).weight > self.scale(socket).most {
            let open = self
                .entries
                .iter()
                .filter(|(_, entry)| entry.party.socket == socket && !entry.closing);
            let heaviest = open.max_by_key(|(id, entry)| (entry.stuck, entry.weight, Reverse(**id)));
            match heaviest.map(|(id, _)| *id) {
                Some(id) => self.close(id),
                None => break,
            }
        }
    }

    fn lighten(&mut self, id: u64, socket: Socket, bytes: usize) {
        self.scale(socket).held -= bytes;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.weight -= bytes;
        if !entry.closing {
            self.scale(socket).weight -= bytes;
        }
    }

    fn close(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.closing) else {
            return;
        };
        entry.closing = true;
        entry.close.cancel();
        let (party, weight) = (entry.party, entry.weight);
        self.scale(party.socket).weight -= weight;
        self.crowds.remove(party);
    }

    fn open_at(&self, socket: Socket) -> usize {
        let there = |entry: &&Entry| entry.party.socket == socket;
        self.entries.values().filter(there).count()
    }

    fn close_where(&mut self, which: impl Fn(u64, &Entry) -> bool) {
        let chosen = self.entries.iter().filter(|(id, entry)| which(**id, entry));
        let chosen: Vec<u64> = chosen.map(|(id, _)| *id).collect();
        chosen.into_iter().for_each(|id| self.close(id));
    }

    /// About what all of it takes, in bytes.
    fn size(&self) -> usize {
        self.entries.len() * CONNECTION_BYTES + self.main.held + self.token.held
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.size());
    }

    /// Whether so much less is held than before that it is worth giving back; once for each time.
    fn has_shrunk(&mut self) -> bool {
        let size = self.size();
        let shrunk = self.peak >= GIVE_BACK_BYTES && size <= self.peak / 2;
        if shrunk {
            self.peak = size;
        }
        shrunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Connections {
        Connections::new(1)
    }

    /// Somebody who has no connection yet.
    fn next(socket: Socket) -> Party {
        Peer::of_socket_for_test(socket, 2000, &[]).party()
    }

    fn enter(connections: &Connections) -> (u64, CancellationToken) {
        let (id, close) = connections.enter(&Peer::for_test(1000));
        connections.met(id);
        connections.spoke(id);
        (id, close)
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_by_the_connection_that_was_of_no_use_for_the_longest_time() {
        let connections = connections();
        let second = Duration::from_secs(1);
        let (silent, closed_first) = connections.enter(&Peer::for_test(1000));
        let (used, closed_last) = enter(&connections);
        tokio::time::advance(second).await;
        let (_, closed_second) = enter(&connections);
        tokio::time::advance(second).await;
        drop(connections.begin(used, Socket::Main));
        assert!(connections.make_room(next(Socket::Main)));
        assert!(!closed_first.is_cancelled(), "nothing of it could be read yet");
        assert!(closed_second.is_cancelled());
        connections.met(silent);
        assert!(connections.make_room(next(Socket::Main)));
        assert!(closed_first.is_cancelled() && !closed_last.is_cancelled());
        assert!(
            !connections.make_room(next(Socket::Token)),
            "that is another table"
        );
        assert!(connections.make_room(next(Socket::Main)) && closed_last.is_cancelled());
        assert!(
            !connections.make_room(next(Socket::Main)),
            "all are closed already"
        );
    }

    /// So many connections of a process, of which the agent works for so many.
    fn crowd(
        connections: &Connections,
        pid: i32,
        count: usize,
        busy: usize,
    ) -> (Vec<CancellationToken>, Vec<Load>) {
        let entered = (0..count).map(|_| {
            let (id, close) = connections.enter(&Peer::of_process_for_test(pid));
            connections.met(id);
            connections.spoke(id);
            (id, close)
        });
        let (ids, closes): (Vec<_>, Vec<_>) = entered.unzip();
        let loads = ids
            .iter()
            .take(busy)
            .map(|id| connections.begin(*id, Socket::Main));
        (closes, loads.collect())
    }

    fn closed(closes: &[CancellationToken]) -> usize {
        closes.iter().filter(|close| close.is_cancelled()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_by_the_process_that_has_the_most_connections_if_those_are_many() {
        let connections = Connections::new(1000);
        let (alone, _) = crowd(&connections, 1, 1, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        let (many, _) = crowd(&connections, 2, FEW + 2, 0);
        for _ in 0..2 {
            assert!(connections.make_room(next(Socket::Main)));
        }
        assert_eq!((closed(&alone), closed(&many)), (0, 2));
        assert!(connections.make_room(next(Socket::Main)));
        assert_eq!((closed(&alone), closed(&many)), (1, 2), "now it is the older one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_with_two_connections_is_no_crowd_beside_many_that_have_one() {
        let connections = Connections::new(1000);
        let singles: Vec<_> = (1..100).map(|pid| crowd(&connections, pid, 1, 0).0).collect();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (two, _) = crowd(&connections, 100, 2, 0);
        for _ in &singles {
            assert!(connections.make_room(next(Socket::Main)));
        }
        assert_eq!((closed(&singles.concat()), closed(&two)), (singles.len(), 0));
    }

    #[tokio::test]
    async fn a_crowd_that_keeps_the_agent_at_work_keeps_nobody_out() {
        let connections = Connections::new(1000);
        let (alone, _) = crowd(&connections, 1, 1, 0);
        let (many, _loads) = crowd(&connections, 2, 3 * FEW, 3 * FEW);
        assert!(connections.make_room(next(Socket::Main)));
        assert_eq!((closed(&alone), closed(&many)), (0, 1), "most of all are its own");
        let of_crowd = Peer::of_process_for_test(2).party();
        assert!(connections.make_room(of_crowd));
        assert_eq!(
            (closed(&alone), closed(&many)),
            (1, 1),
            "for itself it makes none"
        );
        assert!(!connections.make_room(of_crowd));
    }

    #[tokio::test]
    async fn a_connection_that_the_agent_works_for_makes_no_room_unless_it_is_the_clients_turn() {
        let connections = connections();
        let (id, close) = enter(&connections);
        let _in_work = connections.begin(id, Socket::Main);
        assert!(!connections.make_room(next(Socket::Main)));
        connections.set_stuck(id, true);
        assert!(connections.make_room(next(Socket::Main)) && close.is_cancelled());
    }

    #[tokio::test]
    async fn whoever_holds_most_of_what_is_half_sent_goes_and_not_who_holds_most() {
        let connections = connections();
        let (busy, closed) = enter(&connections);
        let (rude, closed_for_rudeness) = enter(&connections);
        let most = (HALF_SENT_BYTES + STREAM_BYTES) / (STREAM_BYTES + SLOT_BYTES);
        let mut loads: Vec<_> = (0..most - 1)
            .map(|_| connections.begin(busy, Socket::Main))
            .collect();
        loads.push(connections.begin(rude, Socket::Main));
        connections.set_stuck(rude, true);
        assert!(!closed.is_cancelled() && !closed_for_rudeness.is_cancelled());
        loads.push(connections.begin(busy, Socket::Main));
        assert!(closed_for_rudeness.is_cancelled() && !closed.is_cancelled());
        assert!(connections.is_overloaded(Socket::Main), "it has not gone yet");
        drop(loads);
        connections.leave(rude);
        connections.leave(busy);
        assert!(!connections.is_overloaded(Socket::Main));
    }

    #[tokio::test]
    async fn of_those_that_take_nothing_the_one_that_does_so_for_the_longest_time_goes() {
        let connections = connections();
        let all: Vec<_> = (0..=MAX_STALLED).map(|_| enter(&connections)).collect();
        all.iter().for_each(|(id, _)| connections.stalls(*id));
        let closed: Vec<_> = all.iter().map(|(_, close)| close.is_cancelled()).collect();
        assert_eq!(closed.iter().position(|closed| *closed), Some(0));
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
        connections.flows(all[1].0);
        connections.stalls(all[0].0);
        assert!(!all[2].1.is_cancelled(), "one of them takes again");
    }
}
