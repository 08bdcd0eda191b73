//! What the tests share: the command lines that everybody types.

use std::path::{Path, PathBuf};

use sfkey_tests::support::{Ran, Stage, TestKey, stage::ACCOUNT};

/// The words of a command line.
pub(crate) fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

/// `add NAME` with everything that the simulator's first app and user need, and the key `key`.
pub(crate) fn add_line(stage: &Stage, name: &str, key: &str) -> Vec<String> {
    add_line_for(stage, name, &stage.sim.user(0).username, key)
}

/// The same for another user.
pub(crate) fn add_line_for(stage: &Stage, name: &str, username: &str, key: &str) -> Vec<String> {
    let (url, consumer_key) = (stage.sim.url(), stage.sim.app(0).consumer_key);
    words(&[
        "add",
        name,
        "--login-url",
        &url,
        "--consumer-key",
        &consumer_key,
        "--username",
        username,
        "--key",
        key,
    ])
}

/// The app's key as an unencrypted PEM file in the home.
pub(crate) fn key_file(stage: &Stage) -> String {
    shown(&stage.home.write("server.key", TestKey::of_app().pkcs8_pem()))
}

/// A passphrase that a key of a test is encrypted under.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// The app's key in the home, encrypted under [`PASSPHRASE`].
pub(crate) fn encrypted_key(stage: &Stage) -> String {
    let password = format!("pass:{PASSPHRASE}");
    let arguments = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &password];
    shown(&TestKey::of_app().convert(&arguments, &stage.home.path("encrypted.key")))
}

/// A path as an argument.
pub(crate) fn shown(path: &Path) -> String {
    path.to_str().expect("a path of this place is UTF-8").to_owned()
}

/// A stage whose account was loaded by `sfkey add`.
pub(crate) fn loaded() -> Stage {
    let stage = Stage::empty();
    let key = key_file(&stage);
    let added = stage.sfkey(add_line(&stage, ACCOUNT, &key)).run().done();
    assert!(added.out().starts_with("Added prod: "), "{added:?}");
    stage
}

/// Runs `sfkey` with these words.
pub(crate) fn run(stage: &Stage, line: &[&str]) -> Ran {
    stage.sfkey(line.iter().copied()).run()
}

/// The last token that the simulator granted.
pub(crate) fn granted(stage: &Stage) -> String {
    let exchange = stage.sim.last_exchange().expect("an exchange");
    exchange.access_token.expect("a granted one")
}

/// A configuration with the simulator's account `prod`, whose key is at `key`, and further lines for it.
pub(crate) fn configure(stage: &Stage, key: &str, more: &str) -> PathBuf {
    let text = format!(
        "# kept\n[accounts.prod]\nlogin_url = \"{}\"\nconsumer_key = \"{}\"\nusername = \"{}\"\nkey = \"{key}\"\n{more}\n",
        stage.sim.url(),
        stage.sim.app(0).consumer_key,
        stage.sim.user(0).username
    );
    stage.home.write("config/sfkey/config.toml", text)
}
