//! A core dump taken by root, who can do so against the will of the process. It holds what the memory holds, and
//! the registers of every thread, in which a copy of the last assertion may stand until the next one.

use std::{fs, path::PathBuf, process::Command};

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
