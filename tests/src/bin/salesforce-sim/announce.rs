//! What the simulator prints once it listens: all that a client needs to know.

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use sfkey_tests::sim::Simulator;

use crate::cli::Cli;
use crate::files::Files;

/// Prints the ready line or the ready text, and flushes it.
pub(crate) fn ready(cli: &Cli, simulator: &Simulator, files: &Files) -> io::Result<()> {
    let text = if cli.json {
        format!("{}\n", machine(simulator, files))
    } else {
        human(simulator, files)
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn machine(simulator: &Simulator, files: &Files) -> Value {
    let app = simulator.app(0);
    json!({
        "ready": true,
        "url": simulator.url(),
        "login_url": simulator.login_url(),
        "test_url": simulator.test_url(),
        "audience": simulator.url(),
        "port": simulator.port(),
        "ca_file": files.ca,
        "control_url": simulator.control_url(),
        "consumer_key": app.consumer_key,
        "consumer_secret": app.consumer_secret.expose(),
        "username": simulator.user(0).username,
        "key_file": files.key,
        "certificate_file": files.certificate,
        "org_id": simulator.org(0).id,
    })
}

fn human(simulator: &Simulator, files: &Files) -> String {
    let app = simulator.app(0);
    let mut lines = vec!["salesforce-sim is ready.".to_owned(), String::new()];
    let mut line = |name: &str, value: &str| lines.push(format!("  {name:<17}{value}"));
    line("My Domain", &simulator.url());
    line("", "token host, audience and instance_url");
    line(
        "login host",
        &format!("{} plays login.salesforce.com", simulator.login_url()),
    );
    line("username", &simulator.user(0).username);
    line("consumer key", &app.consumer_key);
    line("consumer secret", app.consumer_secret.expose());
    file(
        &mut line,
        "private key",
        files.key.as_deref(),
        "yours: the app has the certificate you gave",
    );
    file(
        &mut line,
        "certificate",
        files.certificate.as_deref(),
        "the one you gave",
    );
    file(
        &mut line,
        "CA to trust",
        files.ca.as_deref(),
        "none, this is plain HTTP",
    );
    line("control", simulator.control_url().as_deref().unwrap_or("off"));
    lines.push(String::new());
    let own = if files.key.is_some() {
        "To use a key of your own, start it with --certificate YOUR.crt. "
    } else {
        ""
    };
    lines.push(format!("{own}Ctrl-C ends it."));
    lines.push(String::new());
    lines.join("\n")
}

fn file(line: &mut impl FnMut(&str, &str), name: &str, path: Option<&Path>, otherwise: &str) {
    match path {
        Some(path) => line(name, &path.display().to_string()),
        None => line(name, otherwise),
    }
}
