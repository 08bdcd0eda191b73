//! What came of a piece of work, and what that means for whoever waits.

use std::{sync::Arc, time::Duration};

use sfkey_proto::Refusal;

use super::{
    job::{Complaint, Done, Outcome},
    life::{Granted, Kind, Warning},
    task::{Held, Request, Task, answer, chance},
    view::{HeldOff, describe},
};
use crate::{
    clock::Now,
    error::Failure,
    logins::Barred,
    salesforce::{ExchangeError, Grant, Introspection, errors},
    token::{self, Validity},
};

/// After Salesforce refused introspection it is left alone for this time: the secret is wrong, and every try with
/// it counts as a failed one.
const INTROSPECTION_PAUSE: Duration = Duration::from_secs(3600);

impl Task {
    pub(super) fn settle(&mut self, done: Done) {
        let now = self.agent.clock.now();
        self.in_flight = None;
        // The lock is told in a moment; until then nothing that failed for want of the key is a failure.
        if self.agent.custody.is_locked() {
            return self.lock();
        }
        if let Some(complaint) = done.complaint {
            self.note_complaint(&complaint, now);
        }
        self.tell_logins(&done.outcome, now);
        let outcome = match done.outcome {
            Ok(Outcome::Alive(told)) => {
                let utc = self.utc(now);
                self.life.extended(&told, now, utc, chance());
                Ok(Granted::Same)
            }
            Ok(Outcome::Granted(grant, told)) => self.keep(grant, told.as_ref(), now),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(granted) => self.succeed(granted, now),
            Err(error) => self.fail(error, now),
        }
        self.suspect = false;
        self.show();
    }

    /// What one account learned of the host counts for all.
    fn tell_logins(&self, outcome: &Result<Outcome, ExchangeError>, now: Now) {
        let (logins, identity) = (&self.agent.logins, &self.own.identity);
        match outcome {
            Ok(_) => logins.answered(identity, now),
            Err(ExchangeError::Refused(answer)) => {
                logins.answered(identity, now);
                if errors::blames_the_rate(answer) {
                    logins.rate_exceeded(identity, now);
                }
            }
            Err(
                error @ (ExchangeError::Network(_)
                | ExchangeError::Unavailable(_)
                | ExchangeError::Malformed(_)),
            ) => {
                logins.failed(identity, self.own.name.as_str(), error, now, chance());
            }
            Err(ExchangeError::Signing | ExchangeError::Internal) => {}
        }
    }

    fn note_complaint(&mut self, complaint: &Complaint, now: Now) {
        let account = &self.own.name;
        match complaint {
            Complaint::InactiveAtBirth => {
                tracing::warn!(%account, "introspection calls a token inactive that was granted a moment ago");
            }
            Complaint::Failed(ExchangeError::Refused(answer)) => {
                self.introspection_paused_until = now.boot + INTROSPECTION_PAUSE;
                tracing::warn!(%account, error = %answer.error, what = %answer.error_description,
                    "introspection refused; the consumer secret may be wrong");
            }
            Complaint::Failed(error) => tracing::warn!(%account, ?error, "introspection failed"),
        }
    }

    fn utc(&self, now: Now) -> i64 {
        self.agent.logins.utc(&self.own.identity.host.to_string(), now)
    }

    /// Seals the granted token.
    fn keep(
        &mut self,
        grant: Grant,
        told: Option<&Introspection>,
        now: Now,
    ) -> Result<Granted, ExchangeError> {
        let utc = self.utc(now);
        let configured = self.own.terms.borrow().session_timeout;
        let timeout = configured.or(self.life.session_timeout());
        let validity = Validity::of(&grant, told, timeout, now, utc);
        if !validity.is_live(now) {
            return Err(ended_on_arrival());
        }
        let sealed = self.agent.custody.seal(grant.access_token.as_bytes());
        let token = Arc::new(sealed.map_err(|_| ExchangeError::Internal)?);
        let taught = told.and_then(|told| token::session_timeout(told, utc));
        let hash = token::hash(&grant.access_token);
        let granted = self.life.granted(hash, validity, taught, now, chance());
        self.held = Some(Held {
            token,
            instance_url: grant.instance_url,
            id: grant.id,
            scope: grant.scope,
        });
        Ok(granted)
    }

    fn succeed(&mut self, granted: Granted, now: Now) {
        if let Some(validity) = self.life.validity() {
            let (account, source) = (&self.own.name, validity.source);
            tracing::info!(%account, expires_at = validity.expires_at, ?source, ?granted, "token held");
        }
        self.view.send_modify(|view| view.last_error = None);
        let longest = self.life.validity().map_or(0, |validity| validity.longest_need());
        for request in std::mem::take(&mut self.waiting) {
            match &request {
                Request::Rejected { hash, .. } if self.life.hash() == Some(*hash) => {
                    answer(request, Err(self.not_the_session()));
                }
                Request::Rejected { .. } => self.serve(request, None, now),
                Request::Token { need, .. } => {
                    let capped = need.min_valid > longest;
                    self.serve(request, capped.then_some(Warning::MinValidCapped), now);
                }
            }
        }
        self.tell_watchers();
    }

    /// A token that is still alive is served although its renewal failed, unless it was reported as refused.
    fn fail(&mut self, error: ExchangeError, now: Now) {
        self.agent.counters.exchange_failures.add();
        let kind = kind(&error);
        let failure = self.failure(error);
        let refusal = Refusal::from(failure.clone());
        tracing::warn!(account = %self.own.name, reason = refusal.reason.as_str(), what = %refusal.message, "no token");
        self.view
            .send_modify(|view| view.last_error = Some(describe(&refusal)));
        self.life.failed(failure.clone(), kind, now, chance());
        if self.suspect {
            self.drop_token();
        }
        for request in std::mem::take(&mut self.waiting) {
            if self.life.is_live(now) && matches!(request, Request::Token { .. }) {
                self.serve(request, Some(Warning::Stale), now);
            } else {
                answer(request, Err(failure.clone()));
            }
        }
    }

    /// Brings what may be shown up to date.
    pub(super) fn show(&self) {
        let held_off = self.life.hold_off().map(|hold_off| {
            let refusal = Refusal::from(hold_off.failure.clone());
            HeldOff {
                until: hold_off.until,
                reason: refusal.reason,
                message: refusal.message,
            }
        });
        let validity = self.life.validity();
        self.view.send_modify(|view| {
            view.validity = validity;
            view.held_off = held_off;
        });
    }

    pub(super) fn failure(&self, error: ExchangeError) -> Failure {
        Failure::exchange(&self.own.name, &self.own.identity.host, error)
    }

    pub(super) fn barred(&self, barred: Barred, now: Now) -> Failure {
        match barred {
            Barred::Budget(until) => Failure::LoginBudget {
                account: self.own.name.clone(),
                username: self.own.identity.username.clone(),
                again_in: until.saturating_sub(now.boot),
            },
            Barred::Outage(until, error) => self.failure(error).until(until, now),
        }
    }

    pub(super) fn not_the_session(&self) -> Failure {
        Failure::NotTheSession(self.own.name.clone())
    }
}

fn kind(error: &ExchangeError) -> Kind {
    match error {
        ExchangeError::Refused(answer) if errors::blames_the_rate(answer) => Kind::Rate,
        ExchangeError::Refused(_) => Kind::Lasting,
        _ => Kind::Passing,
    }
}

fn ended_on_arrival() -> ExchangeError {
    ExchangeError::Malformed(sfkey_proto::SalesforceAnswer {
        error: String::new(),
        error_description: "the token had ended when it arrived; is the local clock right?".to_owned(),
        http_status: 200,
    })
}
