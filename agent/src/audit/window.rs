//! Which events get a record of their own. Pure: `now` is an argument.

use std::{collections::HashMap, time::Duration};

use super::{
    Looked,
    record::{Decision, Subject},
};
use crate::limits::{AUDIT_WINDOW, MAX_AUDIT_DENIALS_PER_UID, MAX_AUDIT_SUBJECTS};

/// Holds what was recorded within the last [`AUDIT_WINDOW`].
#[derive(Debug)]
pub(super) struct Window<E = Looked> {
    open: HashMap<Subject, Sum<E>>,
}

#[derive(Debug)]
struct Sum<E> {
    ends: Duration,
    /// How often it happened since its own record.
    more: u64,
    /// What is told of those: the first of them.
    again: Option<E>,
}

impl<E> Default for Window<E> {
    fn default() -> Self {
        Self { open: HashMap::new() }
    }
}

impl<E> Window<E> {
    /// What counts as the same. Denials of one user that differ too often, in names or processes, count as one.
    pub(super) fn key(&self, subject: &Subject) -> Subject {
        if subject.decision == Decision::Granted || self.open.contains_key(subject) {
            return subject.clone();
        }
        let of_user = |open: &&Subject| open.decision == Decision::Denied && open.uid == subject.uid;
        if self.open.keys().filter(of_user).count() < MAX_AUDIT_DENIALS_PER_UID {
            return subject.clone();
        }
        Subject {
            decision: Decision::Denied,
            uid: subject.uid,
            reason: subject.reason,
            ..Subject::default()
        }
    }

    /// Whether the event gets a record of its own now; else it is counted.
    pub(super) fn note(&mut self, key: &Subject, event: impl FnOnce() -> E, now: Duration) -> bool {
        if let Some(sum) = self.open.get_mut(key)
            && now < sum.ends
        {
            sum.more += 1;
            sum.again.get_or_insert_with(event);
            return false;
        }
        if self.open.len() < MAX_AUDIT_SUBJECTS {
            // One that has ended and was not told yet goes on being counted.
            let (more, again) = self
                .open
                .remove(key)
                .map_or((0, None), |old| (old.more, old.again));
            let ends = now + AUDIT_WINDOW;
            self.open.insert(key.clone(), Sum { ends, more, again });
        }
        true
    }

    /// The first record could not be written: the next one is the first again.
    pub(super) fn forget(&mut self, key: &Subject) {
        self.open.remove(key);
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.open.values().map(|sum| sum.ends).min()
    }

    /// What has ended by now and happened again meanwhile, with how often.
    pub(super) fn ended(&mut self, now: Duration) -> Vec<(E, u64)> {
        self.close(|sum| sum.ends <= now)
    }

    /// The same of everything, for the end.
    pub(super) fn close_all(&mut self) -> Vec<(E, u64)> {
        self.close(|_| true)
    }

    fn close(&mut self, ended: impl Fn(&Sum<E>) -> bool) -> Vec<(E, u64)> {
        let closed = self.open.extract_if(|_, sum| ended(sum));
        let told = closed.filter_map(|(_, sum)| Some((sum.again?, sum.more)));
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn granted(pid: i32) -> Subject {
        Subject {
            pid: Some(pid),
            ..Subject::default()
        }
    }

    fn denied(account: &str) -> Subject {
        Subject {
            decision: Decision::Denied,
            account: Some(account.to_owned()),
            ..Subject::default()
        }
    }

    /// Notes it under its key.
    fn note(window: &mut Window<u32>, subject: &Subject, event: u32, second: u64) -> bool {
        let key = window.key(subject);
        window.note(&key, || event, Duration::from_secs(second))
    }

    #[test]
    fn the_first_is_written_and_the_same_within_ten_seconds_is_summed() {
        let mut window = Window::default();
        assert!(note(&mut window, &granted(1), 1, 0));
        for second in 1..10 {
            assert!(!note(&mut window, &granted(1), 2, second));
        }
        assert!(note(&mut window, &granted(2), 3, 9), "another caller");
        assert_eq!(window.next_end(), Some(Duration::from_secs(10)));
        assert_eq!(window.ended(Duration::from_secs(10)), [(2, 9)]);
        assert!(note(&mut window, &granted(1), 4, 10), "a new one begins");
        assert_eq!(
            window.ended(Duration::from_secs(30)),
            [],
            "nothing happened again"
        );
    }

    #[test]
    fn a_first_record_that_failed_does_not_cover_the_next() {
        let mut window = Window::default();
        assert!(note(&mut window, &granted(1), 1, 0));
        window.forget(&granted(1));
        assert!(note(&mut window, &granted(1), 1, 0));
    }

    #[test]
    fn a_user_who_is_denied_under_ever_new_names_fills_nothing() {
        let mut window = Window::default();
        let written = (0..10_000)
            .filter(|number| note(&mut window, &denied(&number.to_string()), 0, 0))
            .count();
        assert_eq!(written, MAX_AUDIT_DENIALS_PER_UID + 1);
        let told = window.close_all();
        assert_eq!(told, [(0, 10_000 - written as u64)]);
    }

    proptest! {
        #[test]
        fn every_event_is_in_exactly_one_record(
            events in prop::collection::vec((0..3_i32, any::<bool>(), 0..8_u64), 0..200)
        ) {
            let (mut window, mut second, mut recorded) = (Window::default(), 0, 0);
            for (number, grant, pause) in &events {
                second += pause;
                let ended = window.ended(Duration::from_secs(second));
                recorded += ended.iter().map(|(_, count)| count).sum::<u64>();
                let subject = if *grant { granted(*number) } else { denied(&number.to_string()) };
                recorded += u64::from(note(&mut window, &subject, 0, second));
            }
            recorded += window.close_all().iter().map(|(_, count)| count).sum::<u64>();
            prop_assert_eq!(recorded, events.len() as u64);
        }
    }
}
