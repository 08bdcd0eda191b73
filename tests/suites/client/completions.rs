//! Completion, as the shells ask for it.

use std::{path::Path, process::Command};

use sfkey_tests::support::{Home, Sfkey, Stage, Terminal, binaries, stranger::skipped};

use crate::bench::{add_line_for, key_file, loaded, shown};

/// The candidates for the last word, without their help.
fn candidates(home: &Home, words: &[&str]) -> Vec<String> {
    let line = ["complete-words", "--"].iter().chain(words).copied();
    let text = Sfkey::new(home, line).run().done().out();
    let value = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    text.lines().map(value).collect()
}

/// A stage with the accounts `prod` and `ci@acme.com` loaded, and `uat` configured.
fn stage() -> Stage {
    let stage = loaded();
    let other = stage.spec_of_new_user("ci@acme.com");
    let line = add_line_for(&stage, "ci@acme.com", &other.username, &key_file(&stage));
    let _added = stage.sfkey(line).run().done();
    stage.home.write(
        "config/sfkey/config.toml",
        "[accounts.uat]\nusername = \"u@acme.example\"\n",
    );
    stage
}

#[test]
fn accounts_come_from_the_agent_and_from_the_configuration() {
    let stage = stage();
    for command in ["token", "exec", "remove", "add"] {
        let found = candidates(&stage.home, &["sfkey", command, ""]);
        for name in ["prod", "ci@acme.com", "uat"] {
            assert!(found.contains(&name.to_owned()), "{command}: {found:?}");
        }
    }
    assert_eq!(candidates(&stage.home, &["sfkey", "token", "pr"]), ["prod"]);
    assert_eq!(
        candidates(&stage.home, &["sfkey", "token", "ci@a"]),
        ["ci@acme.com"]
    );
    assert_eq!(
        candidates(&stage.home, &["sfkey", "config", "show", "u"]),
        ["uat"]
    );
    assert_eq!(
        candidates(&stage.home, &["sfkey", "token", "prod", "-o", "cu"]),
        ["curl"]
    );
    assert!(candidates(&stage.home, &["sfkey", "sta"]).contains(&"status".to_owned()));
    assert!(!candidates(&stage.home, &["sfkey", "c"]).contains(&"complete-words".to_owned()));
}

#[test]
fn without_an_agent_there_are_no_accounts_and_no_words() {
    let home = Home::new();
    assert_eq!(candidates(&home, &["sfkey", "token", "p"]), [""; 0]);
    home.write("config/sfkey/config.toml", "this is no TOML");
    assert_eq!(candidates(&home, &["sfkey", "token", "p"]), [""; 0]);
}

/// A shell that completes what is typed, with `sfkey` on its PATH.
fn shell(home: &Home, terminal: &Terminal, test: &str, program: &str, arguments: &[&str]) -> Option<Command> {
    let path = Path::new("/usr/bin").join(program);
    if !path.exists() {
        skipped(test, &format!("{program} is not installed"));
        return None;
    }
    let binaries = binaries::built("sfkey")
        .parent()
        .expect("a directory")
        .display()
        .to_string();
    let mut command = Command::new("/usr/bin/setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(path)
        .args(arguments)
        .env_clear()
        .envs(home.environment())
        .env("PATH", format!("{binaries}:/usr/bin:/bin"))
        .env("TERM", "vt100")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(home.path("."))
        .stdin(terminal.device())
        .stdout(terminal.device())
        .stderr(terminal.device());
    Some(command)
}

/// Types into the shell until every line has completed as it must.
fn complete(mut terminal: Terminal, mut command: Command, setup: &str, lines: &[(&str, &str)]) {
    let mut child = command.spawn().expect("it runs");
    // It holds the shell's side of the terminal open.
    drop(command);
    terminal.wait_for("READY>");
    terminal.type_in(&format!("{setup}\r"));
    for (typed, expected) in lines {
        terminal.type_in(&format!("{typed}\t"));
        terminal.wait_for(expected);
        // Ctrl-U: the line is not to be run.
        terminal.type_in("\u{15}");
    }
    terminal.type_in("exit\r");
    drop(terminal.shown_to_the_end());
    child.wait().expect("it ends");
}

#[test]
fn bash_completes_commands_and_accounts() {
    let stage = stage();
    let terminal = Terminal::open();
    let rc = stage
        .home
        .write("bashrc", "PS1='READY>'\nbind 'set enable-bracketed-paste off'\n");
    let arguments = ["--noprofile", "--rcfile", &shown(&rc), "-i"];
    let test = "bash_completes_commands_and_accounts";
    let Some(command) = shell(&stage.home, &terminal, test, "bash", &arguments) else {
        return;
    };
    let lines = [
        ("sfkey stat", "status"),
        ("sfkey token pr", "prod"),
        ("sfkey token ci@", "acme.com"),
    ];
    complete(terminal, command, "source <(sfkey completions bash)", &lines);
}

#[test]
fn zsh_completes_commands_and_accounts() {
    let stage = stage();
    let terminal = Terminal::open();
    stage.home.write(
        ".zshrc",
        "PS1='READY>'\nunsetopt zle_bracketed_paste\nautoload -U compinit\ncompinit -u\n",
    );
    let test = "zsh_completes_commands_and_accounts";
    let Some(command) = shell(&stage.home, &terminal, test, "zsh", &["-i"]) else {
        return;
    };
    let lines = [
        ("sfkey stat", "status"),
        ("sfkey token pr", "prod"),
        ("sfkey token ci@", "ci@acme.com"),
    ];
    complete(terminal, command, "source <(sfkey completions zsh)", &lines);
}

#[test]
fn fish_completes_commands_and_accounts() {
    let stage = stage();
    let test = "fish_completes_commands_and_accounts";
    if !Path::new("/usr/bin/fish").exists() {
        return skipped(test, "fish is not installed");
    }
    // fish tells what it would offer without a terminal.
    let binaries = binaries::built("sfkey")
        .parent()
        .expect("a directory")
        .display()
        .to_string();
    for (line, name) in [
        ("sfkey stat", "status"),
        ("sfkey token pr", "prod"),
        ("sfkey token ci@", "ci@acme.com"),
    ] {
        let script = format!("sfkey completions fish | source; complete --do-complete '{line}'");
        let output = Command::new("/usr/bin/fish")
            .args(["--no-config", "-c", &script])
            .env_clear()
            .envs(stage.home.environment())
            .env("PATH", format!("{binaries}:/usr/bin:/bin"))
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            text.lines().any(|told| told.split('\t').next() == Some(name)),
            "{line}: {text}"
        );
    }
}
