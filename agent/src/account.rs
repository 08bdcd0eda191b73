//! The task that owns one account: its signer, its token and the exchange in flight.
//!
//! One owner means that concurrent callers share one exchange, that a hung org delays nobody else, and that
//! nothing is ever locked while Salesforce is asked. When the registry lets go of the account, the task
//! ends, the exchange is cancelled and the token wiped.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use sfkey_proto::{
    AccountName,
    refusal::{MAX_RAW_BYTES, clip},
    v1::{ExpirySource, Token},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use zeroize::Zeroizing;

use crate::{
    agent::Agent,
    assertion::{Assertion, Claims},
    clock::Now,
    custody::{CustodyError, SealedSecret, Signer},
    error::Failure,
    identity::{Identity, Terms},
    limits::MAX_WAITERS_PER_ACCOUNT,
    salesforce::{ExchangeError, Grant},
    token::{self, Need, TokenHash, Validity},
};

/// Requests that the task has not taken yet; senders wait beyond that, and the task never blocks.
const QUEUE: usize = 64;

/// Callers cause at most one exchange in this time while a token is held.
const EXCHANGE_PAUSE: Duration = Duration::from_secs(30);

/// Salesforce returned the token already held: the next early try waits at least this long.
const EARLY_TRY_PAUSE: i64 = 60;

/// Something about a token that its caller should know; stable codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warning {
    /// More was asked than three quarters of the token's life.
    MinValidCapped,
    /// Salesforce was asked a moment ago; this is the token held.
    FreshLimited,
    /// Renewal failed; this token is still alive.
    Stale,
}

/// What the registry keeps of an account: the way to its task. Dropping it ends the task.
pub struct Account {
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<View>,
    terms: watch::Sender<Terms>,
}

/// What may be shown of an account's token.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The token held, or the last one.
    pub validity: Option<Validity>,
    /// The last failure since the last success.
    pub last_error: Option<String>,
}

struct Request {
    need: Need,
    reply: oneshot::Sender<Result<Token, Failure>>,
}

struct Held {
    secret: SealedSecret,
    hash: TokenHash,
    validity: Validity,
    instance_url: String,
    id: Option<String>,
    scope: Option<String>,
    /// A caller whose need is not met makes no exchange before this time, UTC epoch seconds.
    early_try_at: i64,
}

struct Task {
    name: AccountName,
    identity: Arc<Identity>,
    signer: Arc<dyn Signer>,
    agent: Arc<Agent>,
    terms: watch::Receiver<Terms>,
    view: watch::Sender<View>,
    held: Option<Held>,
    waiting: Vec<Request>,
    exchange: Option<JoinHandle<Result<Grant, ExchangeError>>>,
    asked_at: Option<Duration>,
}

enum Decision {
    Serve(Option<Warning>),
    Exchange,
}

impl Account {
    /// Starts the task of an account.
    pub fn start(
        agent: &Arc<Agent>,
        name: AccountName,
        identity: Arc<Identity>,
        signer: Arc<dyn Signer>,
        terms: Terms,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (view_writer, view) = watch::channel(View::default());
        let (terms, terms_reader) = watch::channel(terms);
        let task = Task {
            name,
            identity,
            signer,
            agent: Arc::clone(agent),
            terms: terms_reader,
            view: view_writer,
            held: None,
            waiting: Vec::new(),
            exchange: None,
            asked_at: None,
        };
        tokio::spawn(task.run(queue));
        Self {
            requests,
            view,
            terms,
        }
    }

    /// What may be shown of it.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The times that it ends by.
    #[must_use]
    pub fn terms(&self) -> Terms {
        *self.terms.borrow()
    }

    /// Changes them.
    pub fn set_terms(&self, terms: Terms) {
        self.terms.send_replace(terms);
    }

