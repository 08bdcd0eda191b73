//! The gRPC services: one short method a verb, request → permit → account → reply, and no logic of their own.

mod agent_service;
mod check;
mod deadline;
mod gate;
mod places;
mod revoke;
mod server;
mod token_service;
mod watch;
mod weigh;

use std::{sync::Arc, time::Duration};

use sfkey_proto::{
    AccountName,
    sealing::{INSTANCE_ID_BYTES, Sealable, Sealed},
    v1::Token,
};
use tokio::sync::watch as watch_channel;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::{
    accounts::Accounts,
    agent::Agent,
    audit::{Audit, NotRecorded},
    confirm::Confirmer,
    connection::Caller,
    custody::protection_name,
    error::Failure,
    hardening::Hardening,
    lock::Lock,
    policy::{Denied, Permit, Policy, Verdict},
    settings::Confirm,
    shutdown::Stop,
    socket::{Standing, Table},
};

use places::Place;

pub use places::Places;
pub use server::{serve, serve_tokens};

/// What both services need. Cloned for every connection.
#[derive(Clone)]
pub struct Service(Arc<Parts>);

/// The parts of a [`Service`].
pub struct Parts {
    /// Seams, custody, counters.
    pub agent: Arc<Agent>,
    /// The registry.
    pub accounts: Accounts,
    /// The rules.
    pub policy: Arc<Policy>,
    /// The table of connections.
    pub table: Table,
    /// Locks and unlocks.
    pub lock: Lock,
    /// Tells whoever holds something secret; set by the lock, and by a panic.
    pub locked: watch_channel::Sender<bool>,
    /// Stops the agent.
    pub stop: Stop,
    /// Cancelled when the agent drains: streams end.
    pub ending: CancellationToken,
    /// What the process reached at start.
    pub hardening: Hardening,
    /// Path of the main socket.
    pub socket: String,
    /// Whether the service manager bound the main socket.
    pub socket_activated: bool,
    /// What stands at the path of the main socket.
    pub standing: watch_channel::Receiver<Standing>,
    /// What stands at the path of the restricted one, if there is one.
    pub token_standing: watch_channel::Receiver<Standing>,
    /// Random, made at start: the `aad` of sealing.
    pub instance_id: [u8; INSTANCE_ID_BYTES],
    /// UTC epoch seconds.
    pub started_at: i64,
    /// Process id.
    pub pid: u32,
    /// Who asks the user.
    pub confirmer: Confirmer,
    /// Who got what.
    pub audit: Audit,
    /// Path of the audit log, if there is one.
    pub audit_log: Option<String>,
    /// Path of agent.toml, if there is one by now.
    pub settings_file: watch_channel::Receiver<Option<String>>,
    /// Path of the restricted socket, if there is one.
    pub token_socket: Option<String>,
    /// Places for requests in work.
    pub requests: Places,
    /// How long one may take.
    pub request_time: Duration,
}

/// Who calls, and a place among the requests in work that is given back when the request ends.
struct Call {
    caller: Caller,
    _place: Place,
}

impl Service {
    /// A service of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Drops accounts as they end, for ever.
    pub async fn keep_dropping_ended(&self) {
        self.0.accounts.keep_dropping_ended().await;
    }

    /// Forgets every key, and closes every connection, for its buffers may hold a token that it delivered.
    pub fn drop_keys(&self) {
        self.0.accounts.remove_all(self.0.policy.operator());
        self.0.table.connections().close_all();
    }

    /// Ends the streams of tokens: they would never end by themselves.
    pub fn end_streams(&self) {
        self.0.ending.cancel();
    }

    /// Closes the connections that never asked for anything: there is nothing to wait for.
    pub fn close_silent(&self) {
        self.0.table.connections().close_silent();
    }

