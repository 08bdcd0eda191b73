//! One piece of work at Salesforce for one account: ask about the session held, get a token, ask when it ends.

use std::{sync::Arc, time::Duration};

use crate::{
    agent::Agent,
    assertion::{Assertion, Claims},
    custody::{SealedSecret, Signer},
    identity::Identity,
    limits::{INTROSPECTION_TIME, JOB_TIME},
    salesforce::{Answered, Client, ExchangeError, Grant, Introspection, errors},
    token,
};

use super::life::{Ask, MOVED};

/// A correction of the clock by less than this many seconds does not mend an assertion that came too late.
const WORTH_A_SECOND_TRY: i64 = 60;

/// What is to be done, and with what.
pub(super) struct Job {
    pub(super) agent: Arc<Agent>,
    pub(super) identity: Arc<Identity>,
    pub(super) signer: Arc<dyn Signer>,
    /// The consumer secret, if introspection is worth trying.
    pub(super) secret: Option<Arc<SealedSecret>>,
    /// The session held, if it is worth asking about.
    pub(super) session: Option<Session>,
    pub(super) ask: Ask,
    /// Pause before Salesforce is asked.
    pub(super) delay: Duration,
}

/// A session that may live on.
pub(super) struct Session {
    pub(super) token: Arc<SealedSecret>,
    pub(super) instance_url: String,
    /// Its end as far as it is known, UTC epoch seconds.
    pub(super) expires_at: i64,
}

/// What came of it.
pub(super) struct Done {
    pub(super) outcome: Result<Outcome, ExchangeError>,
    /// What was wrong with introspection, which is no failure of the job.
    pub(super) complaint: Option<Complaint>,
}

pub(super) enum Outcome {
    /// The session held is alive.
    Alive(Introspection),
    /// A token was granted, and this was said of its session.
    Granted(Grant, Option<Introspection>),
}

/// Why introspection told nothing.
pub(super) enum Complaint {
    /// A token that was granted a moment ago is said to be dead.
    InactiveAtBirth,
    /// No answer, or an error.
    Failed(ExchangeError),
}

impl Job {
    /// Works for [`JOB_TIME`] at most.
    pub(super) async fn run(self) -> Done {
        let done = tokio::time::timeout(JOB_TIME, self.work()).await;
        done.unwrap_or_else(|_| Done {
            outcome: Err(ExchangeError::Network("no answer in time".to_owned())),
            complaint: None,
        })
    }

    async fn work(self) -> Done {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let mut complaint = None;
        if let Some(told) = self.look_at_session(&mut complaint).await {
            return Done {
                outcome: Ok(Outcome::Alive(told)),
                complaint,
            };
        }
        let outcome = match self.mint().await {
            Ok(grant) => {
                let told = self.ask_about(&grant, &mut complaint).await;
                Ok(Outcome::Granted(grant, told))
            }
            Err(error) => Err(error),
        };
        Done { outcome, complaint }
    }

    /// Whether the session held will do: it was extended, or it is alive, whatever was asked.
    async fn look_at_session(&self, complaint: &mut Option<Complaint>) -> Option<Introspection> {
        let session = self.session.as_ref().filter(|_| self.ask != Ask::Mint)?;
        let token = self.agent.custody.open(&session.token).ok()?;
        let token = std::str::from_utf8(&token).ok()?;
        let told = self.introspect(&session.instance_url, token, complaint).await?;
        let extended = told
            .expires_at
            .is_some_and(|end| end >= session.expires_at.saturating_add(MOVED));
        let will_do = told.active && (self.ask == Ask::VerifyOrMint || extended);
        will_do.then_some(told)
    }

    /// When the token granted ends, unless the grant tells that itself.
    async fn ask_about(&self, grant: &Grant, complaint: &mut Option<Complaint>) -> Option<Introspection> {
        if token::tells_its_end(grant) {
            return None;
        }
        let told = self
            .introspect(&grant.instance_url, &grant.access_token, complaint)
            .await?;
        if !told.active {
            *complaint = Some(Complaint::InactiveAtBirth);
        }
        told.active.then_some(told)
    }

    async fn introspect(
        &self,
        instance_url: &str,
        token: &str,
        complaint: &mut Option<Complaint>,
    ) -> Option<Introspection> {
        let secret = self.agent.custody.open(self.secret.as_ref()?).ok()?;
        let client = Client {
            consumer_key: &self.identity.consumer_key,
            consumer_secret: std::str::from_utf8(&secret).ok()?,
        };
        self.agent.counters.introspections.add();
        let asked = self.agent.endpoint.introspect(instance_url, token, client);
        let answered = tokio::time::timeout(INTROSPECTION_TIME, asked).await;
        let answered = answered.unwrap_or_else(|_| {
            Answered::undated(Err(ExchangeError::Network("no answer in time".to_owned())))
        });
        match answered.outcome {
            Ok(told) => Some(told),
            Err(error) => {
                self.agent.counters.introspection_failures.add();
                *complaint = Some(Complaint::Failed(error));
                None
            }
        }
    }

    /// Exchanges a freshly signed assertion. When Salesforce says that it came too late and its `Date` shows why,
    /// once more by Salesforce's clock.
    async fn mint(&self) -> Result<Grant, ExchangeError> {
        let host = self.identity.host.to_string();
        let utc = || self.agent.logins.utc(&host, self.agent.clock.now());
        let correction = || self.agent.clock.now().unix - utc();
        let before = correction();
        let first = self.exchange(utc()).await;
        let Err(ExchangeError::Refused(answer)) = &first else {
            return first;
        };
        let moved = (correction() - before).abs() >= WORTH_A_SECOND_TRY;
        let admitted = || {
            self.agent
                .logins
                .admit(&self.identity, self.agent.clock.now())
                .is_ok()
        };
        if errors::blames_the_clock(answer) && moved && admitted() {
            tracing::warn!(%host, skew = correction(), "the local clock is wrong; signing by Salesforce's");
            return self.exchange(utc()).await;
        }
        first
    }

    async fn exchange(&self, utc: i64) -> Result<Grant, ExchangeError> {
        self.agent.counters.exchanges.add();
        let (identity, signer) = (Arc::clone(&self.identity), Arc::clone(&self.signer));
        let signing =
            tokio::task::spawn_blocking(move || Assertion::sign(&Claims::new(&identity, utc), signer));
        let assertion = signing
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(ExchangeError::Signing)?;
        let host = &self.identity.host;
        let answered = self.agent.endpoint.exchange(host, assertion).await;
        if let Some(date) = answered.date {
            self.agent.note_date(host, date);
        }
        answered.outcome
    }
}
