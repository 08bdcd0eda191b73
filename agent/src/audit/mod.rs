//! The audit trail: who was given which token, who was denied, and who replaced an account.
//!
//! One task owns the file. A record that comes first is written before its token is delivered; the same again within
//! ten seconds is counted and told in one following record, so that a busy caller, or one that is denied in a loop,
//! does not fill the disk.

mod file;
mod record;
mod window;

use std::{path::Path, sync::Arc, time::Duration};

use sfkey_proto::{Reason, v1::Token};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    agent::Agent,
    limits::{AUDIT_QUEUE, AUDIT_TIME},
    peer::{Peer, Process, Seen},
    token,
};

use self::{
    file::AuditFile,
    record::{Decision, Line, Subject},
    window::Window,
};

pub use file::AuditError;

/// Log target of audit records, which are told at any level.
pub const TARGET: &str = "audit";

/// Where records go.
#[derive(Debug, Default)]
pub struct Destinations {
    file: Option<AuditFile>,
    /// The agent's own log, which systemd keeps in the journal.
    log: bool,
}

impl Destinations {
    /// The file at `path`, which is the user `owner`'s alone, and the agent's log.
    ///
    /// # Errors
    /// When that file cannot be had.
    pub fn open(path: Option<&Path>, log: bool, owner: u32) -> Result<Self, AuditError> {
        let file = path.map(|path| AuditFile::open(path, owner)).transpose()?;
        Ok(Self { file, log })
    }
}

/// The way to the trail. Clones lead to the same one.
#[derive(Clone)]
pub struct Audit {
    /// `None` when nothing is to be recorded.
    trail: Option<mpsc::Sender<Message>>,
    required: bool,
    agent: Arc<Agent>,
}

enum Message {
    Record(Box<Event>, Option<oneshot::Sender<bool>>),
    Reopen,
    Finish(oneshot::Sender<()>),
}

/// What happened, and to which process.
#[derive(Clone, Debug)]
struct Event {
    subject: Subject,
    process: Option<Process>,
}

/// What happened, and what was seen of the process. It holds no descriptor of the process, of which there can be many.
#[derive(Debug)]
struct Looked {
    subject: Subject,
    seen: Seen,
}

/// A record was required and could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRecorded;

impl Audit {
    /// Starts the trail of an agent that runs as `owner`. With `required`, what cannot be recorded is not delivered.
    #[must_use]
    pub fn start(destinations: Destinations, required: bool, owner: u32, agent: Arc<Agent>) -> Self {
        let wanted = destinations.file.is_some() || destinations.log;
        let trail = wanted.then(|| {
            let (sender, messages) = mpsc::channel(AUDIT_QUEUE);
            let task = Task {
                destinations,
                window: Window::default(),
                owner,
                agent: Arc::clone(&agent),
            };
            tokio::spawn(task.run(messages));
            sender
        });
        Self {
            trail,
            required,
            agent,
        }
    }

    /// Records that `peer` gets `token`, before it does.
    ///
    /// # Errors
    /// [`NotRecorded`] if records are required and this one could not be written.
    pub async fn granted(&self, peer: &Peer, method: &'static str, token: &Token) -> Result<(), NotRecorded> {
        if self.trail.is_none() {
            return Ok(());
        }
        let fingerprint = fingerprint(&token.access_token);
        let event = Event::of(peer, |subject| Subject {
            account: Some(token.account.clone()),
            method: Some(method),
            fingerprint: Some(fingerprint),
            ..subject
        });
        self.record(event).await
    }

    /// Records that `peer` is denied.
    pub async fn denied(&self, peer: &Peer, method: &'static str, account: &str, reason: Reason) {
        let event = Event::of(peer, |subject| Subject {
            decision: Decision::Denied,
            account: Some(account.to_owned()),
            method: Some(method),
            reason: Some(reason.as_str()),
            ..subject
        });
        // Whoever is denied gets nothing, recorded or not; what could not be written is counted.
        self.record(event).await.ok();
    }

    /// Records that `peer` replaced an account by one of another identity or key.
    pub async fn replaced(&self, peer: &Peer, account: &str) {
        let event = Event::of(peer, |subject| Subject {
            account: Some(account.to_owned()),
            method: Some("AddAccount"),
            reason: Some("REPLACED"),
            ..subject
        });
        // It is done already; what could not be written is counted.
        self.record(event).await.ok();
    }

    /// Records that a connection of the user `uid` was refused. Nobody waits for that.
    pub fn refused(&self, uid: u32, pid: Option<i32>) {
        let subject = Subject {
            decision: Decision::Denied,
            uid,
            pid,
            method: Some("Connect"),
            reason: Some(Reason::PeerDenied.as_str()),
            ..Subject::default()
        };
        let event = Event {
            subject,
            process: None,
        };
        if let Some(trail) = &self.trail
            && trail.try_send(Message::Record(Box::new(event), None)).is_err()
        {
            self.agent.counters.audit_failures.add();
        }
    }

