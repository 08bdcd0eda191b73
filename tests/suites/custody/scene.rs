//! A stage whose agent is about to be searched.

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use sfkey_proto::v1::AccountSpec;
use sfkey_tests::support::{
    Calls, Launch, Stage, StageSetup, TestKey, stopwatch::eventually, stranger::skipped,
};

use crate::hunt::{
    Hit, Mapping, Memory, Quarry, basic_credentials, chacha_schedule, master_secret_page, rsa_parts,
    secret_mappings,
};

/// As Salesforce writes consumer secrets.
pub(crate) const CONSUMER_SECRET: &str = "6E1D52A9C3F0B84777D019AE52C6F3B80D9E4A61F7358B2CE0914D7FA6B35C82";

/// Length of the master secret in bytes.
const MASTER_BYTES: usize = 32;

/// Simulator, agent, and what is known of the agent's innards.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    /// The master secret, if root can read it.
    master: Option<Vec<u8>>,
    /// Descriptors that the agent has open while nobody is connected.
    descriptors: usize,
}

impl Scene {
    /// With memory protected as this kernel can. The master secret is out of reach.
    pub(crate) fn protected() -> Self {
        Self::of(StageSetup::default().empty())
    }

    /// On a kernel without memfd_secret(2): the master secret lives in a locked page that root can read, so that
    /// the search knows what to look for in all other pages. Nothing else is different.
    pub(crate) fn readable() -> Self {
        Self::of(without_memfd_secret(|| StageSetup::default().empty()))
    }

    /// An agent that took the steps against core dumps and was not heard: the kernel tells it that it may not be
    /// dumped any more, and forgets it. Nothing else is different. It lives where the kernel writes core dumps.
    pub(crate) fn dumpable(memfd_secret: bool) -> Self {
        let setup = || StageSetup::default().launch(Launch::at_home).empty();
        Self::of(dumpable(move || {
            if memfd_secret {
                setup()
            } else {
                without_memfd_secret(setup)
            }
        }))
    }

    fn of(stage: Stage) -> Self {
        let pid = stage.agent.pid();
        let master = master_secret_page(pid).map(|page| {
            let memory = Memory::of(pid);
            let secret = memory.at(page.start, MASTER_BYTES).expect("root reads it");
            assert!(secret.iter().any(|byte| *byte != 0), "a page without a secret");
            secret.to_vec()
        });
        let descriptors = stage.agent.descriptors();
        Self {
            stage,
            master,
            descriptors,
        }
    }

    /// An account with a consumer secret.
    pub(crate) fn spec(&self, name: &str) -> AccountSpec {
        let mut spec = self.stage.spec(name);
        spec.consumer_secret = Some(CONSUMER_SECRET.to_owned());
        spec
    }

    pub(crate) async fn calls(&self) -> Calls {
        self.stage.calls().await
    }

    /// Waits until no client is connected and every thread of the agent sleeps.
    pub(crate) async fn quiet(&self) {
        let agent = &self.stage.agent;
        eventually(async || (agent.descriptors() == self.descriptors).then_some(())).await;
        self.asleep().await;
    }

    /// Waits until every thread of the agent sleeps.
    pub(crate) async fn asleep(&self) {
        eventually(async || sleeps(self.stage.agent.pid()).then_some(())).await;
    }

    /// What must not be found: the key, the consumer secret, the master secret, and everything that was exchanged
    /// so far.
    pub(crate) fn secrets(&self) -> Quarry {
        let exchanges = self.stage.sim.exchanges();
        let assertions = exchanges
            .iter()
            .filter_map(|exchange| exchange.assertion.as_deref());
        let signatures = assertions.map(|assertion| assertion.rsplit('.').next().unwrap_or_default());
        let signatures = signatures.map(|signature| ("assertion", signature.as_bytes().to_vec()));
        self.lasting_secrets().and_all(signatures)
    }

    /// The same without assertions, which are worth something for three minutes.
    pub(crate) fn lasting_secrets(&self) -> Quarry {
        let exchanges = self.stage.sim.exchanges();
        let tokens = exchanges
            .iter()
            .filter_map(|exchange| exchange.access_token.as_deref());
        let tokens = tokens.map(|token| ("access token", secret_part(token).as_bytes().to_vec()));
        let master = self.master.iter().map(|secret| ("master secret", secret.clone()));
        let schedule = self.master.iter().flat_map(|secret| chacha_schedule(secret));
        let basic = basic_credentials(&self.stage.sim.app(0).consumer_key, CONSUMER_SECRET);
        Quarry::default()
            .and_all(rsa_parts(TestKey::of_app()))
            .and("consumer secret", CONSUMER_SECRET)
            .and("consumer secret, as Basic has it", basic)
            .and_all(master)
            .and_all(schedule)
            .and_all(tokens)
    }

    /// A search for one thing.
    pub(crate) fn quarry(&self, what: &'static str, secret: impl AsRef<[u8]>) -> Quarry {
        Quarry::default().and(what, secret)
    }