    /// How the agent is, in a few words for the service manager.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts = &self.0;
        let state = match (*parts.standing.borrow(), *parts.agent.locked.borrow()) {
            (Standing::Removed, _) => "Its socket was removed",
            (Standing::Replaced, _) => "Something else stands at its socket's path",
            (Standing::Own, true) => "Locked",
            (Standing::Own, false) => "Serves",
        };
        let (accounts, protection) = (parts.accounts.count(), parts.agent.custody.protection());
        let protection = protection_name(protection);
        let restricted = match *parts.token_standing.borrow() {
            Standing::Own => "",
            Standing::Removed | Standing::Replaced => "; its restricted socket was removed or replaced",
        };
        format!("{state}; accounts: {accounts}; memory protection: {protection}{restricted}")
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<Call, Failure> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or(Failure::Internal("a request came without a connection"))?;
        let place = self.0.requests.take(caller.peer().party())?;
        Ok(Call {
            caller,
            _place: place,
        })
    }

    /// Leave for the caller to use the account that `name` means to it; asks the user if that is the rule. Whatever
    /// is denied is in the audit trail as that of `method`.
    async fn permit(&self, call: &Call, method: &'static str, name: &str) -> Result<Permit, Failure> {
        let (peer, policy) = (call.caller.peer(), &self.0.policy);
        let account = self
            .0
            .accounts
            .resolve(name, |account| policy.shows(peer, account))?;
        let decided = match policy.permit(peer, account.clone()) {
            Ok(Verdict::Permit(permit)) => Ok(permit),
            Ok(Verdict::Ask(question)) => self.0.confirmer.ask(peer, question).await,
            Err(denied) => Err(denied),
        };
        match decided {
            Ok(permit) => Ok(permit),
            Err(denied) => Err(self.deny(call, method, &account, denied).await),
        }
    }

    /// Whether the caller may go on to use `account`: the rules may be others by now, and so may the caller. What
    /// the user has `agreed` to before is not asked again.
    async fn still_permit(
        &self,
        call: &Call,
        method: &'static str,
        account: &AccountName,
        agreed: Option<Confirm>,
    ) -> Result<(), Failure> {
        match self.0.policy.permit(call.caller.peer(), account.clone()) {
            Ok(Verdict::Permit(_)) => Ok(()),
            Ok(Verdict::Ask(question)) if Some(question.confirm()) == agreed => Ok(()),
            Ok(Verdict::Ask(_)) => self.permit(call, method, account.as_str()).await.map(drop),
            Err(denied) => Err(self.deny(call, method, account, denied).await),
        }
    }

    async fn deny(
        &self,
        call: &Call,
        method: &'static str,
        account: &AccountName,
        denied: Denied,
    ) -> Failure {
        self.0.agent.counters.denials.add();
        let (peer, reason) = (call.caller.peer(), denied.reason());
        self.0.audit.denied(peer, method, account.as_str(), reason).await;
        denied.into()
    }

    /// Puts into the audit trail that the caller gets `token`, and only then lets it have it.
    async fn deliver(&self, call: &Call, method: &'static str, token: Token) -> Result<Token, Failure> {
        match self.0.audit.granted(call.caller.peer(), method, &token).await {
            Ok(()) => Ok(token),
            Err(NotRecorded) => {
                self.0.agent.counters.denials.add();
                let name = token.account.parse();
                let account = name.map_err(|_| Failure::Internal("a token has no account"))?;
                Err(Denied::Unrecorded(account).into())
            }
        }
    }

    /// Opens the audit log anew, for it may have been moved away.
    pub fn reopen_audit(&self) {
        self.0.audit.reopen();
    }

    /// Writes what the audit trail has counted and not told yet.
    pub async fn finish_audit(&self) {
        self.0.audit.finish().await;
    }

    /// Opens a sealed request with the key of its connection, which is used up.
    fn open<M: Sealable>(&self, caller: &Caller, enc: Vec<u8>, ciphertext: Vec<u8>) -> Result<M, Failure> {
        let key = caller.take_sealing_key().ok_or_else(no_sealing_key)?;
        key.open(&Sealed { enc, ciphertext }, &self.0.instance_id)
            .map_err(|error| Failure::Invalid(error.to_string(), NEW_KEY))
    }
}

/// What to do when a sealed request does not open.
const NEW_KEY: &str = "call GetSealingKey on the same connection, once for every sealed request";

fn no_sealing_key() -> Failure {
    Failure::Invalid(
        "this connection has no sealing key, or used it up".to_owned(),
        NEW_KEY,
    )
}
