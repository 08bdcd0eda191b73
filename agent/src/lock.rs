//! Lock and unlock: one task takes the requests in turn, so that one key derivation runs at a time and a
//! series of wrong passphrases waits without delaying anybody else.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    connection::{Caller, Connections},
    custody::{Custody, LockError, MAX_PASSPHRASE_BYTES},
    error::Failure,
    policy::Control,
};

/// Requests that wait for their turn; more are refused at once. One, so that a loop of wrong passphrases cannot
/// make the right one wait longer than a request may take.
const QUEUE: usize = 1;

/// Wait after the first wrong passphrase; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The way to the lock.
pub struct Lock(mpsc::Sender<Request>);

struct Request {
    caller: Caller,
    turn: Turn,
    passphrase: Zeroizing<Vec<u8>>,
    reply: oneshot::Sender<Result<(), Failure>>,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Lock,
    Unlock,
}

struct Task {
    custody: Arc<Custody>,
    clock: Arc<dyn Clock>,
    locked: watch::Sender<bool>,
    connections: Connections,
    /// Wrong passphrases since the last right one, and when the last came.
    wrong: u32,
    wrong_at: Duration,
}

impl Lock {
    /// Starts the task. The receiver of `locked` tells whoever holds something secret.
    #[must_use]
    pub fn start(
        custody: Arc<Custody>,
        clock: Arc<dyn Clock>,
        locked: watch::Sender<bool>,
        connections: Connections,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let task = Task {
            custody,
            clock,
            locked,
            connections,
            wrong: 0,
            wrong_at: Duration::ZERO,
        };
        tokio::spawn(task.run(queue));
        Self(requests)
    }

    /// Locks: the master secret is wrapped and wiped, tokens are dropped, exchanges are cancelled, and every
    /// connection but the caller's is closed, for its buffers may hold a token that it delivered.
    ///
    /// # Errors
    /// [`Failure::Invalid`] for an empty or overlong passphrase, [`Failure::Locked`], [`Failure::Limit`].
    pub async fn lock(
        &self,
        _: Control,
        caller: &Caller,
        passphrase: Zeroizing<Vec<u8>>,
    ) -> Result<(), Failure> {
        self.turn(Turn::Lock, caller, passphrase).await
    }

    /// Unlocks. After wrong passphrases it takes its time.
    ///
    /// # Errors
    /// [`Failure::WrongPassphrase`], [`Failure::Invalid`] when nothing is locked, [`Failure::Limit`].
    pub async fn unlock(
        &self,
        _: Control,
        caller: &Caller,
        passphrase: Zeroizing<Vec<u8>>,
    ) -> Result<(), Failure> {
        self.turn(Turn::Unlock, caller, passphrase).await
    }

    async fn turn(&self, turn: Turn, caller: &Caller, passphrase: Zeroizing<Vec<u8>>) -> Result<(), Failure> {
        if passphrase.is_empty() || passphrase.len() > MAX_PASSPHRASE_BYTES {
            let what = format!("a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes");
            return Err(Failure::Invalid(what, "choose another passphrase"));
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.0.try_send(Request {
            caller: caller.clone(),
            turn,
            passphrase,
            reply,
        });
        sent.map_err(|_| Failure::Limit("waiting lock and unlock requests"))?;
        answer
            .await
            .unwrap_or(Err(Failure::Internal("the lock's task ended")))
    }
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(Request {
            caller,
            turn,
            passphrase,
            reply,
        }) = queue.recv().await
        {
            if matches!(turn, Turn::Unlock) {
                tokio::time::sleep(self.wait()).await;
            }
            if reply.is_closed() {
                continue;
            }
            let outcome = self.take_turn(turn, passphrase).await;
            if matches!((turn, &outcome), (Turn::Lock, Ok(()))) {
                self.connections.close_others(&caller);
            }
            tracing::info!(?turn, succeeded = outcome.is_ok(), "lock");
            // A caller that has gone away needs no answer; what was done stays done.
            drop(reply.send(outcome));
        }
    }

    /// What is left of the wait that the wrong passphrases so far have earned.
    fn wait(&self) -> Duration {
        let Some(doublings) = self.wrong.checked_sub(1) else {
            return Duration::ZERO;
        };
        let wait = FIRST_WAIT.saturating_mul(1 << doublings.min(8)).min(LONGEST_WAIT);
        wait.saturating_sub(self.clock.now().boot.saturating_sub(self.wrong_at))
    }

