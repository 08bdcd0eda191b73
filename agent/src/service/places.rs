//! Places for requests in work: so many at a time, and the last of them for processes that have few.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    error::Failure,
    limits::{FEW, KEPT_FOR_FEW, TOKEN_REQUESTS},
    peer::{Crowds, Party, Socket},
};

/// Places, of each socket its own: whoever fills the restricted one's delays nobody else.
pub struct Places {
    main: Pool,
    token: Pool,
}

/// The places of one socket.
#[derive(Clone)]
struct Pool {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: Crowds,
}

/// One of them, given back when it is dropped.
pub(super) struct Place {
    pool: Pool,
    party: Party,
}

impl Places {
    /// `main` places for the main socket, and [`TOKEN_REQUESTS`] for the restricted one.
    #[must_use]
    pub fn new(main: usize) -> Self {
        Self {
            main: Pool::of(main),
            token: Pool::of(TOKEN_REQUESTS),
        }
    }

    pub(super) fn take(&self, party: Party) -> Result<Place, Failure> {
        let pool = match party.socket {
            Socket::Main => &self.main,
            Socket::Token => &self.token,
        };
        pool.take(party)
    }
}

impl Pool {
    fn of(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    fn take(&self, party: Party) -> Result<Place, Failure> {
        let mut taken = self.taken();
        let kept = if taken.by.of(party) < FEW {
            0
        } else {
            self.most / KEPT_FOR_FEW
        };
        if taken.all + kept >= self.most {
            return Err(Failure::Limit("requests in work"));
        }
        taken.all += 1;
        taken.by.add(party);
        Ok(Place {
            pool: self.clone(),
            party,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.pool.taken();
        taken.all -= 1;
        taken.by.remove(self.party);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;

    fn take(places: &Places, pid: i32) -> Option<Place> {
        places.take(Peer::of_process_for_test(pid).party()).ok()
    }

    #[test]
    fn one_process_cannot_take_all_places_for_requests() {
        let places = Places::new(1024);
        let greedy: Vec<_> = std::iter::from_fn(|| take(&places, 1)).collect();
        assert_eq!(greedy.len(), 1008, "a thousand callers of one process are served");
        let modest: Vec<_> = std::iter::from_fn(|| take(&places, 2)).collect();
        assert_eq!(modest.len(), FEW);
        drop(greedy);
        assert!(take(&places, 2).is_some(), "there is room again");
        drop(modest);
        let taken = places.main.taken();
        assert!(
            (taken.all, taken.by.largest()) == (0, None),
            "every place was given back"
        );
    }

    #[test]
    fn there_are_no_more_than_so_many_places() {
        let places = Places::new(20);
        let taken: Vec<_> = (0..20).filter_map(|pid| take(&places, pid)).collect();
        assert_eq!(taken.len(), 20);
        assert!(take(&places, 20).is_none());
    }
}
