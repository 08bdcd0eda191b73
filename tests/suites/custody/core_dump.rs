//! Core dumps: one taken by root, who can do so against the will of the process, and one that the kernel writes of
//! an agent that could not forbid it. They hold what the memory holds, and the registers of every thread, in which a
//! copy of the last assertion may stand until the next one.

use std::{fs, path::PathBuf, process::Command};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use sfkey_tests::support::stranger::skipped;

use crate::{
    hunt::Quarry,
    scene::{Scene, may_search, none, tell},
};

const GCORE: &str = "/usr/bin/gcore";

/// Takes a core dump of the agent with these options and returns its bytes.
fn core(scene: &Scene, options: &[&str]) -> Vec<u8> {
    let prefix = scene.stage.home.path("core");
    let pid = scene.stage.agent.pid().to_string();
    let ran = Command::new(GCORE)
        .args(options)
        .arg("-o")
        .arg(&prefix)
        .arg(&pid)
        .output()
        .expect("gdb is installed");
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{words}");
    fs::read(format!("{}.{pid}", prefix.display())).expect("the core was written")
}

fn assert_clean(scene: &Scene, when: &str, quarry: &Quarry, core: &[u8]) {
    let username = scene.quarry("username", scene.stage.sim.user(0).username);
    assert!(
        !username.hits_in_bytes("core", core).is_empty(),
        "the search finds nothing"
    );
    let hits = quarry.hits_in_bytes("core", core);
    tell(when, core.len(), quarry, &hits);
    none(&hits);
}

fn is_possible(test: &str) -> bool {
    let possible = PathBuf::from(GCORE).exists();
    if !possible {
        skipped(test, "gdb is not installed");
    }
    possible
}

async fn loaded(scene: &Scene) {
    let calls = scene.calls().await;
    calls.add(&scene.spec("one")).await.expect("added");
    calls.token("one").await.expect("a token");
    drop(calls);
    scene.quiet().await;
}

#[tokio::test]
async fn a_core_dump_holds_no_secret_and_not_the_locked_page_either() {
    if !may_search() {
        return;
    }
    if !is_possible("a_core_dump_holds_no_secret_and_not_the_locked_page_either") {
        return;
    }
    let scene = Scene::readable();
    loaded(&scene).await;
    assert_clean(&scene, "core dump", &scene.lasting_secrets(), &core(&scene, &[]));
}

#[tokio::test]
async fn a_core_dump_of_every_mapping_holds_no_secret_where_there_is_memfd_secret() {
    if !may_search() {
        return;
    }
    if !is_possible("a_core_dump_of_every_mapping_holds_no_secret_where_there_is_memfd_secret") {
        return;
    }
    let scene = Scene::protected();
    loaded(&scene).await;
    assert_clean(
        &scene,
        "core dump of every mapping",
        &scene.lasting_secrets(),
        &core(&scene, &["-a"]),
    );
}

/// Where this machine's kernel writes core dumps. Only those that go into the working directory can be read here.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// Every kind of mapping (core(5)): anonymous, of files, shared, huge, DAX.
const EVERYTHING: &str = "0x1ff";

/// Has the kernel write a core dump of everything that it is willing to write, and returns its bytes.
async fn kernels_core(scene: Scene) -> Vec<u8> {
    let pid = scene.stage.agent.pid();
    fs::write(format!("/proc/{pid}/coredump_filter"), EVERYTHING).expect("root may ask for more");
    let highest = getrlimit(Resource::Core).maximum;
    let all = Rlimit {
        current: highest,
        maximum: highest,
    };
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    prlimit(id, Resource::Core, all).expect("a limit may be raised to the hard one");
    let home = scene.stage.home;
    scene.stage.agent.signal(Signal::ABORT);
    let ended = scene.stage.agent.has_ended().await;
    assert_eq!(ended.signal, Some(Signal::ABORT.as_raw()), "{}", ended.output);
    let files = fs::read_dir(home.path(".")).expect("it is there").flatten();
    let mut files = files.map(|entry| entry.path()).filter(|path| path.is_file());
    let contents = files.find_map(|path| fs::read(path).ok().filter(|bytes| bytes.starts_with(b"\x7fELF")));
    contents.expect("the kernel wrote a core dump")
}

async fn a_dump_of_the_kernel_is_clean(test: &str, memfd_secret: bool) {
    if !may_search() {
        return;
    }
    let pattern = fs::read_to_string(PATTERN).expect("every Linux has it");
    if pattern.starts_with(['|', '/']) {
        return skipped(
            test,
            &format!("core dumps of this machine go to {}", pattern.trim_end()),
        );
    }
    let scene = Scene::dumpable(memfd_secret);
    assert_eq!(scene.has_readable_master(), !memfd_secret);
    let status = scene.calls().await.status().await.expect("a status");
    assert!(status.dumpable, "this agent can be dumped");
    loaded(&scene).await;
    let (quarry, control) = (
        scene.lasting_secrets(),
        scene.quarry("username", scene.stage.sim.user(0).username),
    );
    let core = kernels_core(scene).await;
    let found = control.hits_in_bytes("core", &core);
    assert!(!found.is_empty(), "the search finds nothing");
    let hits = quarry.hits_in_bytes("core", &core);
    tell("core dump of the kernel", core.len(), &quarry, &hits);
    none(&hits);
}

#[tokio::test]
async fn a_core_dump_written_by_the_kernel_holds_no_secret_and_not_the_locked_page_either() {
    const TEST: &str = "a_core_dump_written_by_the_kernel_holds_no_secret_and_not_the_locked_page_either";
    a_dump_of_the_kernel_is_clean(TEST, false).await;
}

#[tokio::test]
async fn a_core_dump_written_by_the_kernel_holds_no_secret_where_there_is_memfd_secret() {
    const TEST: &str = "a_core_dump_written_by_the_kernel_holds_no_secret_where_there_is_memfd_secret";
    a_dump_of_the_kernel_is_clean(TEST, true).await;
}
