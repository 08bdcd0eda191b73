//! Asking on the terminal, whatever standard input and output are: for a passphrase, which is not shown, and for
//! anything else, which is.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    time::Duration,
};

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal as Held},
    signalfd::SignalFd,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use zeroize::Zeroizing;

/// Longest passphrase that can be typed, in bytes. What is typed beyond is left out, and the key will say no.
const MAX_TYPED_BYTES: usize = 1024;

/// Longest line that is read openly, in bytes: a terminal keeps no longer one.
const MAX_LINE_BYTES: usize = 4096;

/// The terminal that this process belongs to.
pub(crate) struct Terminal(File);

/// What a question led to.
pub(crate) enum Prompted {
    /// A passphrase, not empty.
    Passphrase(Zeroizing<Vec<u8>>),
    /// An empty line, or the end of input: the user does not want to.
    Nothing,
}

impl Terminal {
    /// Opens it; `None` when there is none, as in CI jobs and services.
    pub(crate) fn open() -> Option<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open("/dev/tty").ok().map(Self)
    }

    /// Asks `question` and reads a line that is not shown.
    ///
    /// Ctrl-C ends the process the way the signal does, with the terminal set back first; so does every signal that
    /// asks a process to end.
    pub(crate) fn ask(&self, question: &str) -> io::Result<Prompted> {
        let mut typed = Zeroizing::new(Vec::with_capacity(MAX_TYPED_BYTES));
        let mut unseen = Unseen::begin(&self.0)?;
        (&self.0).write_all(question.as_bytes())?;
        let end = loop {
            let end = unseen.read_line(&mut typed).transpose();
            drop(unseen);
            if let Some(end) = end {
                break end;
            }
            // Whoever started this program has it ignore that signal.
            unseen = Unseen::begin(&self.0)?;
        };
        (&self.0).write_all(b"\n")?;
        match end? {
            Stroke::Interrupt => {
                kill_process(getpid(), Signal::INT)?;
                Err(io::ErrorKind::Interrupted.into())
            }
            _ if typed.is_empty() => Ok(Prompted::Nothing),
            _ => Ok(Prompted::Passphrase(typed)),
        }
    }

    /// Asks `question` and reads a line, which the terminal shows and lets the user edit. `None` is the end of
    /// input, Ctrl-D.
    ///
    /// Ctrl-C ends the process, as it does between two questions.
    pub(crate) fn ask_openly(&self, question: &str) -> io::Result<Option<String>> {
        (&self.0).write_all(question.as_bytes())?;
        let mut line = [0; MAX_LINE_BYTES];
        let length = loop {
            match (&self.0).read(&mut line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if length == 0 {
            (&self.0).write_all(b"\n")?;
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line[..length]).trim().to_owned()))
    }

    /// Asks a question that is answered by `y` or anything else. What is typed is shown, and Ctrl-C is Ctrl-C.
    pub(crate) fn confirm(&self, question: &str) -> io::Result<bool> {
        let typed = self.ask_openly(question)?;
        Ok(typed.is_some_and(|typed| matches!(typed.as_str(), "y" | "Y" | "yes" | "Yes" | "YES")))
    }

    /// Waits for a line for as long as `patience`, and takes it. Tells whether one came.
    pub(crate) fn line_within(&self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut typed = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut typed, Some(&patience)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
            Ok(_) => (&self.0).read(&mut [0; MAX_LINE_BYTES]).map(|_| true),
            Err(error) => Err(error.into()),
        }
    }

    /// How many columns it has; 80 where it does not know.
    pub(crate) fn columns(&self) -> usize {
        match tcgetwinsize(&self.0) {
            Ok(size) if size.ws_col >= 20 => size.ws_col.into(),
            _ => 80,
        }
    }

    /// Writes as it is, without a line end.
    pub(crate) fn write(&self, text: &str) {
        drop((&self.0).write_all(text.as_bytes()));
    }

    /// Tells something between two questions.
    pub(crate) fn tell(&self, text: &str) {
        drop(writeln!(&self.0, "{text}"));
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
///
/// Signals that would end this thread's process meanwhile are held back, and do so then.
struct Unseen<'a> {
    terminal: &'a File,
    before: Termios,
    signals: SignalFd,
    mask: SigSet,
}

