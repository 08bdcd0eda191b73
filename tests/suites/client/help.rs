//! What every command says of itself: help, manual pages, completion scripts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sfkey_tests::support::{Home, Sfkey, binaries, golden, stranger::skipped};

/// The help of a command and of all below it, by file name.
fn help(home: &Home, command: &[&str], into: &mut Vec<(String, String)>) {
    let words = command.iter().copied().chain(["--help"]);
    let text = Sfkey::new(home, words).run().done().out();
    let below = commands(&text);
    let name = ["sfkey"]
        .iter()
        .chain(command)
        .copied()
        .collect::<Vec<_>>()
        .join("-");
    into.push((format!("{name}.txt"), text));
    for name in below {
        let command: Vec<&str> = command.iter().copied().chain([name.as_str()]).collect();
        help(home, &command, into);
    }
}

/// The names below `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let section = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let section = section.split("\n\n").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' '));
    let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    names.map(first).filter(|name| name != "help").collect()
}

#[test]
fn the_help_of_every_command_is_as_it_was_reviewed() {
    let home = Home::new();
    let mut texts = Vec::new();
    help(&home, &[], &mut texts);
    let agent = Command::new(binaries::built("sfkey-agent"))
        .env_clear()
        .arg("--help")
        .output();
    let agent = String::from_utf8(agent.expect("it runs").stdout).expect("UTF-8");
    texts.push(("sfkey-agent.txt".to_owned(), agent));
    assert!(texts.len() >= 12, "{texts:?}");
    golden::hold(
        "help",
        texts.iter().map(|(name, text)| (name.clone(), text.as_str())),
    );
}

#[test]
fn every_command_has_a_manual_page_that_man_can_read() {
    let home = Home::new();
    let directory = home.path("man");
    let line = ["manual", directory.to_str().expect("UTF-8")];
    let _written = Sfkey::new(&home, line).run().done();
    let mut texts = Vec::new();
    help(&home, &[], &mut texts);
    for (name, _) in texts {
        let page = directory.join(name.replace(".txt", ".1"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(
            text.contains(".SH NAME") && text.contains("Examples:"),
            "{name}:\n{text}"
        );
        read_with_man(&page);
    }
    assert!(
        !directory.join("sfkey-complete-words.1").exists(),
        "hidden commands stay hidden"
    );
}

/// Has groff read a page with every warning on.
fn read_with_man(page: &Path) {
    let groff = Path::new("/usr/bin/groff");
    if !groff.exists() {
        return skipped(
            "every_command_has_a_manual_page_that_man_can_read",
            "groff is not installed",
        );
    }
    let output = Command::new(groff)
        .args(["-Kutf8", "-man", "-Tutf8", "-ww", "-z"])
        .arg(page)
        .output();
    let words = String::from_utf8(output.expect("it runs").stderr).expect("UTF-8");
    assert_eq!(words, "", "{}", page.display());
}

#[test]
fn the_scripts_are_what_the_program_prints() {
    let home = Home::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in [("bash", "sfkey.bash"), ("zsh", "_sfkey"), ("fish", "sfkey.fish")] {
        let printed = Sfkey::new(&home, ["completions", shell]).run().done().out();
        assert_eq!(
            printed,
            fs::read_to_string(folder.join(file)).expect("it is there")
        );
    }
}
