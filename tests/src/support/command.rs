//! `sfkey` as a command.

use std::{
    ffi::OsString,
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{binaries, home::Home};

/// A command line in the making. Its environment holds what [`Home`] gives, `PATH` and `TZ=UTC`.
#[derive(Debug)]
pub struct Sfkey {
    command: Command,
    input: Option<Vec<u8>>,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code, or as a shell tells it: 128 and the number of the signal.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Sfkey {
    /// `sfkey ARGUMENTS` of the user that runs the tests.
    #[must_use]
    pub fn new<A: Into<OsString>>(home: &Home, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::program(binaries::built("sfkey"), home, arguments)
    }

    /// The same of another copy of the program, or of a program that runs it.
    #[must_use]
    pub fn program<A: Into<OsString>>(
        program: PathBuf,
        home: &Home,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments.into_iter().map(Into::into)).env_clear();
        command
            .envs(home.environment())
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC");
        command
            .current_dir(home.path("."))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            input: Some(Vec::new()),
        }
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// With this on its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// With its standard input from there.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self.input = None;
        self
    }

    /// With its standard output there.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// With its standard error there.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// As another user.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid).current_dir("/");
        self
    }

    /// Starts it and gives it its input.
    #[must_use]
    pub fn start(mut self) -> Child {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().expect("the program can be executed");
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input) {
            // A command that does not read has closed the pipe, which is its right.
            stdin.write_all(&input).ok();
        }
        child
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run(self) -> Ran {
        Ran::of(self.start())
    }
}

impl Ran {
    /// Waits for the end of a command that was started.
    #[must_use]
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().expect("it is a child of this process");
        let signal = output.status.signal().map(|signal| 128 + signal);
        Self {
            code: output.status.code().or(signal).expect("it ended"),
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }

    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("sfkey prints UTF-8")
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8(self.stderr.clone()).expect("sfkey prints UTF-8")
    }

    /// Standard output as one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Requires success, without a word on standard error.
    #[must_use]
    pub fn done(self) -> Self {
        assert_eq!((self.code, self.err().as_str()), (0, ""), "{}", self.out());
        self
    }

    /// Requires a failure with this exit code, told in the two lines of the contract, which are returned.
    #[must_use]
    pub fn failed(&self, code: i32) -> (String, String) {
        let text = self.err();
        assert_eq!(self.code, code, "{text}{}", self.out());
        assert_eq!(self.stdout, b"", "nothing is printed on failure");
        let lines: Vec<&str> = text.lines().collect();
        let [error, fix] = lines.as_slice() else {
            panic!("not two lines:\n{text}")
        };
        let part = |line: &str, prefix: &str| {
            let rest = line.strip_prefix(prefix).filter(|rest| !rest.is_empty());
            rest.unwrap_or_else(|| panic!("no {prefix:?}:\n{text}"))
                .to_owned()
        };
        (part(error, "error: "), part(fix, "try: "))
    }
}
