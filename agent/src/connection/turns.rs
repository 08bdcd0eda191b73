//! Whose turn it is to be read from: few connections at a time, and among those that wait no process more often than
//! another, however many connections it has.
//!
//! Every turn that is asked for gets a tag, one above the last of its process, and the lowest tag comes first
//! (start-time fair queueing, Goyal, Vin and Cheng 1996). A process that asked for nothing lately has a few turns
//! ahead of all that ask without end, so a client that comes for a token is not behind a crowd of any kind.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use crate::{
    limits::{TURNS, TURNS_AHEAD},
    peer::Party,
};

/// The turns of all connections.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    free: usize,
    /// The highest tag that had its turn.
    now: u64,
    next_number: u64,
    waiting: BTreeMap<Ticket, oneshot::Sender<Place>>,
    /// The last tag of each process that has no credit in full.
    last: HashMap<Party, u64>,
}

/// Its tag, and a number that is lower the earlier it asked.
type Ticket = (u64, u64);

/// Leave to be read from.
#[derive(Debug)]
pub(super) struct Place(Turns);

/// A place, sooner or later.
#[derive(Debug)]
pub(super) struct Waiting {
    turns: Turns,
    ticket: Ticket,
    place: oneshot::Receiver<Place>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Queue {
            free: TURNS,
            now: TURNS_AHEAD,
            next_number: 0,
            waiting: BTreeMap::new(),
            last: HashMap::new(),
        })))
    }

    /// Queues for `party`.
    pub(super) fn ask(&self, party: Party) -> Waiting {
        let (sender, place) = oneshot::channel();
        let ticket = self.queue().enqueue(party, sender);
        self.call();
        Waiting {
            turns: self.clone(),
            ticket,
            place,
        }
    }

    /// Whether nobody has a turn but one, and nobody waits.
    pub(super) fn is_quiet(&self) -> bool {
        let queue = self.queue();
        queue.free + 1 >= TURNS && queue.waiting.is_empty()
    }

    /// Gives the places that are free to those that wait.
    fn call(&self) {
        loop {
            let Some(next) = self.queue().take_next() else {
                return;
            };
            // Who left in this moment gives it back, which calls the next.
            drop(next.send(Place(self.clone())));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn enqueue(&mut self, party: Party, sender: oneshot::Sender<Place>) -> Ticket {
        if self.last.len() > 2 * self.waiting.len() + TURNS {
            self.forget_some();
        }
        let full_credit = self.now - TURNS_AHEAD;
        let last = self.last.entry(party);
        let tag = *last
            .and_modify(|last| *last = full_credit.max(*last + 1))
            .or_insert(full_credit);
        let ticket = (tag, self.next_number);
        self.next_number += 1;
        self.waiting.insert(ticket, sender);
        ticket
    }

    /// Forgets processes that asked the longest time ago. Where nobody uses up its credit, time stands still
    /// otherwise.
    fn forget_some(&mut self) {
        self.now += 1;
        let full_credit = self.now - TURNS_AHEAD;
        self.last.retain(|_, last| *last >= full_credit);
    }

    /// Whoever has the next free place.
    fn take_next(&mut self) -> Option<oneshot::Sender<Place>> {
        self.free = self.free.checked_sub(1)?;
        let Some(((tag, _), sender)) = self.waiting.pop_first() else {
            self.free += 1;
            return None;
        };
        self.now = self.now.max(tag);
        Some(sender)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.queue().free += 1;
        self.0.call();
    }
}

impl Waiting {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Place> {
        let place = ready!(Pin::new(&mut self.place).poll(cx));
        Poll::Ready(place.expect("a ticket is not dropped while somebody holds it"))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turns.queue().waiting.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::peer::Peer;

    fn party(pid: i32) -> Party {
        Peer::of_process_for_test(pid).party()
    }

    /// The place, if it is there.
    fn take(waiting: &mut Waiting) -> Option<Place> {
        std::future::poll_fn(|cx| waiting.poll(cx)).now_or_never()
    }

    /// All places, which `pid` has.
    fn all(turns: &Turns, pid: i32) -> Vec<Place> {
        let asked = (0..TURNS).map(|_| turns.ask(party(pid)));
        asked.map(|mut asked| take(&mut asked).expect("free")).collect()
    }

    #[test]
    fn as_many_are_read_from_as_there_are_places_and_the_others_wait() {
        let turns = Turns::new();
        assert!(turns.is_quiet());
        let mut places = all(&turns, 1);
        let mut next = turns.ask(party(1));
        assert!(take(&mut next).is_none() && !turns.is_quiet());
        places.pop();
        let place = take(&mut next).expect("one is free");
        drop((place, places));
        assert!(turns.is_quiet());
    }

    #[test]
    fn a_client_that_comes_now_and_then_is_not_behind_a_crowd_of_one_process() {
        let turns = Turns::new();
        let mut places = all(&turns, 1);
        let _crowd: Vec<_> = (0..500).map(|_| turns.ask(party(1))).collect();
        for _ in 0..3 {
            let mut other = turns.ask(party(2));
            places.pop();
            assert!(take(&mut other).is_some());
        }
    }

    #[test]
    fn a_client_that_comes_now_and_then_is_not_behind_a_crowd_of_processes() {
        let turns = Turns::new();
        let mut crowd: Vec<_> = (1..=500).map(|pid| (pid, turns.ask(party(pid)))).collect();
        // Each has its turn over and over, and asks again.
        for _ in 0..10 {
            for (pid, waiting) in &mut crowd {
                let place = take(waiting).expect("its turn, after all before it");
                *waiting = turns.ask(party(*pid));
                drop(place);
            }
        }
        let mut places: Vec<_> = crowd
            .iter_mut()
            .take(TURNS)
            .filter_map(|(_, waiting)| take(waiting))
            .collect();
        assert_eq!(places.len(), TURNS);
        for _ in 0..TURNS_AHEAD / 2 {
            let mut other = turns.ask(party(1000));
            places.pop();
            assert!(take(&mut other).is_some());
        }
    }

    #[test]
    fn two_processes_that_ask_on_and_on_have_as_many_turns_whatever_number_of_connections_they_have() {
        let turns = Turns::new();
        let mut places = all(&turns, 1);
        let mut many: Vec<_> = (0..200).map(|_| turns.ask(party(1))).collect();
        let mut few: Vec<_> = (0..2).map(|_| turns.ask(party(2))).collect();
        let (mut of_many, mut of_few) = (0, 0);
        for _ in 0..100 {
            places.pop();
            for waiting in &mut few {
                if let Some(place) = take(waiting) {
                    of_few += 1;
                    places.push(place);
                    *waiting = turns.ask(party(2));
                }
            }
            of_many += many
                .iter_mut()
                .filter_map(take)
                .map(|place| places.push(place))
                .count();
            many.retain(|waiting| !waiting.place.is_terminated());
        }
        assert_eq!(of_many + of_few, 100);
        assert!((45..=55).contains(&of_few), "{of_few}");
    }

    #[test]
    fn whoever_leaves_is_passed_over_and_gives_back_what_it_was_given() {
        let turns = Turns::new();
        let mut places = all(&turns, 1);
        let (left, given, mut next) = (turns.ask(party(1)), turns.ask(party(1)), turns.ask(party(1)));
        drop(left);
        places.pop();
        assert!(take(&mut next).is_none(), "it is the turn of the one before");
        drop(given);
        assert!(take(&mut next).is_some());
        drop((next, places));
        assert_eq!(all(&turns, 1).len(), TURNS, "no place is lost");
    }

    #[test]
    fn nothing_is_remembered_of_processes_that_have_gone() {
        let turns = Turns::new();
        for pid in 0..10_000 {
            drop(take(&mut turns.ask(party(pid))).expect("free"));
            drop(take(&mut turns.ask(party(pid))).expect("free"));
        }
        assert!(
            turns.queue().last.len() <= TURNS + 1,
            "{}",
            turns.queue().last.len()
        );
    }
}
