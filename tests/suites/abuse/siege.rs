//! An agent under attack, and an honest client beside the attackers.

use std::{env, process::Stdio, time::Duration};

use futures_util::future;
use rustix::process::geteuid;
use sfkey_tests::support::{
    Calls, Stage, Stopwatch, binaries,
    stage::ACCOUNT,
    stopwatch::{eventually, in_time},
};

use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout, Command},
};

/// What the agent's memory stays under, in KiB.
const MOST: u64 = 64 * 1024;

/// How far from its idle size it may be afterwards, in KiB: what the allocator keeps.
pub(crate) const MARGIN: u64 = 4 * 1024;

/// Requests of the honest client while the attack stands.
const HONEST: usize = 20;

/// An agent that is attacked.
pub(crate) struct Siege {
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
    /// An agent that is attacked in each of these ways, one after the other.
    pub(crate) async fn of(attacks: &[&str]) {
        let siege = Self::lay().await;
        for attack in attacks {
            siege.during(attack, 1).await;
        }
        siege.lift().await;
    }

    /// An agent that so many processes attack.
    pub(crate) async fn of_processes(attack: &str, processes: usize) {
        let siege = Self::lay().await;
        siege.during(attack, processes).await;
        siege.lift().await;
    }

    /// An agent that has done its first work, and nothing since.
    async fn lay() -> Self {
        let stage = Stage::new().await;
        let calls = Calls::queue_to(&stage.home.socket())
            .await
            .expect("the agent listens");
        calls.token(ACCOUNT).await.expect("a token");
        let idle = size(&stage);
        Self { stage, calls, idle }
    }

    /// Attacks, and asks for tokens meanwhile and while the attackers' connections stand.
    async fn during(&self, attack: &str, processes: usize) {
        let besiegers: Vec<_> = (0..processes).map(|_| self.besieger(attack)).collect();
        let attacking = tokio::spawn(future::join_all(besiegers.into_iter().map(Besieger::stands)));
        let mut meanwhile = Waits::default();
        in_time(async {
            while !attacking.is_finished() {
                self.ask(&mut meanwhile).await;
            }
        })
        .await;
        let besiegers = attacking.await.expect("the attack takes its course");
        let mut standing = Waits::default();
        for _ in 0..HONEST {
            self.ask(&mut standing).await;
        }
        drop(besiegers);
        tell(&format!(
            "{attack}: meanwhile {meanwhile}; while it stands {standing}"
        ));
        let again = meanwhile.again + standing.again;
        assert_eq!(
            again, 0,
            "connections of this process were closed for the besiegers"
        );
        if let Some(most) = longest_wait() {
            let longest = meanwhile.longest().max(standing.longest());
            assert!(longest <= most, "{attack}: an answer took {longest:.1?}");
        }
    }

    fn besieger(&self, attack: &str) -> Besieger {
        let mut command = Command::new(binaries::built("besiege"));
        command.arg(attack).arg(self.stage.home.socket());
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let stdout = process.stdout.take().expect("a pipe");
        Besieger {
            _process: process,
            stdout,
        }
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
    async fn lift(self) {
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
        let idle = self.idle;
        tell(&format!(
            "idle {idle:?}, at most {peak} KiB, afterwards {after:?}"
        ));
        assert!(peak < MOST, "{peak} KiB");
        self.calls.token(ACCOUNT).await.expect("a token");
    }
}

/// A process that attacks. It ends with this.
struct Besieger {
    _process: Child,
    stdout: ChildStdout,
}

impl Besieger {
    /// Waits until its attack has taken its course.
    async fn stands(mut self) -> Self {
        let mut said = [0; 7];
        let heard = self.stdout.read_exact(&mut said).await;
        heard.expect("it attacks as it was told");
        assert_eq!(&said, b"stands\n");
        self
    }
}

/// What `make siege` holds an agent to that is built for release.
fn longest_wait() -> Option<Duration> {
    let milliseconds = env::var("SFKEY_LONGEST_WAIT_MS").ok()?;
    let milliseconds = milliseconds.parse().expect("a number of milliseconds");
    Some(Duration::from_millis(milliseconds))
}

#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn tell(what: &str) {
    println!("{what}");
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

impl Waits {
    fn longest(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = self.times.clone();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        let (count, longest) = (times.len(), self.longest());
        write!(f, "{count} answers in {middle:.1?}, at most {longest:.1?}")
    }
}
