//! The line that `--daemon` prints, evaluated by the shells themselves.

use std::{path::PathBuf, process::Child};

use sfkey_tests::support::{Detached, Home, Ran, Sfkey, binaries, stranger::skipped};

/// A shell, the option for its line, and how its users evaluate it.
struct Shell {
    program: &'static str,
    evaluate: &'static str,
    /// Options under which it reads a start-up file of ours and then runs a command.
    startup: &'static [&'static str],
}

const BASH: Shell = Shell {
    program: "bash",
    evaluate: r#"eval "$("$AGENT" --daemon $OPTIONS)""#,
    startup: &["--rcfile", "FILE", "-i", "-c"],
};

const DASH: Shell = Shell {
    program: "dash",
    evaluate: r#"eval "$("$AGENT" --daemon $OPTIONS)""#,
    startup: &["-i", "-c"],
};

const TCSH: Shell = Shell {
    program: "tcsh",
    evaluate: "eval `$AGENT:q --daemon --shell csh $OPTIONS`",
    startup: &["-c"],
};

const FISH: Shell = Shell {
    program: "fish",
    evaluate: "$AGENT --daemon --shell fish $OPTIONS | source",
    startup: &["-c"],
};

impl Shell {
    /// Whether it is installed; if not, says that `test` did not run.
    ///
    /// # Panics
    /// In CI, where it is.
    fn is_there(&self, test: &str) -> bool {
        let there = PathBuf::from("/usr/bin").join(self.program).exists();
        if !there {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "{} is missing",
                self.program
            );
            skipped(test, &format!("{} is not installed", self.program));
        }
        there
    }

    fn run(&self, home: &Home, words: &[&str]) -> Sfkey {
        let program = PathBuf::from("/usr/bin").join(self.program);
        Sfkey::program(program, home, words.iter().copied())
            .variable("AGENT", binaries::built("sfkey-agent"))
            .variable("CLIENT", binaries::built("sfkey"))
            .variable("OPTIONS", "")
    }

    /// Evaluates the line for a socket with an awkward path, and asks whoever is at `SFKEY_SOCK`.
    fn assert_understands(&self) {
        let home = Home::new();
        let socket = home.path(r#"a $b/it's 100%!\"x`/agent.sock"#);
        let _detached = Detached::at(socket.clone());
        let evaluate = self.evaluate.replace("$OPTIONS", "--socket \"$PLACE\"");
        let evaluate = match self.program {
            "tcsh" => evaluate.replace("\"$PLACE\"", "$PLACE:q"),
            _ => evaluate,
        };
        let script = format!("{evaluate}\n\"$CLIENT\" status --json");
        let script = script.replace(
            "\"$CLIENT\"",
            if self.program == "tcsh" {
                "$CLIENT:q"
            } else {
                "\"$CLIENT\""
            },
        );
        let status = self
            .run(&home, &["-c", &script])
            .variable("PLACE", &socket)
            .run()
            .done()
            .json();
        assert_eq!(status["socket"], socket.display().to_string(), "{}", self.program);
    }

    /// Many of it begin at once, each with the line in its start-up file.
    fn assert_shares_one_agent(&self) {
        let home = Home::new();
        let detached = Detached::of(&home);
        let evaluate = self.evaluate.replace("$OPTIONS", "");
        let file = match self.program {
            "fish" => home.write("config/fish/config.fish", evaluate),
            "tcsh" => home.write(".tcshrc", evaluate),
            _ => home.write("startup", evaluate),
        };
        let file = file.display().to_string();
        let mut words: Vec<&str> = self
            .startup
            .iter()
            .map(|word| if *word == "FILE" { file.as_str() } else { word })
            .collect();
        words.push("$CLIENT status --json");
        let started: Vec<Child> = (0..12)
            .map(|_| self.run(&home, &words).variable("ENV", &file).start())
            .collect();
        let pids: Vec<_> = started
            .into_iter()
            .map(|child| {
                // An interactive shell without a terminal complains about that.
                let ran = Ran::of(child);
                assert_eq!(ran.code, 0, "{}: {ran:?}", self.program);
                ran.json()["pid"].as_u64()
            })
            .collect();
        let own = detached.pid().map(u64::from);
        assert!(
            own.is_some() && pids.iter().all(|pid| *pid == own),
            "{own:?} {pids:?}"
        );
    }
}

#[test]
fn bash_learns_the_socket_and_many_share_one_agent() {
    if BASH.is_there("bash_learns_the_socket_and_many_share_one_agent") {
        BASH.assert_understands();
        BASH.assert_shares_one_agent();
    }
}

#[test]
fn dash_learns_the_socket_and_many_share_one_agent() {
    if DASH.is_there("dash_learns_the_socket_and_many_share_one_agent") {
        DASH.assert_understands();
        DASH.assert_shares_one_agent();
    }
}

#[test]
fn csh_learns_the_socket_and_many_share_one_agent() {
    if TCSH.is_there("csh_learns_the_socket_and_many_share_one_agent") {
        TCSH.assert_understands();
        TCSH.assert_shares_one_agent();
    }
}

#[test]
fn fish_learns_the_socket_and_many_share_one_agent() {
    if FISH.is_there("fish_learns_the_socket_and_many_share_one_agent") {
        FISH.assert_understands();
        FISH.assert_shares_one_agent();
    }
}
