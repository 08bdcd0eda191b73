//! Tokens as the shells and tools that people have read them.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{Stage, Terminal, stranger::skipped},
};

use crate::bench::{granted, loaded, run};

/// What a token can hold at worst: everything visible but quotes and backslashes.
const WORST: &str = "00D!AQ!!b#c$d`e&f;g|h!j*k?~l{m}n(o)p<q>r[s]t^u%v=w@x:y/z+,-.";

/// A stage whose next token is [`WORST`].
fn worst() -> Stage {
    let stage = loaded();
    let body = format!(
        r#"{{"access_token":"{WORST}","instance_url":"{}"}}"#,
        stage.sim.url()
    );
    let (status, headers) = (
        200,
        vec![("content-type".to_owned(), "application/json".to_owned())],
    );
    stage.sim.fault(FaultRule::always(Fault::Canned {
        status,
        headers,
        body,
    }));
    stage
}

/// The shell, when it is installed. CI installs every one of them.
fn shell(test: &str, name: &str) -> Option<Command> {
    let path = ["/bin", "/usr/bin"].map(|directory| Path::new(directory).join(name));
    let found = path.into_iter().find(|path| path.exists());
    if found.is_none() {
        skipped(test, &format!("{name} is not installed"));
    }
    let mut command = Command::new(found?);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("TERM", "dumb");
    Some(command)
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn posix_shells_read_back_the_worst_token() {
    let stage = worst();
    let lines = run(&stage, &["token", "-o", "env"]).done().out();
    let file = stage.home.write("variables", &lines);
    for name in ["dash", "bash", "zsh"] {
        let Some(mut shell) = shell("posix_shells_read_back_the_worst_token", name) else {
            continue;
        };
        let script = r#"eval "$(cat "$1")"; printf '%s %s' "$SF_ACCESS_TOKEN" "$SALESFORCE_INSTANCE_URL""#;
        let output = shell
            .args(["-c", script, "x"])
            .arg(&file)
            .output()
            .expect("it runs");
        assert_eq!(told(&output), format!("{WORST} {}", stage.sim.url()), "{name}");
    }
}

#[test]
fn an_interactive_bash_finds_no_history_in_a_token() {
    let stage = worst();
    let lines = run(&stage, &["token", "-o", "env"]).done().out();
    let Some(mut bash) = shell("an_interactive_bash_finds_no_history_in_a_token", "bash") else {
        return;
    };
    // Pasted line by line, with history expansion on, which scripts do not have.
    let mut child = bash
        .args(["--norc", "--noprofile", "-i"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let script = format!("set -o history -o histexpand\n{lines}printf '<%s>' \"$SF_ACCESS_TOKEN\"\nexit\n");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, script.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = told(&output);
    assert!(
        text.contains(&format!("<{WORST}>")),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn csh_reads_back_the_worst_token() {
    let stage = worst();
    let lines = run(&stage, &["token", "-o", "env", "--shell", "csh"])
        .done()
        .out();
    let file = stage.home.write("variables", &lines);
    let Some(mut tcsh) = shell("csh_reads_back_the_worst_token", "tcsh") else {
        return;
    };
    for how in ["eval \"`cat FILE`\"", "source FILE"] {
        let script = format!(
            "{}\nprintf '%s %s' $SF_ACCESS_TOKEN:q $SALESFORCE_INSTANCE_URL:q\n",
            how
        );
        let script = script.replace("FILE", &file.display().to_string());
        let script = stage.home.write("script.csh", script);
        let output = tcsh.arg("-f").arg(script).output().expect("it runs");
        assert_eq!(told(&output), format!("{WORST} {}", stage.sim.url()), "{how}");
        let Some(next) = shell("csh_reads_back_the_worst_token", "tcsh") else {
            return;
        };
        tcsh = next;
    }
}

#[test]
fn fish_reads_back_the_worst_token() {
    let stage = worst();
    let lines = run(&stage, &["token", "-o", "env", "--shell", "fish"])
        .done()
        .out();
    let file = stage.home.write("variables", &lines);
    for how in ["source FILE", "cat FILE | source", "eval (cat FILE)"] {
        let Some(mut fish) = shell("fish_reads_back_the_worst_token", "fish") else {
            return;
        };
        let script = format!("{how}; printf '%s %s' $SF_ACCESS_TOKEN $SALESFORCE_INSTANCE_URL");
        let script = script.replace("FILE", &file.display().to_string());
        let output = fish
            .args(["--no-config", "-c", &script])
            .output()
            .expect("it runs");
        assert_eq!(told(&output), format!("{WORST} {}", stage.sim.url()), "{how}");
    }
}

#[test]
fn curl_takes_its_configuration_and_shows_no_token_in_its_arguments() {
    let stage = loaded();
    let Some(mut curl) = shell("curl_takes_its_configuration", "curl") else {
        return;
    };
    let lines = run(&stage, &["token", "-o", "curl"]).done().out();
    let config = stage.home.write("curl.conf", &lines);
    let url = format!("{}/services/data/v62.0/limits", stage.sim.url());
    let ca = stage.home.path("ca.pem");
    let output = curl
        .args(["--silent", "--show-error", "--fail", "--config"])
        .arg(config)
        .arg("--cacert")
        .arg(ca)
        .arg(url)
        .output()
        .expect("it runs");
    assert!(told(&output).contains("DailyApiRequests"), "{}", told(&output));
}

#[test]
fn a_dotenv_file_is_read_by_a_shell_and_literally_by_what_knows_no_quotes() {
    let stage = loaded();
    let text = run(&stage, &["token", "-o", "dotenv"]).done().out();
    // As `docker run --env-file` and systemd's EnvironmentFile= read it: everything behind the first `=`.
    let literal = text.lines().filter_map(|line| line.split_once('='));
    let (name, value) = literal.into_iter().next().expect("a line");
    assert_eq!((name, value), ("SF_ACCESS_TOKEN", granted(&stage).as_str()));
    let file = stage.home.write(".env", &text);
    for name in ["dash", "bash"] {
        let Some(mut shell) = shell("a_dotenv_file_is_read_by_a_shell", name) else {
            continue;
        };
        let script = r#"set -a; . "$1"; printf %s "$SF_ACCESS_TOKEN""#;
        let output = shell
            .args(["-c", script, "x"])
            .arg(&file)
            .output()
            .expect("it runs");
        assert_eq!(told(&output), granted(&stage), "{name}");
    }
    let odd = worst();
    let (error, fix) = run(&odd, &["token", "-o", "dotenv"]).failed(2);
    assert!(
        error.contains("SF_ACCESS_TOKEN") && !error.contains("00D!") && fix.contains("-o json"),
        "{error}"
    );
}

#[test]
fn the_object_of_the_sf_cli_is_printed_as_it_prints_it() {
    let stage = loaded();
    let text = run(&stage, &["token", "-o", "sf"]).done().out();
    let token = granted(&stage);
    let expected = format!(
        "{{\n  \"status\": 0,\n  \"result\": {{\n    \"accessToken\": \"{token}\"\n  }},\n  \"warnings\": []\n}}\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_shell_is_named_for_variables_only() {
    let stage = loaded();
    let (error, fix) = run(&stage, &["token", "-o", "header", "--shell", "fish"]).failed(2);
    assert!(
        error.contains("--shell") && fix.contains("-o env"),
        "{error}\n{fix}"
    );
    for form in ["curl", "dotenv", "sf"] {
        let ran = run(&stage, &["token", "--json", "-o", form]);
        assert_eq!((ran.code, ran.stdout.as_slice()), (2, &b""[..]), "{form}");
        let terminal = Terminal::open();
        let ran = stage.sfkey(["token", "-o", form]).stdout(terminal.device()).run();
        assert_eq!(ran.code, 2, "{form} on a terminal");
    }
    assert!(
        fs::exists(stage.home.socket()).expect("known"),
        "the agent is none the worse"
    );
}