    /// Opens the file anew: what stood at its path may have been moved away.
    pub fn reopen(&self) {
        if let Some(trail) = &self.trail {
            // A full queue means that the disk hangs; then there is nothing to open either.
            trail.try_send(Message::Reopen).ok();
        }
    }

    /// Writes what was counted and not told yet.
    pub async fn finish(&self) {
        let Some(trail) = &self.trail else { return };
        let (done, finished) = oneshot::channel();
        if trail.try_send(Message::Finish(done)).is_ok() {
            timeout(AUDIT_TIME, finished).await.ok();
        }
    }

    async fn record(&self, event: Event) -> Result<(), NotRecorded> {
        let Some(trail) = &self.trail else { return Ok(()) };
        let (written, answer) = oneshot::channel();
        let sent = trail.try_send(Message::Record(Box::new(event), Some(written)));
        let recorded = match sent {
            // A failed write is counted where it fails; one that hangs is counted here.
            Ok(()) => match timeout(AUDIT_TIME, answer).await {
                Ok(written) => written.unwrap_or(false),
                Err(_) => self.count_failure(),
            },
            Err(_) => self.count_failure(),
        };
        if recorded || !self.required {
            Ok(())
        } else {
            Err(NotRecorded)
        }
    }

    fn count_failure(&self) -> bool {
        self.agent.counters.audit_failures.add();
        false
    }
}

impl Event {
    fn of(peer: &Peer, fill: impl FnOnce(Subject) -> Subject) -> Self {
        let subject = Subject {
            uid: peer.uid(),
            pid: peer.pid(),
            ..Subject::default()
        };
        Self {
            subject: fill(subject),
            process: peer.process().cloned(),
        }
    }

    fn look(self, owner: u32) -> Looked {
        let seen = self
            .process
            .map(|process| process.look(owner))
            .unwrap_or_default();
        Looked {
            subject: self.subject,
            seen,
        }
    }
}

/// The first 16 hexadecimal digits of the token's SHA-256: enough to find it again, nothing to log in with.
fn fingerprint(access_token: &str) -> String {
    let hash = token::hash(access_token);
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The owner of the file.
struct Task {
    destinations: Destinations,
    window: Window,
    owner: u32,
    agent: Arc<Agent>,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                () = until(self.next_end()) => {
                    self.tell_ended().await;
                    continue;
                }
            };
            match message {
                Some(Message::Record(event, written)) => {
                    let recorded = self.take(*event).await;
                    // Whoever waited may have gone.
                    if let Some(written) = written {
                        written.send(recorded).ok();
                    }
                }
                Some(Message::Reopen) => self.reopen(),
                Some(Message::Finish(done)) => {
                    for (event, count) in self.window.close_all() {
                        self.write(&event, count).await;
                    }
                    done.send(()).ok();
                }
                None => return,
            }
        }
    }

    /// Whether the event is in the trail, or counted for a record to come.
    async fn take(&mut self, event: Event) -> bool {
        let key = self.window.key(&event.subject);
        let now = self.agent.clock.now().boot;
        let owner = self.owner;
        let again = || event.clone().look(owner);
        if !self.window.note(&key, again, now) {
            return true;
        }
        let written = self.write(&event.look(owner), 1).await;
        if !written {
            // The same again is not one of which a record exists.
            self.window.forget(&key);
        }
        written
    }

    async fn tell_ended(&mut self) {
        let now = self.agent.clock.now().boot;
        for (event, count) in self.window.ended(now) {
            self.write(&event, count).await;
        }
    }

    fn next_end(&self) -> Option<Duration> {
        let now = self.agent.clock.now().boot;
        self.window.next_end().map(|end| end.saturating_sub(now))
    }

    async fn write(&mut self, event: &Looked, count: u64) -> bool {
        let line = Line::new(self.agent.clock.now().unix, &event.subject, &event.seen, count);
        if self.destinations.log {
            line.log();
        }
        let Some(file) = self.destinations.file.take() else {
            return true;
        };
        let text = line.json();
        // The disk may be slow; nobody but those who wait for this record waits for it.
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file;
            let written = file.append(&text);
            (file, written)
        });
        let Ok((file, written)) = written.await else {
            tracing::error!("the audit log is lost: writing to it panicked");
            self.agent.counters.audit_failures.add();
            return false;
        };
        self.destinations.file = Some(file);
        match written {
            Ok(()) => {
                self.agent.counters.audit_records.add();
                true
            }
            Err(error) => {
                tracing::error!(%error, "an audit record cannot be written");
                self.agent.counters.audit_failures.add();
                false
            }
        }
    }

    fn reopen(&mut self) {
        let Some(file) = &mut self.destinations.file else {
            return;
        };
        match file.reopen() {
            Ok(()) => tracing::info!("the audit log was opened anew"),
            Err(error) => tracing::error!(%error, fix = error.fix(), "the audit log stays the old one"),
        }
    }
}

async fn until(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