    /// Asks the task for a token. The future holds no way to the task while it waits for the reply, so that
    /// an account that is removed meanwhile ends at once.
    pub fn token(
        &self,
        name: AccountName,
        need: Need,
    ) -> impl Future<Output = Result<Token, Failure>> + use<> {
        let requests = self.requests.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            let sent = requests.send(Request { need, reply }).await;
            drop(requests);
            match sent {
                Ok(()) => answer.await.unwrap_or(Err(Failure::NotLoaded(name))),
                Err(_) => Err(Failure::NotLoaded(name)),
            }
        }
    }
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut locks = self.agent.locked.clone();
        loop {
            tokio::select! {
                request = queue.recv() => match request {
                    Some(request) => self.take(request),
                    None => break,
                },
                outcome = outcome(&mut self.exchange) => self.settle(outcome),
                locked = locks.changed() => match locked {
                    Ok(()) if *locks.borrow_and_update() => self.lock(),
                    Ok(()) => {}
                    Err(_) => break,
                },
            }
        }
    }

    /// The agent was locked: the token goes, the exchange is cancelled, and whoever waits is told.
    fn lock(&mut self) {
        self.held = None;
        if let Some(exchange) = self.exchange.take() {
            exchange.abort();
        }
        self.view.send_modify(|view| view.validity = None);
        for request in std::mem::take(&mut self.waiting) {
            answer(request, Err(Failure::Locked));
        }
    }

    fn take(&mut self, request: Request) {
        if *self.agent.locked.borrow() {
            return answer(request, Err(Failure::Locked));
        }
        let now = self.agent.clock.now();
        match self.decide(request.need, now) {
            Decision::Serve(warning) => {
                self.agent.counters.cache_hits.add();
                self.serve(request, warning);
            }
            Decision::Exchange if self.waiting.len() >= MAX_WAITERS_PER_ACCOUNT => {
                answer(request, Err(Failure::Limit("callers waiting for one account")));
            }
            Decision::Exchange => {
                self.waiting.push(request);
                if self.exchange.is_none() {
                    self.exchange = Some(self.start_exchange(now));
                }
            }
        }
    }

    fn decide(&self, need: Need, now: Now) -> Decision {
        let Some(held) = self.held.as_ref().filter(|held| held.validity.is_live(now.unix)) else {
            return Decision::Exchange;
        };
        let capped = need.min_valid > held.validity.longest_need();
        let usable = held.validity.usable_at(now.unix, need.min_valid);
        if usable && !need.fresh {
            return Decision::Serve(capped.then_some(Warning::MinValidCapped));
        }
        let asked_lately = self
            .asked_at
            .is_some_and(|at| now.boot.saturating_sub(at) < EXCHANGE_PAUSE);
        let too_early = !need.fresh && now.unix < held.early_try_at;
        if self.exchange.is_none() && (asked_lately || too_early) {
            Decision::Serve(Some(Warning::FreshLimited))
        } else {
            Decision::Exchange
        }
    }

    fn start_exchange(&mut self, now: Now) -> JoinHandle<Result<Grant, ExchangeError>> {
        self.asked_at = Some(now.boot);
        self.agent.counters.exchanges.add();
        tracing::debug!(account = %self.name, host = %self.identity.host, "exchange started");
        let (agent, identity, signer) = (
            Arc::clone(&self.agent),
            Arc::clone(&self.identity),
            Arc::clone(&self.signer),
        );
        tokio::spawn(async move {
            let signed = Arc::clone(&identity);
            let signing =
                tokio::task::spawn_blocking(move || Assertion::sign(&Claims::new(&signed, now), signer));
            let assertion = signing
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or(ExchangeError::Signing)?;
            agent.endpoint.exchange(&identity.host, assertion).await
        })
    }

    fn settle(&mut self, outcome: Result<Grant, ExchangeError>) {
        let now = self.agent.clock.now();
        self.exchange = None;
        // The lock is told in a moment; until then nothing that failed for want of the key is a failure.
        if self.agent.custody.is_locked() {
            return self.lock();
        }
        let outcome = outcome
            .map_err(|error| self.failure(error))
            .and_then(|grant| self.keep(grant, now));
        match outcome {
            Ok(()) => self.succeed(),
            Err(failure) => self.fail(&failure, now),
        }
        let view = View {
            validity: self.held.as_ref().map(|held| held.validity),
            ..self.view.borrow().clone()
        };
        self.view.send_replace(view);
    }

    /// Seals the granted token. One that is held already keeps its end, unless the grant itself tells another.
    fn keep(&mut self, grant: Grant, now: Now) -> Result<(), Failure> {
        let validity = Validity::of(&grant, self.terms.borrow().session_timeout, now.unix);
        if let Some(date) = grant.date {
            self.agent.counters.note_skew(now.unix - date);
        }
        if !validity.is_live(now.unix) {
            return Err(self.failure(ended_on_arrival()));
        }
        let hash = token::hash(&grant.access_token);
        let same = self
            .held
            .as_ref()
            .filter(|held| held.hash == hash && held.validity.is_live(now.unix));
        let validity = match same {
            Some(held) if !validity.is_told() => held.validity,
            _ => validity,
        };
        let early_try_at = if same.is_some() {
            now.unix + EARLY_TRY_PAUSE.max((validity.expires_at - now.unix) / 2)
        } else {
            now.unix
        };
        self.held = Some(Held {
            secret: self
                .agent
                .custody
                .seal(grant.access_token.as_bytes())
                .map_err(failure_of)?,
            hash,
            validity,
            instance_url: grant.instance_url,
            id: grant.id,
            scope: grant.scope,
            early_try_at,
        });
        Ok(())
    }

    fn succeed(&mut self) {
        let held = self.held.as_ref().expect("keep has just put one there");
        let (longest, source) = (held.validity.longest_need(), held.validity.source);
        tracing::info!(account = %self.name, expires_at = held.validity.expires_at, ?source, "token received");
        self.view.send_modify(|view| view.last_error = None);
        for request in std::mem::take(&mut self.waiting) {
            let capped = request.need.min_valid > longest;
            self.serve(request, capped.then_some(Warning::MinValidCapped));
        }
    }

    /// A token that is still alive is served although its renewal failed.
    fn fail(&mut self, failure: &Failure, now: Now) {
        self.agent.counters.exchange_failures.add();
        let refusal = sfkey_proto::Refusal::from(failure.clone());
        tracing::warn!(account = %self.name, reason = refusal.reason.as_str(), what = %refusal.message, "exchange failed");
        self.view
            .send_modify(|view| view.last_error = Some(describe(&refusal)));
        let alive = self
            .held
            .as_ref()
            .is_some_and(|held| held.validity.is_live(now.unix));
        for request in std::mem::take(&mut self.waiting) {
            if alive {
                self.serve(request, Some(Warning::Stale));
            } else {
                answer(request, Err(failure.clone()));
            }
        }
    }

    fn failure(&self, error: ExchangeError) -> Failure {
        Failure::Exchange {
            account: self.name.clone(),
            host: self.identity.host.to_string(),
            error,
        }
    }

    fn serve(&self, request: Request, warning: Option<Warning>) {
        let token = self.served(warning);
        answer(request, token);
    }

    fn served(&self, warning: Option<Warning>) -> Result<Token, Failure> {
        let held = self
            .held
            .as_ref()
            .ok_or(Failure::Internal("a token was served that is not held"))?;
        let mut secret = self.agent.custody.open(&held.secret).map_err(failure_of)?;
        let text = String::from_utf8(std::mem::take(&mut *secret));
        let mut access_token = Zeroizing::new(text.map_err(|_| Failure::Internal("a token is not text"))?);
        let (org_id, user_id) = held.id.as_deref().map_or((None, None), token::ids);
        Ok(Token {
            account: self.name.to_string(),
            access_token: std::mem::take(&mut *access_token),
            token_type: "Bearer".to_owned(),
            instance_url: held.instance_url.clone(),
            expires_at: held.validity.expires_at,
            expiry_source: held.validity.source.into(),
            issued_at: held.validity.issued_at,
            scope: held.scope.clone(),
            id: held.id.clone(),
            org_id,
            user_id,
            username: self.identity.username.clone(),
            warnings: warning
                .map(|warning| warning.code().to_owned())
                .into_iter()
                .collect(),
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(exchange) = &self.exchange {
            exchange.abort();
        }
    }
}

impl Warning {
    fn code(self) -> &'static str {
        match self {
            Self::MinValidCapped => "MIN_VALID_CAPPED",
            Self::FreshLimited => "FRESH_LIMITED",
            Self::Stale => "STALE",
        }
    }
}

