//! The task that owns one account: its signer, its token and what is in flight.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use sfkey_proto::{AccountName, v1::Token};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    Surrendered,
    job::{Done, Job, Session},
    life::{Ask, Decision, LONGEST_SLEEP, Life, Report, Warning},
    view::View,
};
use crate::{
    agent::Agent,
    clock::Now,
    custody::{SealedSecret, Signer},
    error::Failure,
    identity::{Identity, Terms},
    limits::MAX_WAITERS_PER_ACCOUNT,
    logins::Barred,
    salesforce::ExchangeError,
    token::{Need, TokenHash},
};

/// Where the answer to a request goes.
pub(super) type Reply = oneshot::Sender<Result<Token, Failure>>;

/// What a caller asks of the task.
pub(super) enum Request {
    /// A token.
    Token { need: Need, reply: Reply },
    /// The next token, for the one with this hash was refused.
    Rejected { hash: TokenHash, reply: Reply },
}

/// What the registry asks of the task.
pub(super) enum Order {
    /// The account was added again, with this consumer secret.
    Renew(Option<Arc<SealedSecret>>),
    /// The token is taken away. Whoever waits is served all the same, unless the account ends.
    Surrender {
        ends: bool,
        reply: oneshot::Sender<Option<Surrendered>>,
    },
    /// The token with this hash was revoked. What was asked for before may have brought it again.
    Revoked(TokenHash),
}

/// What is an account's own.
pub(super) struct Own {
    pub(super) name: AccountName,
    pub(super) identity: Arc<Identity>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) secret: Option<Arc<SealedSecret>>,
    pub(super) terms: watch::Receiver<Terms>,
}

pub(super) struct Held {
    pub(super) token: Arc<SealedSecret>,
    pub(super) instance_url: String,
    pub(super) id: Option<String>,
    pub(super) scope: Option<String>,
}

pub(super) struct Task {
    pub(super) agent: Arc<Agent>,
    pub(super) own: Own,
    pub(super) view: watch::Sender<View>,
    changes: Arc<watch::Sender<u64>>,
    pub(super) life: Life,
    pub(super) held: Option<Held>,
    pub(super) waiting: Vec<Request>,
    pub(super) in_flight: Option<JoinHandle<Done>>,
    /// The token held was reported as refused; nobody gets it before the session was looked at.
    pub(super) suspect: bool,
    /// Boot time before which introspection is not tried.
    pub(super) introspection_paused_until: Duration,
}

impl Task {
    pub(super) fn new(
        agent: Arc<Agent>,
        own: Own,
        view: watch::Sender<View>,
        changes: Arc<watch::Sender<u64>>,
    ) -> Self {
        Self {
            agent,
            own,
            view,
            changes,
            life: Life::default(),
            held: None,
            waiting: Vec::new(),
            in_flight: None,
            suspect: false,
            introspection_paused_until: Duration::ZERO,
        }
    }

    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Request>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut locks = self.agent.locked.clone();
        loop {
            let nap = self.nap();
            tokio::select! {
                // Orders first: what is asked after an add means the account as it was added.
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                locked = locks.changed() => match locked {
                    Ok(()) if *locks.borrow_and_update() => self.lock(),
                    Ok(()) => {}
                    Err(_) => break,
                },
                done = done(&mut self.in_flight) => self.settle(done),
                request = queue.recv() => match request {
                    Some(request) => self.take(request),
                    None => break,
                },
                () = sleep(nap) => self.renew_ahead(),
            }
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// How long until a renewal is due. `None`: nothing is due before somebody asks, and the task does not wake.
    fn nap(&self) -> Option<Duration> {
        if self.in_flight.is_some() || *self.agent.locked.borrow() {
            return None;
        }
        let (now, watched) = (self.agent.clock.now(), self.is_watched());
        let nap = self.life.renew_at(now, watched)?.saturating_sub(now.boot);
        Some(if watched { nap.min(LONGEST_SLEEP) } else { nap })
    }

    fn renew_ahead(&mut self) {
        let now = self.agent.clock.now();
        if let Some(ask) = self.life.renewal(now, self.is_watched())
            && let Err(barred) = self.ask(ask, now)
        {
            self.note_barred(&barred, now);
        }
    }

    /// The agent was locked: the token goes, what is in flight is cancelled, and whoever waits is told.
    pub(super) fn lock(&mut self) {
        self.drop_token();
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.abort();
        }
        for request in std::mem::take(&mut self.waiting) {
            answer(request, Err(Failure::Locked));
        }
        self.tell_watchers();
    }

