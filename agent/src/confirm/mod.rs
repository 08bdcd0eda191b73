//! Asks the user whether a caller may use an account, through the program that `agent.toml` names.
//!
//! One task owns the questions: one is on the screen at a time, the same question of several callers is asked once,
//! and a question whose callers have all gone is taken away. A caller waits for its own answer only; nobody else waits
//! for anything.

mod prompt;
mod words;

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    time::Duration,
};

use sfkey_proto::AccountName;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    clock::Clock,
    limits::{MAX_CONSENTS, MAX_QUESTIONS},
    peer::{Asker, Peer},
    policy::{Denied, Permit, Question, Unconfirmed},
    settings::Confirm,
};

pub use prompt::Askpass;

/// Proof that the user said yes. Only a question that was asked makes one.
#[derive(Debug)]
pub struct Yes(());

type Answer = Result<(), Unconfirmed>;

/// The way to the questions.
#[derive(Clone)]
pub struct Confirmer {
    asks: mpsc::Sender<Ask>,
    /// How long a caller waits, its turn included.
    patience: Duration,
    owner: u32,
}

/// Who asks for what. Equal ones are one question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    /// `None` in a test of the program that asks.
    account: Option<AccountName>,
    asker: Asker,
}

impl Subject {
    fn shown(&self) -> &str {
        self.account.as_ref().map_or("(a test)", AccountName::as_str)
    }
}

struct Ask {
    subject: Subject,
    text: String,
    /// For how long an answer given before counts.
    remember: Option<Duration>,
    reply: oneshot::Sender<Answer>,
}

struct Waiting {
    subject: Subject,
    text: String,
    callers: Vec<oneshot::Sender<Answer>>,
}

struct Task {
    askpass: Option<Arc<Askpass>>,
    clock: Arc<dyn Clock>,
    locked: watch::Receiver<bool>,
    waiting: VecDeque<Waiting>,
    /// When the user said yes, by boot time.
    consents: HashMap<Subject, Duration>,
}

impl Confirmer {
    /// Starts the task for an agent that runs as `owner`. Without `askpass`, whatever is asked is denied.
    #[must_use]
    pub fn start(
        askpass: Option<Askpass>,
        patience: Duration,
        owner: u32,
        clock: Arc<dyn Clock>,
        locked: watch::Receiver<bool>,
    ) -> Self {
        let (asks, questions) = mpsc::channel(MAX_QUESTIONS);
        let task = Task {
            askpass: askpass.map(Arc::new),
            clock,
            locked,
            waiting: VecDeque::new(),
            consents: HashMap::new(),
        };
        tokio::spawn(task.run(questions));
        Self {
            asks,
            patience,
            owner,
        }
    }

    /// Asks the user. Dropping the future takes the question back.
    ///
    /// # Errors
    /// [`Denied::Unconfirmed`], whatever kept the user from saying yes.
    pub async fn ask(&self, peer: &Peer, question: Question) -> Result<Permit, Denied> {
        let account = question.account().clone();
        let denied = |why| Denied::Unconfirmed {
            account: account.clone(),
            why,
        };
        let remember = match question.confirm() {
            Confirm::Always => None,
            Confirm::Remember(time) => Some(time),
        };
        let asked = self.put(peer, Some(account.clone()), remember).await;
        asked.map(|()| question.allowed(&Yes(()))).map_err(denied)
    }

    /// Asks the user something that allows nothing, to see whether he can be asked. Dropping the future takes the
    /// question back.
    ///
    /// # Errors
    /// Whatever kept the user from saying yes.
    pub async fn rehearse(&self, peer: &Peer) -> Result<(), Unconfirmed> {
        self.put(peer, None, None).await
    }

