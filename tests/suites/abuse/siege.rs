//! An agent under attack, and an honest client beside the attackers.

use std::{os::unix::net::UnixStream, path::Path, time::Duration};

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use sfkey_tests::support::{
    Calls, Stage, Stopwatch,
    stage::ACCOUNT,
    stopwatch::{eventually, in_time},
};

/// What the agent's memory stays under, in KiB.
const MOST: u64 = 64 * 1024;

/// How far from its idle size it may be afterwards, in KiB: what the allocator keeps.
pub(crate) const MARGIN: u64 = 4 * 1024;

/// Descriptors that a test keeps for itself.
const KEPT: u64 = 500;

/// Requests of the honest client while the attack stands.
const HONEST: usize = 20;

/// As many connections as these tests mean by many, or as this process may open.
pub(crate) fn crowd() -> usize {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to the hard one");
    let affordable = usize::try_from(most.saturating_sub(KEPT)).unwrap_or(usize::MAX);
    affordable.min(10_000)
}

/// An agent that is attacked.
pub(crate) struct Siege {
    name: &'static str,
    stage: Stage,
    calls: Calls,
    idle: Size,
}

/// What the agent takes when nobody does anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) resident: u64,
    /// Only root sees them.
    pub(crate) descriptors: Option<usize>,
}

impl Siege {
    /// An agent that has done its first work, and nothing since.
    pub(crate) async fn lay(name: &'static str) -> Self {
        let _raised = crowd();
        let stage = Stage::new().await;
        let calls = Calls::queue_to(&stage.home.socket())
            .await
            .expect("the agent listens");
        calls.token(ACCOUNT).await.expect("a token");
        let idle = size(&stage);
        Self {
            name,
            stage,
            calls,
            idle,
        }
    }

    /// Attacks, and asks for tokens meanwhile and while the attackers' connections stand.
    pub(crate) async fn during(&mut self, attack: impl FnOnce(&Path) -> Vec<UnixStream> + Send + 'static) {
        let path = self.stage.home.socket();
        let mut attacking = tokio::task::spawn_blocking(move || attack(&path));
        let mut meanwhile = Waits::default();
        let attackers = loop {
            tokio::select! {
                biased;
                attackers = &mut attacking => break attackers.expect("the attack takes its course"),
                () = self.ask(&mut meanwhile) => {}
            }
        };
        let mut standing = Waits::default();
        for _ in 0..HONEST {
            self.ask(&mut standing).await;
        }
        self.tell(&format!("meanwhile {meanwhile}; while it stands {standing}"));
        drop(attackers);
    }

    /// One request over a new connection, and one over the old one.
    async fn ask(&self, waits: &mut Waits) {
        for new in [true, false] {
            let stopwatch = Stopwatch::start();
            in_time(async {
                // A connection that is closed for another is opened anew, as clients do.
                while !self.is_served(new).await {
                    waits.again += 1;
                }
            })
            .await;
            waits.times.push(stopwatch.elapsed());
        }
    }

    async fn is_served(&self, new: bool) -> bool {
        let calls = match new {
            false => self.calls.clone(),
            true => match Calls::queue_to(&self.stage.home.socket()).await {
                Ok(calls) => calls,
                Err(_) => return false,
            },
        };
        calls.token(ACCOUNT).await.is_ok()
    }

    /// Holds the agent to what it was before. The attackers have gone.
    pub(crate) async fn lift(self) {
        let (_, peak) = self.stage.agent.memory();
        let after = eventually(async || {
            let connections = self.calls.status().await.ok()?.connections;
            let now = size(&self.stage);
            let is_idle =
                now.resident <= self.idle.resident + MARGIN && now.descriptors <= self.idle.descriptors;
            (connections == 1 && is_idle).then_some(now)
        });
        let after = tokio::time::timeout(Duration::from_secs(25), after).await;
        let after = after.unwrap_or_else(|_| {
            panic!(
                "idle {:?}, and now {:?}, peak {peak}",
                self.idle,
                size(&self.stage)
            )
        });
        self.tell(&format!(
            "idle {:?}, at most {peak} KiB, afterwards {after:?}",
            self.idle
        ));
        assert!(peak < MOST, "{peak} KiB");
        self.calls.token(ACCOUNT).await.expect("a token");
    }

    #[expect(clippy::print_stdout, reason = "the figures are the point")]
    fn tell(&self, what: &str) {
        println!("{}: {what}", self.name);
    }
}

pub(crate) fn size(stage: &Stage) -> Size {
    Size {
        resident: stage.agent.memory().0,
        descriptors: geteuid().is_root().then(|| stage.agent.descriptors()),
    }
}

/// How long the honest client waited.
#[derive(Default)]
struct Waits {
    times: Vec<Duration>,
    /// Requests whose connection was closed, and which were made again.
    again: u32,
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = self.times.clone();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        let longest = times.last().copied().unwrap_or_default();
        let (count, again) = (times.len(), self.again);
        write!(
            f,
            "{count} answers in {middle:.1?}, at most {longest:.1?}, {again} of them asked again"
        )
    }
}
