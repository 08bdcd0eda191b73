//! Account policy against real processes: programs and systemd units.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use sfkey_proto::Reason;
use sfkey_tests::support::{Agent, Home, Launch, Sfkey, StageSetup, stranger::skipped};

/// `sfkey` under another path: another file, and so another program.
fn other_sfkey(home: &Home) -> PathBuf {
    let copy = home.path("other-sfkey");
    fs::copy(sfkey_tests::support::binaries::built("sfkey"), &copy).expect("copied");
    copy
}

#[tokio::test]
async fn only_the_programs_that_the_policy_names_get_a_token() {
    let home = Home::new();
    let sfkey = sfkey_tests::support::binaries::built("sfkey");
    home.settings(&format!(
        "[accounts.prod.policy]\nexecutables = [{:?}]\n",
        sfkey.display().to_string()
    ));
    let stage = StageSetup::default().home(home).ready().await;
    assert!(
        stage
            .sfkey(["token", "prod"])
            .run()
            .done()
            .out()
            .starts_with("00D")
    );
    let other = other_sfkey(&stage.home);
    let (error, fix) = Sfkey::program(other.clone(), &stage.home, ["token", "prod"])
        .run()
        .failed(6);
    assert_eq!(
        stage.home.redact(&error),
        "the policy of account prod does not allow the program HOME/other-sfkey"
    );
    assert!(fix.contains("[accounts.prod.policy]"), "{fix}");
    // This very test is another program as well.
    assert_eq!(
        stage.calls().await.refused_token("prod").await.reason,
        Reason::PolicyDenied
    );
    let asked = stage.sim.counters().asked;
    assert_eq!(asked, 1, "nothing is asked of Salesforce for whoever is denied");
}

#[tokio::test]
async fn list_shows_the_accounts_that_the_caller_may_use() {
    let home = Home::new();
    home.settings("[accounts.prod.policy]\nexecutables = [\"/bin/true\"]\n");
    let stage = StageSetup::default().home(home).ready().await;
    let calls = stage.calls().await;
    calls.add(&stage.spec("dev")).await.expect("loaded");
    let names = calls
        .list()
        .await
        .expect("a list")
        .into_iter()
        .map(|account| account.account);
    assert_eq!(names.collect::<Vec<_>>(), ["dev"]);
}

/// A control group that is named as systemd names that of a unit, removed when dropped.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Makes it, where this process may.
    fn new(unit: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let root = roots
            .iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.procs").exists())?;
        let path = root.join("sfkeytest.slice").join(unit);
        fs::create_dir_all(&path).ok()?;
        Some(Self(path))
    }

    /// A shell line that moves the shell in.
    fn enter(&self) -> String {
        format!("echo $$ > '{}'", self.0.join("cgroup.procs").display())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It can be removed once its processes are gone; what is left is empty.
        fs::remove_dir(&self.0).ok();
        fs::remove_dir(self.0.parent().expect("a slice")).ok();
    }
}

#[tokio::test]
async fn only_callers_in_the_units_that_the_policy_names_get_a_token() {
    let test = "only_callers_in_the_units_that_the_policy_names_get_a_token";
    let unit = format!("sfkey-test-{}.service", std::process::id());
    let Some(group) = ControlGroup::new(&unit) else {
        return skipped(test, "control groups cannot be made here");
    };
    let home = Home::new();
    home.settings(&format!("[accounts.prod.policy]\nunits = [{unit:?}]\n"));
    let stage = StageSetup::default().home(home).ready().await;
    let sfkey = sfkey_tests::support::binaries::built("sfkey");
    let line = format!("{} && exec '{}' token prod", group.enter(), sfkey.display());
    let mut inside = Command::new("/bin/sh");
    inside
        .args(["-c", &line])
        .env_clear()
        .envs(stage.home.environment());
    let output = inside.output().expect("a shell");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stdout.starts_with(b"00D"));
    let (error, _) = stage.sfkey(["token", "prod"]).run().failed(6);
    assert!(
        error.starts_with("the policy of account prod does not allow callers in "),
        "{error}"
    );
}

#[test]
fn a_policy_by_process_fails_at_start_where_the_kernel_does_not_tell_the_process() {
    let home = Home::new();
    home.settings("[accounts.prod.policy]\nexecutables = [\"/usr/bin/node\"]\n");
    let launch = Launch::default();
    let ended = without_peer_descriptors(move || Agent::start_in_vain(&home, &launch));
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(
        ended
            .output
            .starts_with("error: [accounts.prod.policy] cannot hold: this system does not tell"),
        "{}",
        ended.output
    );
}

/// Runs `act`, and whatever it starts, as on a kernel before Linux 6.5: without SO_PEERPIDFD.
fn without_peer_descriptors<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let option = u64::try_from(libc::SO_PEERPIDFD).expect("a small number");
    let asked = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, option);
    let rule = asked
        .and_then(|asked| SeccompRule::new(vec![asked]))
        .expect("a rule");
    let missing = SeccompAction::Errno(u32::try_from(libc::ENOPROTOOPT).expect("a small number"));
    let architecture = std::env::consts::ARCH
        .try_into()
        .expect("seccomp knows this machine");
    let rules = BTreeMap::from([(libc::SYS_getsockopt, vec![rule])]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter of one rule");
    let thread = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("everybody may restrict himself");
        act()
    });
    thread.join().expect("the restricted thread ends well")
}

#[tokio::test]
async fn without_a_policy_by_process_an_old_kernel_does() {
    let stage =
        tokio::task::spawn_blocking(|| without_peer_descriptors(|| StageSetup::default().empty())).await;
    let stage = stage.expect("started");
    let calls = stage.calls().await;
    calls.add(&stage.spec("prod")).await.expect("loaded");
    calls.token("prod").await.expect("a token");
}