    async fn put(&self, peer: &Peer, account: Option<AccountName>, remember: Option<Duration>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            text: words::question(account.as_ref(), peer, self.owner),
            subject: Subject {
                account,
                asker: Asker::of(peer, self.owner),
            },
            remember,
            reply,
        };
        self.asks.try_send(ask).map_err(|_| Unconfirmed::TooMany)?;
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unconfirmed::Failed),
            Err(_) => Err(Unconfirmed::TimedOut),
        }
    }
}

impl Task {
    async fn run(mut self, mut questions: mpsc::Receiver<Ask>) {
        loop {
            let Some(mut current) = self.waiting.pop_front() else {
                match questions.recv().await {
                    Some(ask) => self.take(ask, None),
                    None => return,
                }
                continue;
            };
            current.callers.retain(|caller| !caller.is_closed());
            if !current.callers.is_empty() {
                self.put(current, &mut questions).await;
            }
        }
    }

    /// Puts one question to the user, and takes in others meanwhile.
    async fn put(&mut self, mut current: Waiting, questions: &mut mpsc::Receiver<Ask>) {
        let askpass = self.askpass.clone();
        let text = current.text.clone();
        let mut asking = Box::pin(async move {
            match askpass {
                Some(askpass) => askpass.ask(&text).await,
                None => Err(Unconfirmed::NoAskpass),
            }
        });
        let answer = loop {
            tokio::select! {
                answer = &mut asking => break answer,
                () = all_gone(&mut current.callers) => {
                    tracing::info!(account = %current.subject.shown(), "nobody waits for the answer any more");
                    return;
                }
                ask = questions.recv() => match ask {
                    Some(ask) => self.take(ask, Some(&mut current)),
                    None => return,
                },
            }
        };
        drop(asking);
        self.settle(current, answer);
    }

    fn settle(&mut self, current: Waiting, answer: Answer) {
        let account = current.subject.shown();
        match &answer {
            Ok(()) => tracing::info!(%account, callers = current.callers.len(), "the user said yes"),
            Err(why) => tracing::warn!(%account, callers = current.callers.len(), %why, "not confirmed"),
        }
        let allows = current.subject.account.is_some() && answer.is_ok();
        if allows && current.subject.asker.is_known() && !*self.locked.borrow() {
            if self.consents.len() >= MAX_CONSENTS {
                // Forgetting asks once more than needed, and allows nothing.
                self.consents.clear();
            }
            self.consents.insert(current.subject, self.clock.now().boot);
        }
        for caller in current.callers {
            // Whoever has gone needs no answer.
            caller.send(answer).ok();
        }
    }

    fn take(&mut self, ask: Ask, current: Option<&mut Waiting>) {
        if self.locked.has_changed().unwrap_or(true) {
            self.locked.mark_unchanged();
            self.consents.clear();
        }
        if self.is_remembered(&ask) {
            // Whoever has gone needs no answer.
            ask.reply.send(Ok(())).ok();
            return;
        }
        let full = self.waiting.len() >= MAX_QUESTIONS;
        let same = current
            .into_iter()
            .chain(&mut self.waiting)
            .find(|waiting| waiting.subject == ask.subject);
        match same {
            Some(waiting) => {
                waiting.callers.push(ask.reply);
                tracing::debug!(account = %waiting.subject.shown(), callers = waiting.callers.len(), "one question for several");
            }
            None if full => {
                ask.reply.send(Err(Unconfirmed::TooMany)).ok();
            }
            None => self.waiting.push_back(Waiting {
                subject: ask.subject,
                text: ask.text,
                callers: vec![ask.reply],
            }),
        }
    }

    fn is_remembered(&self, ask: &Ask) -> bool {
        let now = self.clock.now().boot;
        let (Some(time), Some(said)) = (ask.remember, self.consents.get(&ask.subject)) else {
            return false;
        };
        now.saturating_sub(*said) < time
    }
}

/// Ends when none of the callers waits any more.
async fn all_gone(callers: &mut Vec<oneshot::Sender<Answer>>) {
    poll_fn(|cx| {
        callers.retain_mut(|caller| caller.poll_closed(cx).is_pending());
        if callers.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
