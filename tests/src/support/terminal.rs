//! A pseudo-terminal, for what a program does only in front of a person.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use super::{binaries, command::Sfkey, home::Home};

/// Longest wait for something that is surely shown.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// The side of a pseudo-terminal that the person sits at.
#[derive(Debug)]
pub struct Terminal {
    person: File,
    device: PathBuf,
    shown: String,
    /// How much of what was shown has been waited for.
    seen: usize,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::open()
    }
}

impl Terminal {
    /// Opens a new one.
    #[must_use]
    pub fn open() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let person = person.expect("the kernel has pseudo-terminals");
        grantpt(&person).expect("granted");
        unlockpt(&person).expect("unlocked");
        let name = ptsname(&person, Vec::new()).expect("it has a name");
        Self {
            person: File::from(person),
            device: PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())),
            shown: String::new(),
            seen: 0,
        }
    }

    /// The side that a program has as its standard input or output.
    #[must_use]
    pub fn device(&self) -> File {
        let device = OpenOptions::new().read(true).write(true).open(&self.device);
        device.expect("it was unlocked")
    }

    /// `sfkey ARGUMENTS` as a person runs it here: the terminal controls it, and standard output goes elsewhere.
    #[must_use]
    pub fn sfkey(&self, home: &Home, arguments: &[String]) -> Sfkey {
        let program = binaries::built("sfkey").display().to_string();
        let own = ["--ctty".to_owned(), "--wait".to_owned(), program];
        let all = own.into_iter().chain(arguments.iter().cloned());
        Sfkey::program("/usr/bin/setsid".into(), home, all).stdin(self.device())
    }

    /// Waits until `text` is shown.
    ///
    /// # Panics
    /// When the last program that used the terminal has closed it, or after 30 s.
    pub fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            self.read_on(text);
        }
    }

    /// Waits until `text` is shown again, behind what was waited for by this before. Returns what stood between.
    ///
    /// # Panics
    /// When the last program that used the terminal has closed it.
    pub fn wait_for_next(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                let between = self.shown[self.seen..self.seen + at].to_owned();
                self.seen += at + text.len();
                return between;
            }
            self.read_on(text);
        }
    }

    fn read_on(&mut self, wanted: &str) {
        let mut piece = [0; 1024];
        let ready = poll(&mut [PollFd::new(&self.person, PollFlags::IN)], Some(&PATIENCE));
        assert_ne!(ready, Ok(0), "{wanted:?} was not shown, but {}", self.shown);
        match self.person.read(&mut piece) {
            Ok(length @ 1..) => self.shown += &String::from_utf8_lossy(&piece[..length]),
            end => panic!("{wanted:?} was not shown, but {}: {end:?}", self.shown),
        }
    }

    /// Types.
    pub fn type_in(&mut self, text: &str) {
        self.person
            .write_all(text.as_bytes())
            .expect("a terminal takes what is typed");
    }

    /// Everything that was shown until all programs have closed the terminal.
    #[must_use]
    pub fn shown_to_the_end(mut self) -> String {
        let mut rest = Vec::new();
        // Linux tells the end by EIO; what came before it is kept.
        self.person.read_to_end(&mut rest).ok();
        self.shown + &String::from_utf8_lossy(&rest)
    }
}