/// What asks a process to end, besides the keyboard.
const ENDING: [Held; 4] = [Held::SIGTERM, Held::SIGHUP, Held::SIGQUIT, Held::SIGINT];

impl<'a> Unseen<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let ending: SigSet = ENDING.into_iter().collect();
        let signals = SignalFd::new(&ending)?;
        let mask = ending.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let unseen = Self {
            terminal,
            before,
            signals,
            mask,
        };
        let mut modes = unseen.before.clone();
        // Without ISIG a Ctrl-C comes as a byte, and cannot end the process while nothing is shown.
        modes
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Drain, &modes)?;
        Ok(unseen)
    }

    /// Reads on until the line ends; `None` when a signal is held back.
    fn read_line(&self, typed: &mut Vec<u8>) -> io::Result<Option<Stroke>> {
        let (mut terminal, mut byte) = (self.terminal, Zeroizing::new([0]));
        loop {
            let mut ready = [
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(self.terminal, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled?,
            };
            if !ready[0].revents().is_empty() {
                return Ok(None);
            }
            let end = match terminal.read(&mut *byte) {
                Ok(0) => Stroke::End,
                Ok(_) => stroke(byte[0], typed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Stroke::More,
                Err(error) => return Err(error),
            };
            if end != Stroke::More {
                return Ok(Some(end));
            }
        }
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        let _restored = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
        let _unblocked = self.mask.thread_set_mask();
    }
}

/// What a typed byte does to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stroke {
    /// The line goes on.
    More,
    /// The line is complete.
    End,
    /// Ctrl-C, or Ctrl-Z or Ctrl-\, which would leave a terminal that shows nothing.
    Interrupt,
}

/// Edits the line as a terminal would: Backspace, Ctrl-U, Ctrl-D, Ctrl-C, Enter.
fn stroke(byte: u8, typed: &mut Vec<u8>) -> Stroke {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const CTRL_U: u8 = 0x15;
    const CTRL_Z: u8 = 0x1a;
    const CTRL_BACKSLASH: u8 = 0x1c;
    const DELETE: u8 = 0x7f;
    match byte {
        b'\n' | b'\r' | CTRL_D => return Stroke::End,
        CTRL_C | CTRL_Z | CTRL_BACKSLASH => return Stroke::Interrupt,
        BACKSPACE | DELETE => {
            // A character of UTF-8 goes as a whole: its continuation bytes begin with the bits 10.
            while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
        }
        CTRL_U => typed.clear(),
        byte if typed.len() < MAX_TYPED_BYTES => typed.push(byte),
        _ => {}
    }
    Stroke::More
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(bytes: &[u8]) -> (Vec<u8>, Stroke) {
        let mut typed = Vec::new();
        let mut bytes = bytes.iter();
        let end = bytes.find_map(|byte| match stroke(*byte, &mut typed) {
            Stroke::More => None,
            end => Some(end),
        });
        (typed, end.unwrap_or(Stroke::More))
    }

    #[test]
    fn a_line_ends_with_enter_and_can_be_edited() {
        assert_eq!(type_in(b"pass\n"), (b"pass".to_vec(), Stroke::End));
        assert_eq!(type_in(b"pasX\x7fs\r"), (b"pass".to_vec(), Stroke::End));
        assert_eq!(type_in(b"wrong\x15right\n"), (b"right".to_vec(), Stroke::End));
        assert_eq!(type_in("aé\x08b\n".as_bytes()), (b"ab".to_vec(), Stroke::End));
        assert_eq!(type_in(b"\x7f\x7f\n"), (Vec::new(), Stroke::End));
        assert_eq!(type_in(b"\x04"), (Vec::new(), Stroke::End));
    }

    #[test]
    fn control_c_interrupts_and_so_do_the_other_keys_that_send_a_signal() {
        for key in [b"pass\x03", b"pass\x1a", b"pass\x1c"] {
            assert_eq!(type_in(key).1, Stroke::Interrupt);
        }
    }

    #[test]
    fn the_line_never_outgrows_its_buffer() {
        let typed = type_in(&vec![b'x'; 2 * MAX_TYPED_BYTES]).0;
        assert_eq!(typed.len(), MAX_TYPED_BYTES);
    }
}
