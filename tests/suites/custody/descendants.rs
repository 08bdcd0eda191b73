//! What is done to the agent is not done to the programs that it or the client starts.

use std::process::{Command, Stdio};

use sfkey_tests::support::{Home, Stage, TestKey, binaries, stage::ACCOUNT};

/// What a program inherits, as the kernel tells it.
const INHERITED: &str = "grep -E '^(NoNewPrivs|Seccomp|SigBlk|SigIgn|SigCgt):' /proc/self/status; \
                         grep -E '^Max (core file size|open files|locked memory)' /proc/self/limits; umask";

/// A caller with settings of his own: a limit of core dumps, and signals that he ignores.
const CALLER: &str = "ulimit -c 4096; trap '' USR2 HUP; exec \"$@\"";

/// Runs `program ARGUMENTS` for that caller and returns what it printed.
fn run(home: &Home, line: &[&str]) -> String {
    let output = Command::new("/bin/sh")
        .args(["-c", CALLER, "caller"])
        .args(line)
        .env_clear()
        .envs(home.environment())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("the shell is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn asked() -> [&'static str; 3] {
    ["/bin/sh", "-c", INHERITED]
}

#[test]
fn a_command_of_the_agent_inherits_what_the_caller_has_and_nothing_else() {
    let home = Home::new();
    let agent = binaries::built("sfkey-agent").display().to_string();
    let direct = run(&home, &asked());
    assert!(direct.contains("NoNewPrivs:\t0\n"), "{direct}");
    let launched = run(&home, &[&[agent.as_str(), "--"][..], &asked()].concat());
    assert_eq!(launched, direct);
}

#[tokio::test]
async fn a_command_of_the_client_inherits_what_the_caller_has_and_nothing_else() {
    let stage = Stage::new().await;
    let client = binaries::built("sfkey").display().to_string();
    let direct = run(&stage.home, &asked());
    let executed = run(
        &stage.home,
        &[&[client.as_str(), "exec", ACCOUNT, "--"][..], &asked()].concat(),
    );
    assert_eq!(executed, direct);
}

/// Loading on demand holds a key, for which the client forbids core dumps to itself.
#[test]
fn a_command_of_a_client_that_held_a_key_inherits_what_the_caller_has_and_nothing_else() {
    let stage = Stage::empty();
    let key = stage.home.write("server.key", TestKey::of_app().pkcs8_pem());
    let (app, user) = (stage.sim.app(0), stage.sim.user(0));
    let settings = format!(
        "[accounts.{ACCOUNT}]\nlogin_url = \"{}\"\nconsumer_key = \"{}\"\nusername = \"{}\"\nkey = \"{}\"\n",
        stage.sim.url(),
        app.consumer_key,
        user.username,
        key.display()
    );
    stage.home.write("config/sfkey/config.toml", settings);
    let client = binaries::built("sfkey").display().to_string();
    let direct = run(&stage.home, &asked());
    let executed = run(
        &stage.home,
        &[&[client.as_str(), "exec", ACCOUNT, "--"][..], &asked()].concat(),
    );
    assert_eq!(executed, direct);
    assert_eq!(stage.sim.counters().asked, 1, "it was loaded on the way");
}