    async fn take_turn(&mut self, turn: Turn, passphrase: Zeroizing<Vec<u8>>) -> Result<(), Failure> {
        let (custody, clock) = (Arc::clone(&self.custody), Arc::clone(&self.clock));
        let turned = tokio::task::spawn_blocking(move || {
            let begun = clock.now().boot;
            let turned = match turn {
                Turn::Lock => custody.lock(&passphrase, &*clock),
                Turn::Unlock => custody.unlock(&passphrase),
            };
            let took = clock.now().boot.saturating_sub(begun);
            tracing::debug!(?turn, derivation_us = took.as_micros(), "passphrase stretched");
            turned
        });
        match turned
            .await
            .map_err(|_| Failure::Internal("the key derivation panicked"))?
        {
            Ok(()) => {
                self.wrong = 0;
                self.locked.send_replace(matches!(turn, Turn::Lock));
                Ok(())
            }
            Err(LockError::WrongPassphrase) => {
                self.wrong = self.wrong.saturating_add(1);
                self.wrong_at = self.clock.now().boot;
                Err(Failure::WrongPassphrase)
            }
            Err(LockError::Locked) => Err(Failure::Locked),
            Err(LockError::NotLocked) => Err(Failure::Invalid(
                LockError::NotLocked.to_string(),
                "sfkey lock locks it",
            )),
            Err(LockError::LessProtection) => Err(Failure::Limit("protected memory; the agent stays locked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{peer::Peer, policy::Policy, testing::TestClock};

    fn control() -> Control {
        Policy::new(1000)
            .control(&Peer::for_test(1000))
            .expect("the owner")
    }

    fn caller() -> Caller {
        Caller::for_test(Peer::for_test(1000))
    }

    fn start() -> (Lock, watch::Receiver<bool>) {
        let (sender, locked) = watch::channel(false);
        let custody = Custody::new().expect("custody");
        (
            Lock::start(custody, Arc::new(TestClock::new()), sender, Connections::new(1)),
            locked,
        )
    }

    fn passphrase(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_passphrases_wait_one_two_four_up_to_ten_seconds_and_a_right_one_clears_them() {
        let (lock, locked) = start();
        lock.lock(control(), &caller(), passphrase("right"))
            .await
            .expect("locked");
        assert!(*locked.borrow());
        let begin = tokio::time::Instant::now();
        for waited in [0, 1, 3, 7, 15, 25] {
            let wrong = lock.unlock(control(), &caller(), passphrase("wrong")).await;
            assert!(matches!(wrong, Err(Failure::WrongPassphrase)));
            assert_eq!(begin.elapsed().as_secs(), waited);
        }
        lock.unlock(control(), &caller(), passphrase("right"))
            .await
            .expect("unlocked");
        assert_eq!(begin.elapsed().as_secs(), 35);
        assert!(!*locked.borrow());
        lock.lock(control(), &caller(), passphrase("right"))
            .await
            .expect("locked");
        lock.unlock(control(), &caller(), passphrase("right"))
            .await
            .expect("unlocked");
        assert_eq!(begin.elapsed().as_secs(), 35);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_passphrase_and_an_unlocked_agent_are_refused() {
        let (lock, locked) = start();
        for text in [String::new(), "x".repeat(MAX_PASSPHRASE_BYTES + 1)] {
            let refused = lock.lock(control(), &caller(), passphrase(&text)).await;
            assert!(matches!(refused, Err(Failure::Invalid(..))));
        }
        assert!(matches!(
            lock.unlock(control(), &caller(), passphrase("x")).await,
            Err(Failure::Invalid(..))
        ));
        assert!(!*locked.borrow());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_makes_no_attempt() {
        let (lock, _locked) = start();
        lock.lock(control(), &caller(), passphrase("right"))
            .await
            .expect("locked");
        assert!(
            lock.unlock(control(), &caller(), passphrase("wrong"))
                .await
                .is_err()
        );
        let leaver = caller();
        let gone = tokio::time::timeout(
            Duration::from_millis(10),
            lock.unlock(control(), &leaver, passphrase("wrong again")),
        );
        assert!(gone.await.is_err(), "it waits for its turn");
        let begin = tokio::time::Instant::now();
        lock.unlock(control(), &caller(), passphrase("right"))
            .await
            .expect("unlocked");
        assert_eq!(begin.elapsed().as_secs(), 0, "no further wait was earned");
    }

    /// Lets every other task go as far as it can without time passing.
    async fn settle() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn behind_the_unlock_that_has_its_turn_one_may_wait_and_a_third_is_refused_at_once() {
        let (lock, locked) = start();
        let lock = Arc::new(lock);
        let unlock = |text: &str| {
            let (lock, text) = (Arc::clone(&lock), passphrase(text));
            tokio::spawn(async move { lock.unlock(control(), &caller(), text).await })
        };
        lock.lock(control(), &caller(), passphrase("right"))
            .await
            .expect("locked");
        unlock("wrong").await.expect("no panic").expect_err("wrong");
        let begin = tokio::time::Instant::now();
        let has_its_turn = unlock("wrong");
        settle().await;
        let waits = unlock("right");
        settle().await;
        let third = unlock("right").await.expect("no panic");
        assert!(matches!(third, Err(Failure::Limit(_))), "{third:?}");
        assert_eq!(begin.elapsed(), Duration::ZERO, "it did not wait");
        assert!(*locked.borrow());
        has_its_turn.await.expect("no panic").expect_err("wrong");
        waits.await.expect("no panic").expect("the right one");
        assert_eq!(
            begin.elapsed().as_secs(),
            3,
            "one second for each of the wrong ones before it, and two"
        );
        assert!(!*locked.borrow());
    }
}
