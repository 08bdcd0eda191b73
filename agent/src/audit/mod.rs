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
    sync::{Notify, mpsc, oneshot},
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
    /// Asks for the file to be opened anew; a full queue is no place to lose that in.
    reopen: Arc<Notify>,
    required: bool,
    agent: Arc<Agent>,
}

enum Message {
    Record(Box<Event>, Option<oneshot::Sender<bool>>),
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
        let reopen = Arc::new(Notify::new());
        let wanted = destinations.file.is_some() || destinations.log;
        let trail = wanted.then(|| {
            let (sender, messages) = mpsc::channel(AUDIT_QUEUE);
            let task = Task {
                destinations,
                window: Window::default(),
                reopen: Arc::clone(&reopen),
                owner,
                agent: Arc::clone(&agent),
            };
            tokio::spawn(task.run(messages));
            sender
        });
        Self {
            trail,
            reopen,
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
        self.reopen.notify_one();
    }

    /// Writes what was counted and not told yet.
    pub async fn finish(&self) {
        let Some(trail) = &self.trail else { return };
        let (done, finished) = oneshot::channel();
        let written = async {
            if trail.send(Message::Finish(done)).await.is_ok() {
                finished.await.ok();
            }
        };
        timeout(AUDIT_TIME, written).await.ok();
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
    reopen: Arc<Notify>,
    owner: u32,
    agent: Arc<Agent>,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let reopen = Arc::clone(&self.reopen);
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                () = reopen.notified() => {
                    self.reopen();
                    continue;
                }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::watch;

    use super::*;
    use crate::{
        agent::Counters,
        custody::Custody,
        logins::Logins,
        salesforce::{HttpEndpoint, TrustedHosts, http::Timeouts},
        testing::TestClock,
    };

    fn agent() -> Arc<Agent> {
        let trusted = TrustedHosts::default();
        Arc::new(Agent {
            clock: Arc::new(TestClock::new()),
            endpoint: Arc::new(HttpEndpoint::new(Timeouts::default(), trusted.clone()).expect("TLS")),
            custody: Custody::new().expect("custody"),
            trusted,
            logins: Logins::default(),
            counters: Counters::default(),
            locked: watch::channel(false).1,
        })
    }

    #[tokio::test]
    async fn a_file_is_opened_anew_and_all_is_told_at_the_end_though_the_queue_was_full() {
        let place = tempfile::tempdir().expect("a directory");
        let (path, moved) = (place.path().join("audit.log"), place.path().join("audit.log.1"));
        let (owner, agent) = (rustix::process::geteuid().as_raw(), agent());
        let destinations = Destinations::open(Some(&path), false, owner).expect("opened");
        let audit = Audit::start(destinations, false, owner, Arc::clone(&agent));
        // Nobody takes anything from the queue before this test waits for something.
        for _ in 0..=AUDIT_QUEUE {
            audit.refused(1, None);
        }
        assert_eq!(agent.counters.audit_failures.value(), 1, "it is full");
        fs::rename(&path, &moved).expect("moved");
        audit.reopen();
        audit.finish().await;
        let text: String = [&moved, &path]
            .map(|path| fs::read_to_string(path).expect("it is there"))
            .concat();
        let count = format!("\"count\":{}}}\n", AUDIT_QUEUE - 1);
        assert!(text.ends_with(&count), "{text}");
    }
}