    /// All of the agent's memory.
    pub(crate) fn memory(&self) -> Memory {
        Memory::of(self.stage.agent.pid())
    }

    /// Searches the agent's memory. The page that the master secret lives in is its home, and no hit.
    pub(crate) fn hunt(&self, when: &str, quarry: &Quarry) -> Vec<Hit> {
        let memory = self.memory();
        let home = self.master_page().map(|page| page.start);
        let mut hits = quarry.hits(&memory);
        hits.retain(|hit| hit.what != "master secret" || Some(hit.address) != home);
        tell(when, memory.length(), quarry, &hits);
        hits
    }

    /// Searches for something that the agent does hold.
    ///
    /// # Panics
    /// When it is not found, for then the search itself does not work.
    pub(crate) fn assert_found(&self, what: &'static str, text: &str) {
        let hits = self.quarry(what, text).hits(&self.memory());
        assert!(!hits.is_empty(), "{what} is not found: the search finds nothing");
    }

    /// The page of a master secret that root can read.
    pub(crate) fn master_page(&self) -> Option<Mapping> {
        master_secret_page(self.stage.agent.pid())
    }

    /// The master secret as it was when the agent started.
    pub(crate) fn master_secret(&self) -> Vec<u8> {
        self.master
            .clone()
            .expect("this agent's master secret can be read")
    }

    /// Whether the search knows the master secret.
    pub(crate) fn has_readable_master(&self) -> bool {
        self.master.is_some()
    }

    /// The protected pages of the agent.
    pub(crate) fn secret_mappings(&self) -> Vec<Mapping> {
        secret_mappings(self.stage.agent.pid())
    }

    /// Requires that not even root reads this mapping.
    pub(crate) fn assert_closed_to_root(&self, mapping: &Mapping) {
        let file = fs::File::open(format!("/proc/{}/mem", self.stage.agent.pid())).expect("root may open it");
        let mut byte = [0];
        file.read_exact_at(&mut byte, mapping.start)
            .expect_err("root cannot read it");
    }
}

/// Whether this process reads the memory of others. If not, says that the test was skipped.
pub(crate) fn may_search() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // The test harness names its threads after the tests.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        skipped(test, "only root reads the memory of a process that forbids it");
    }
    root
}

/// Requires that a search found nothing.
pub(crate) fn none(hits: &[Hit]) {
    assert!(hits.is_empty(), "{} hits: {hits:#?}", hits.len());
}

/// What is secret of an access token: the part behind the organization's id.
pub(crate) fn secret_part(token: &str) -> &str {
    token.split_once('!').map_or(token, |(_, secret)| secret)
}

/// Says what was searched, for those who run the tests with `--nocapture`.
#[expect(clippy::print_stderr, reason = "figures of a test")]
pub(crate) fn tell(when: &str, bytes: usize, quarry: &Quarry, hits: &[Hit]) {
    let needles = quarry.needles();
    eprintln!(
        "{when}: {bytes} bytes searched for {needles} needles, {} hits",
        hits.len()
    );
}

/// Whether every thread of a process waits for something.
pub(crate) fn sleeps(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it is running");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name stands in brackets and may hold anything; the state follows it.
        stat.rsplit_once(") ")
            .is_none_or(|(_, fields)| fields.starts_with('S'))
    })
}

/// Runs `act` on a thread for which, and for whose children, memfd_secret(2) does not exist.
pub(crate) fn without_memfd_secret<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let rules = BTreeMap::from([(libc::SYS_memfd_secret, Vec::new())]);
    answered(rules, libc::ENOSYS, act)
}

/// Runs `act` on a thread for which, and for whose children, forbidding core dumps seems to work and does nothing.
fn dumpable<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let number = |constant| u64::try_from(constant).expect("a small number");
    let is = |argument, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
            .expect("a condition")
    };
    let is_given = |argument| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0).expect("a condition")
    };
    let rule = |conditions| vec![SeccompRule::new(conditions).expect("a rule")];
    let rules = BTreeMap::from([
        (libc::SYS_prctl, rule(vec![is(0, number(libc::PR_SET_DUMPABLE))])),
        (
            libc::SYS_prlimit64,
            rule(vec![is(1, u64::from(libc::RLIMIT_CORE)), is_given(2)]),
        ),
    ]);
    answered(rules, 0, act)
}

/// Runs `act` on a thread for which, and for whose children, these system calls are answered with `errno` and not
/// made.
fn answered<R: Send + 'static>(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    act: impl FnOnce() -> R + Send + 'static,
) -> R {
    let answer = SeccompAction::Errno(u32::try_from(errno).expect("a small number"));
    let architecture = std::env::consts::ARCH
        .try_into()
        .expect("seccomp knows this machine");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter of one rule");
    let thread = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("everybody may restrict himself");
        act()
    });
    thread.join().expect("the restricted thread ends well")
}