/// The result of the exchange in flight; never, when there is none. A panic in it costs this exchange only.
async fn outcome(
    exchange: &mut Option<JoinHandle<Result<Grant, ExchangeError>>>,
) -> Result<Grant, ExchangeError> {
    match exchange {
        Some(exchange) => exchange.await.unwrap_or(Err(ExchangeError::Internal)),
        None => std::future::pending().await,
    }
}

fn failure_of(error: CustodyError) -> Failure {
    match error {
        CustodyError::Locked => Failure::Locked,
        CustodyError::DoesNotOpen => Failure::Internal("a sealed token does not open"),
    }
}

/// A caller that has gone away needs no answer.
fn answer(request: Request, answer: Result<Token, Failure>) {
    drop(request.reply.send(answer));
}

fn ended_on_arrival() -> ExchangeError {
    ExchangeError::Malformed(sfkey_proto::SalesforceAnswer {
        error: String::new(),
        error_description: "the token had ended when it arrived; is the local clock right?".to_owned(),
        http_status: 200,
    })
}

fn describe(refusal: &sfkey_proto::Refusal) -> String {
    let text = match &refusal.salesforce {
        Some(answer) if !answer.error.is_empty() => {
            format!(
                "{} ({}: {})",
                refusal.message, answer.error, answer.error_description
            )
        }
        _ => refusal.message.clone(),
    };
    clip(text, MAX_RAW_BYTES)
}

impl View {
    /// Where the token ended up, as the contract names it.
    #[must_use]
    pub fn token_state(&self, now: i64) -> sfkey_proto::v1::TokenState {
        use sfkey_proto::v1::{TokenState, token_state::State};

        let state = match (self.validity, &self.last_error) {
            (Some(validity), _) if validity.is_live(now) => State::Live,
            (_, Some(_)) => State::Failing,
            (Some(_), None) => State::Expired,
            (None, None) => State::None,
        };
        TokenState {
            state: state.into(),
            expires_at: self.validity.map(|validity| validity.expires_at),
            expiry_source: self
                .validity
                .map_or(ExpirySource::Unspecified, |validity| validity.source)
                .into(),
        }
    }
}
