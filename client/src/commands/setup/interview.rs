//! Questions on the terminal, one line each.
//!
//! Plain lines and no redrawing: they work on every terminal, under every screen reader, and stay to be read
//! again when a question further down depends on an answer further up.

use std::{path::PathBuf, time::Duration};

use sfkey::Environment;
use zeroize::Zeroizing;

use super::answers::{Answers, Field};
use crate::{
    exit::{Cause, Failure, escape, words},
    secrets::{Prompted, Terminal},
};

/// Steps of the whole walk, for the headlines.
const STEPS: u32 = 7;

/// Longest line of a paragraph, in columns: longer ones are hard to read.
const MAX_WIDTH: usize = 84;

/// A terminal with a person in front of it.
pub(super) struct Interview<'a> {
    terminal: Terminal,
    environment: &'a Environment,
    /// What relative paths that are typed are relative to.
    here: PathBuf,
}

impl<'a> Interview<'a> {
    /// At the terminal of this process; `None` when it has none.
    pub(super) fn open(environment: &'a Environment, here: PathBuf) -> Option<Self> {
        Some(Self {
            terminal: Terminal::open()?,
            environment,
            here,
        })
    }

    /// Says paragraphs, one a line, each broken to fit.
    pub(super) fn say(&self, text: &str) {
        let width = self.terminal.columns().min(MAX_WIDTH);
        self.terminal.tell(&wrapped(&shown(text), width));
    }

    /// Says lines as they are: commands and values to be copied.
    pub(super) fn verbatim(&self, text: &str) {
        self.terminal.tell(&shown(text));
    }

    /// Says which step begins.
    pub(super) fn step(&self, number: u32, title: &str) {
        self.say(&format!("\n[{number}/{STEPS}] {title}"));
    }

    /// Writes over the current line, where the terminal can do that.
    pub(super) fn progress(&self, text: &str) {
        self.terminal.write(&shown(text));
    }

    /// Asks for a field until the answer is good, and keeps it.
    pub(super) fn ask(
        &self,
        answers: &mut Answers,
        field: Field,
        question: &str,
        default: Option<&str>,
    ) -> Result<(), Failure> {
        let check = |text: &str| field.check(text, &self.here, self.environment);
        let value = self.line(question, default, check)?;
        answers.set(field, value);
        Ok(())
    }

    /// Asks until `check` takes the answer. An empty line is the default.
    pub(super) fn line<T>(
        &self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let default_shown = default.map_or_else(String::new, |default| format!(" [{default}]"));
        loop {
            let typed = self.read(&format!("{question}{default_shown}: "))?;
            let text = match (typed.as_str(), default) {
                ("", None) => continue,
                ("", Some(default)) => default,
                (typed, _) => typed,
            };
            match check(text) {
                Ok(value) => return Ok(value),
                Err(why) => self.say(&format!("  Not taken: {why}.")),
            }
        }
    }

    /// Asks for a line that may be empty.
    pub(super) fn optional(&self, question: &str) -> Result<Option<String>, Failure> {
        let typed = self.read(&format!("{question}: "))?;
        Ok(Some(typed).filter(|typed| !typed.is_empty()))
    }

    /// Lets one of several be chosen by its number; which, from 0.
    pub(super) fn choose(&self, question: &str, options: &[&str], default: usize) -> Result<usize, Failure> {
        for (number, option) in options.iter().enumerate() {
            self.say(&format!("  {}  {option}", number + 1));
        }
        let default = (default + 1).to_string();
        self.line(question, Some(&default), |text| {
            let number = text.parse::<usize>().ok();
            let chosen = number.and_then(|number| number.checked_sub(1));
            chosen
                .filter(|chosen| *chosen < options.len())
                .ok_or_else(|| format!("type a number from 1 to {}", options.len()))
        })
    }

    /// Asks for yes or no.
    pub(super) fn yes(&self, question: &str, default: bool) -> Result<bool, Failure> {
        let default = if default { "yes" } else { "no" };
        self.line(question, Some(default), |text| {
            match text.to_lowercase().as_str() {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err("type yes or no".to_owned()),
            }
        })
    }

    /// Waits for Enter.
    pub(super) fn enter(&self, text: &str) -> Result<(), Failure> {
        self.read(text).map(drop)
    }

    /// Asks for something that is not shown; `None` is an empty line.
    pub(super) fn secret(&self, question: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let asked = self
            .terminal
            .ask(&shown(question))
            .map_err(|error| unreadable(&error))?;
        Ok(match asked {
            Prompted::Passphrase(typed) => Some(typed),
            Prompted::Nothing => None,
        })
    }

    /// Waits for Enter, but not longer than `patience`. Tells whether it came.
    pub(super) fn enter_within(&self, patience: Duration) -> Result<bool, Failure> {
        self.terminal
            .line_within(patience)
            .map_err(|error| unreadable(&error))
    }

    fn read(&self, question: &str) -> Result<String, Failure> {
        let typed = self.terminal.ask_openly(&shown(question));
        typed.map_err(|error| unreadable(&error))?.ok_or_else(stopped)
    }
}

/// `text` with every line broken between words to have at most `width` columns. What is indented stays so.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '-']).len();
        let mut current = String::new();
        let mut length = 0;
        for word in line.split_inclusive(' ') {
            let columns = word.trim_end().chars().count();
            if length + columns > width && length > indent {
                lines.push(current.trim_end().to_owned());
                current = " ".repeat(indent);
                length = indent;
            }
            current.push_str(word);
            length += word.chars().count();
        }
        lines.push(current.trim_end().to_owned());
    }
    lines.join("\n")
}

/// What is said, line by line without anything that a terminal would act on: it repeats what was typed, read
/// from files, and answered by Salesforce.
fn shown(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| match line.strip_prefix('\r') {
            Some(rest) => format!("\r{}", escape(rest)),
            None => escape(line),
        })
        .collect();
    lines.join("\n")
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(
        Cause::Io,
        format!("cannot read from the terminal: {}", words(error)),
        "run it in another terminal; what was answered is kept",
    )
}

/// The user wants no more.
pub(super) fn stopped() -> Failure {
    Failure::new(
        Cause::Stopped,
        "setup was stopped; what was answered is kept",
        "go on with: sfkey setup",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_stay_indented() {
        assert_eq!(wrapped("one two three", 8), "one two\nthree");
        assert_eq!(wrapped("  1  one two three", 12), "  1  one two\n  three");
        assert_eq!(wrapped("  - one two\n\nx", 9), "  - one\n    two\n\nx");
        assert_eq!(
            wrapped("https://a-very-long-word x", 8),
            "https://a-very-long-word\nx"
        );
        assert_eq!(wrapped("", 8), "");
    }

    #[test]
    fn what_is_said_cannot_move_the_cursor_but_for_the_progress_line() {
        assert_eq!(shown("a\u{1b}[2J\nb\rc"), "a\\u{1b}[2J\nb\\rc");
        assert_eq!(shown("\rWaiting"), "\rWaiting");
    }
}
