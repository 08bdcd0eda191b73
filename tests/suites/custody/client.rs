//! The client that holds a key for a moment, and what it sends.

use std::{fs, path::Path};

use sfkey_tests::support::{Ran, Sfkey, Stage, TestKey, stopwatch::eventually};

use crate::{
    hunt::{Memory, Quarry, rsa_parts},
    relay::{Passing, Relay},
    scene::{CONSUMER_SECRET, Scene, may_search, none, sleeps, tell},
};

const PASSPHRASE: &str = "correct horse battery staple, and some more of it";

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The app's key in a file, encrypted.
fn encrypted(stage: &Stage) -> String {
    let passphrase = format!("pass:{PASSPHRASE}");
    let arguments = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &passphrase];
    shown(&TestKey::of_app().convert(&arguments, &stage.home.path("encrypted.key")))
}

fn plain(stage: &Stage) -> String {
    shown(&stage.home.write("plain.key", TestKey::of_app().pkcs8_pem()))
}

/// `sfkey add` with everything in files, by way of the relay.
fn add(stage: &Stage, relay: &Relay, key: &str) -> Sfkey {
    let passphrase = shown(&stage.home.write("passphrase", format!("{PASSPHRASE}\n")));
    let secret = shown(
        &stage
            .home
            .write("consumer-secret", format!("{CONSUMER_SECRET}\n")),
    );
    let (url, consumer_key) = (stage.sim.url(), stage.sim.app(0).consumer_key);
    let username = stage.sim.user(0).username;
    let line = [
        "add",
        "prod",
        "--login-url",
        &url,
        "--consumer-key",
        &consumer_key,
        "--username",
        &username,
        "--key",
        key,
        "--passphrase-file",
        &passphrase,
        "--consumer-secret-file",
        &secret,
    ];
    stage.sfkey(line).variable("SFKEY_SOCK", relay.path())
}

fn secrets() -> Quarry {
    Quarry::default()
        .and_all(rsa_parts(TestKey::of_app()))
        .and("passphrase", PASSPHRASE)
        .and("consumer secret", CONSUMER_SECRET)
}

#[test]
fn nothing_secret_passes_between_client_and_agent_while_a_key_is_added() {
    for key in [encrypted, plain] {
        let stage = Stage::empty();
        let relay = Relay::to(&stage.home, Passing::On);
        let _added = add(&stage, &relay, &key(&stage)).run().done();
        let (sent, answered) = relay.bytes();
        assert!(
            sent.len() > TestKey::of_app().pkcs1_der().len(),
            "the key passed, sealed"
        );
        let quarry = secrets();
        for (when, bytes) in [("client to agent", sent), ("agent to client", answered)] {
            let hits = quarry.hits_in_bytes(when, &bytes);
            tell(when, bytes.len(), &quarry, &hits);
            none(&hits);
        }
    }
}

#[tokio::test]
async fn a_client_that_has_handed_its_key_over_holds_nothing_of_it() {
    if !may_search() {
        return;
    }
    for key in [encrypted, plain] {
        let stage = Stage::empty();
        let relay = Relay::to(&stage.home, Passing::UpToTheKey);
        let mut client = add(&stage, &relay, &key(&stage)).start();
        let relay = tokio::task::spawn_blocking(move || {
            relay.wait_until_held();
            relay
        });
        let _relay = relay.await.expect("the client sends its request");
        eventually(async || sleeps(client.id()).then_some(())).await;
        let memory = Memory::of(client.id());
        let username = Quarry::default().and("username", stage.sim.user(0).username);
        assert!(!username.hits(&memory).is_empty(), "the search finds nothing");
        let quarry = secrets();
        let hits = quarry.hits(&memory);
        tell("client, waiting for its answer", memory.length(), &quarry, &hits);
        client.kill().expect("it is a child of this process");
        let ran = Ran::of(client);
        assert_eq!(ran.code, 128 + 9, "it was still waiting: {ran:?}");
        none(&hits);
    }
}

#[tokio::test]
async fn an_agent_that_a_client_loaded_holds_neither_the_key_file_nor_its_passphrase() {
    if !may_search() {
        return;
    }
    for key in [encrypted, plain] {
        let scene = Scene::readable();
        let file = key(&scene.stage);
        let relay = Relay::to(&scene.stage.home, Passing::On);
        let _added = add(&scene.stage, &relay, &file).run().done();
        drop(relay);
        scene.calls().await.token("prod").await.expect("a token");
        scene.quiet().await;
        scene.assert_found("username", &scene.stage.sim.user(0).username);
        let pem = fs::read_to_string(file).expect("it is there");
        let body = pem.lines().filter(|line| !line.starts_with("-----"));
        let body = body.map(|line| ("PEM body", line.as_bytes().to_vec()));
        let quarry = secrets().and_all(body);
        none(&scene.hunt("loaded by a client", &quarry));
    }
}