    pub(super) fn drop_token(&mut self) {
        self.held = None;
        self.suspect = false;
        self.life.evict();
        self.view.send_modify(|view| view.validity = None);
    }

    pub(super) fn tell_watchers(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Renew(secret) => {
                self.own.secret = secret;
                self.introspection_paused_until = Duration::ZERO;
                self.life.clear_failures();
                self.show();
            }
            Order::Surrender { ends, reply } => {
                let surrendered = self.surrender();
                self.drop_token();
                if ends {
                    self.waiting.clear();
                }
                self.start_over();
                // Whoever asked may have gone; the token has gone all the same.
                drop(reply.send(surrendered));
            }
            Order::Revoked(hash) => {
                if self.life.hash() == Some(hash) {
                    self.drop_token();
                }
                self.start_over();
            }
        }
    }

    /// Gives up what is in flight, for it may end with a token that was taken away; whoever waits is asked for anew.
    fn start_over(&mut self) {
        let Some(in_flight) = self.in_flight.take() else {
            return;
        };
        in_flight.abort();
        let now = self.agent.clock.now();
        for request in std::mem::take(&mut self.waiting) {
            match self.in_flight {
                Some(_) => self.wait(request),
                None => self.ask_for(request, Ask::Mint, now),
            }
        }
    }

    fn surrender(&self) -> Option<Surrendered> {
        Some(Surrendered {
            account: self.own.name.clone(),
            host: self.own.identity.host.clone(),
            token: self.open(&self.held.as_ref()?.token).ok()?,
        })
    }

    fn take(&mut self, request: Request) {
        if *self.agent.locked.borrow() {
            return answer(request, Err(Failure::Locked));
        }
        let now = self.agent.clock.now();
        self.forgive(now);
        match request {
            Request::Token { need, .. } => self.take_token(request, need, now),
            Request::Rejected { hash, .. } => self.take_report(request, hash, now),
        }
    }

    /// A host that came back makes what failed before worth another try.
    fn forgive(&mut self, now: Now) {
        let back = |since| self.agent.logins.recovered_after(&self.own.identity, since);
        if self.life.failing_since().is_some_and(back) {
            self.life.clear_failures();
            tracing::debug!(account = %self.own.name, boot = now.boot.as_secs(), "trying again: the host is back");
        }
    }

    fn take_token(&mut self, request: Request, need: Need, now: Now) {
        let busy = self.in_flight.is_some();
        let decision = if self.suspect && busy {
            Decision::Join
        } else {
            self.life.decide(need, now, busy)
        };
        match decision {
            Decision::Serve(warning) => {
                self.agent.counters.cache_hits.add();
                self.serve(request, warning, now);
            }
            Decision::Join => self.wait(request),
            Decision::Ask(ask) => self.ask_for(request, ask, now),
            Decision::Refuse(failure, until) => answer(request, Err(failure.until(until, now))),
        }
    }

    fn take_report(&mut self, request: Request, hash: TokenHash, now: Now) {
        match self.life.rejected(&hash, now, self.in_flight.is_some()) {
            Report::Outdated => {
                let Request::Rejected { reply, .. } = request else {
                    return;
                };
                let need = Need::new(None, false);
                self.take_token(Request::Token { need, reply }, need, now);
            }
            Report::Join => {
                self.suspect = true;
                self.wait(request);
            }
            Report::Verify => {
                self.agent.counters.rejections.add();
                self.suspect = true;
                self.ask_for(request, Ask::VerifyOrMint, now);
                if self.in_flight.is_some() {
                    self.life.verifying(now);
                } else {
                    self.drop_token();
                }
            }
            Report::NotTheSession => answer(request, Err(self.not_the_session())),
            // Nobody can look at it, and it was refused: nobody gets it.
            Report::Refuse(failure, until) => {
                self.agent.counters.rejections.add();
                self.drop_token();
                answer(request, Err(failure.until(until, now)));
            }
        }
    }

    fn wait(&mut self, request: Request) {
        if self.waiting.len() >= MAX_WAITERS_PER_ACCOUNT {
            return answer(request, Err(Failure::Limit("callers waiting for one account")));
        }
        self.waiting.push(request);
    }

    /// Asks Salesforce, and answers when it has.
    fn ask_for(&mut self, request: Request, ask: Ask, now: Now) {
        match self.ask(ask, now) {
            Ok(()) => self.wait(request),
            Err(barred) => {
                self.note_barred(&barred, now);
                if self.life.is_live(now) && matches!(request, Request::Token { .. }) {
                    self.serve(request, Some(Warning::Stale), now);
                } else {
                    answer(request, Err(self.barred(barred, now)));
                }
            }
        }
    }

    fn ask(&mut self, ask: Ask, now: Now) -> Result<(), Barred> {
        // Introspection is no login, but it often ends in one.
        let delay = self.agent.logins.admit(&self.own.identity, now)?;
        self.life.asking(now);
        tracing::debug!(account = %self.own.name, host = %self.own.identity.host, ?ask, "asking Salesforce");
        let may_introspect = now.boot >= self.introspection_paused_until;
        let session = self.held.as_ref().zip(self.life.validity());
        let session = session.map(|(held, validity)| Session {
            token: Arc::clone(&held.token),
            instance_url: held.instance_url.clone(),
            expires_at: validity.expires_at,
        });
        let job = Job {
            agent: Arc::clone(&self.agent),
            identity: Arc::clone(&self.own.identity),
            signer: Arc::clone(&self.own.signer),
            secret: self.own.secret.clone().filter(|_| may_introspect),
            session,
            ask,
            delay,
        };
        self.in_flight = Some(tokio::spawn(job.run()));
        Ok(())
    }

    fn note_barred(&mut self, barred: &Barred, now: Now) {
        let (Barred::Budget(until) | Barred::Outage(until, _)) = barred;
        self.life.barred(*until, now, chance());
    }

    pub(super) fn serve(&mut self, request: Request, warning: Option<Warning>, now: Now) {
        if let Request::Token { need, .. } = &request {
            self.life.used(need.min_valid, now);
        }
        let token = self.served(warning, now);
        answer(request, token);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.abort();
        }
    }
}

/// What is in flight, when it is done; never, when nothing is. A panic in it costs this piece of work only.
async fn done(in_flight: &mut Option<JoinHandle<Done>>) -> Done {
    match in_flight {
        Some(in_flight) => in_flight.await.unwrap_or(Done {
            outcome: Err(ExchangeError::Internal),
            complaint: None,
        }),
        None => std::future::pending().await,
    }
}

async fn sleep(nap: Option<Duration>) {
    match nap {
        Some(nap) => tokio::time::sleep(nap).await,
        None => std::future::pending().await,
    }
}

/// A number in 0..1, so that many accounts do not do the same at the same time.
pub(super) fn chance() -> f64 {
    let mut byte = [0; 2];
    // Without chance everything still works, only less spread out.
    if rand::fill(&mut byte).is_err() {
        return 0.5;
    }
    f64::from(u16::from_ne_bytes(byte)) / 65_536.0
}

/// A caller that has gone away needs no answer.
pub(super) fn answer(request: Request, answer: Result<Token, Failure>) {
    let (Request::Token { reply, .. } | Request::Rejected { reply, .. }) = request;
    drop(reply.send(answer));
}
