//! The one place that writes to standard output and standard error.

mod check;
mod findings;
mod json;
pub(crate) mod style;
mod table;
mod text;
mod token;
mod wait;

use std::{
    cell::{Cell, RefCell},
    io::{self, IsTerminal, Write},
    path::Path,
};

use jiff::Timestamp;
use serde::Serialize;
use sfkey::proto::v1::{
    Account, AddAccountResponse, GetStatusResponse, Token, WhoAmIResponse, panic_response::Revocation,
};
use zeroize::Zeroizing;

pub(crate) use findings::{Finding, Standing};
pub(crate) use table::facts as table;
pub(crate) use text::local_moment;
pub(crate) use token::{Shell, TokenFormat, variables};

use self::style::Colour;
use crate::{
    commands::audit::Record,
    config::Setting,
    exit::{Failure, escape},
};

/// Room for one token as JSON, so that the buffer that is wiped is the only one it ever was in.
const TOKEN_JSON_BYTES: usize = 64 * 1024;

/// How much is told besides the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// The answer and failures.
    Quiet,
    /// Warnings too, and what was done.
    #[default]
    Normal,
    /// Every step as well.
    Verbose,
}

/// Where a command's words go, and in which form.
pub(crate) struct Output {
    json: Cell<bool>,
    volume: Volume,
    /// Warnings of a command that speaks JSON wait for its success: a failure leaves one object alone on
    /// standard error.
    held: RefCell<Vec<String>>,
    /// The command goes on and on: there is no success to wait for.
    streaming: Cell<bool>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json: Cell::new(json),
            volume: Volume::default(),
            held: RefCell::default(),
            streaming: Cell::new(false),
        }
    }

    /// The same at this volume.
    pub(crate) fn at(self, volume: Volume) -> Self {
        Self { volume, ..self }
    }

    /// One for work whose warnings are told in another way.
    pub(crate) fn silent() -> Self {
        Self::new(false).at(Volume::Quiet)
    }

    /// Whether output is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json.get()
    }

    /// Whether standard output is a terminal, where a token would stay on the screen.
    pub(crate) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Tells something that does not stop the command.
    pub(crate) fn warn(&self, text: &str) {
        let word = Colour::of_errors().odd("warning:");
        self.say(&word, text);
    }

    /// Tells something that is good to know.
    pub(crate) fn tell(&self, text: &str) {
        self.say("note:", text);
    }

    fn say(&self, word: &str, text: &str) {
        if self.volume == Volume::Quiet {
            return;
        }
        let line = format!("{word} {}", escape(text));
        if self.is_json() && !self.streaming.get() {
            self.held.borrow_mut().push(line);
        } else {
            complain(&line);
        }
    }

    /// Tells a step that is taken, to whoever wants to know.
    pub(crate) fn note(&self, text: &str) {
        if self.volume == Volume::Verbose && !self.is_json() {
            complain(&format!("sfkey: {}", escape(text)));
        }
    }

    /// From here on the command has begun what goes on without end; warnings are written as they come.
    pub(crate) fn stream(&self) {
        self.release_warnings();
        self.streaming.set(true);
    }

    /// Writes the warnings that waited. The command has done its work, or is about to become another one.
    pub(crate) fn release_warnings(&self) {
        for line in self.held.take() {
            complain(&line);
        }
    }

    /// Writes a failure to standard error.
    pub(crate) fn fail(&self, failure: &Failure) {
        let colour = Colour::of_errors();
        for line in failure.lines(self.is_json()) {
            match line.strip_prefix("error:") {
                Some(rest) => complain(&format!("{}{rest}", colour.bad("error:"))),
                None => complain(&line),
            }
        }
    }

    /// Writes clap's help or version text.
    pub(crate) fn help(text: &str) -> Result<(), Failure> {
        write_out(text.as_bytes())
    }

    /// Writes a token in the form that was asked for, and its warnings.
    pub(crate) fn token(&self, token: &Token, format: TokenFormat, shell: Shell) -> Result<(), Failure> {
        write_out(&self.rendered(token, format, shell)?)
    }

    /// A token in the form that was asked for, with its line end. Warnings that the form does not hold are told.
    pub(crate) fn rendered(
        &self,
        token: &Token,
        format: TokenFormat,
        shell: Shell,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match format {
            TokenFormat::Json => {
                let object = json::TokenObject::from(token);
                return Ok(secret_json(|text| serde_json::to_writer(text, &object)));
            }
            TokenFormat::Sf => {
                let warnings = token.warnings.iter().map(|code| token::warning(code));
                let object = json::SfObject::new(token, warnings.collect());
                // The sf CLI indents, and there are scripts that take it line by line.
                return Ok(secret_json(|text| serde_json::to_writer_pretty(text, &object)));
            }
            TokenFormat::Token
            | TokenFormat::Env
            | TokenFormat::Header
            | TokenFormat::Curl
            | TokenFormat::Dotenv => {}
        }
        let mut text = token::render(token, format, shell)?;
        self.token_warnings(token);
        if matches!(format, TokenFormat::Env | TokenFormat::Dotenv) {
            self.warn_of_missing_target_org(token);
        }
        Ok(Zeroizing::new(std::mem::take(&mut *text).into_bytes()))
    }

    /// Tells the warnings that came with a token in words.
    pub(crate) fn token_warnings(&self, token: &Token) {
        for code in &token.warnings {
            self.warn(&token::warning(code));
        }
    }

    /// Tells that `SF_TARGET_ORG` is left out, when it is.
    pub(crate) fn warn_of_missing_target_org(&self, token: &Token) {
        if !token::is_opaque(token) {
            self.warn(
                "SF_TARGET_ORG is not set: the sf CLI takes opaque tokens only, and this app issues JWT-based ones",
            );
        }
    }

    pub(crate) fn accounts(&self, accounts: &[Account], now: Timestamp) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&json::AccountsObject::from(accounts))
        } else {
            write_out(text::accounts(accounts, now, width(), Colour::of_output()).as_bytes())
        }
    }

    pub(crate) fn status(&self, status: &GetStatusResponse, now: Timestamp) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&json::StatusObject::from(status))
        } else {
            write_out(text::status(status, now).as_bytes())
        }
    }

    pub(crate) fn records(&self, records: &[Record], now: Timestamp) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&json::RecordsObject { records })
        } else {
            write_out(text::records(records, now).as_bytes())
        }
    }

    /// Every setting of the configuration.
    pub(crate) fn settings(&self, settings: &[Setting], object: &impl Serialize) -> Result<(), Failure> {
        if self.is_json() {
            write_json(object)
        } else {
            write_out(text::settings(settings, width(), Colour::of_output()).as_bytes())
        }
    }

    /// What `sfkey add` did, and where it saved the settings.
    pub(crate) fn added(
        &self,
        added: &AddAccountResponse,
        saved: Option<&Path>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&json::AddedObject::from(added))
        } else if self.volume == Volume::Quiet {
            Ok(())
        } else {
            write_out(text::added(added, saved, now).as_bytes())
        }
    }

    /// What `sfkey add --all --json` did.
    pub(crate) fn all_added(added: &[AddAccountResponse]) -> Result<(), Failure> {
        write_json(&json::AllAddedObject::from(added))
    }

    /// Who a token belongs to.
    pub(crate) fn owner(&self, owner: &WhoAmIResponse) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&json::OwnerObject::from(owner))
        } else {
            write_out(text::owner(owner).as_bytes())
        }
    }

    /// What became of the tokens in a panic.
    pub(crate) fn revocations(&self, revocations: &[Revocation]) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&json::PanicObject::from(revocations))
        } else {
            write_out(text::revocations(revocations).as_bytes())
        }
    }

    /// Tells in some lines of text, or a JSON object, what was done.
    pub(crate) fn lines(&self, lines: &[String], object: &impl Serialize) -> Result<(), Failure> {
        if self.is_json() {
            return write_json(object);
        }
        let mut text = String::new();
        for line in lines {
            text += &escape(line);
            text.push('\n');
        }
        write_out(text.as_bytes())
    }

    /// Writes a text of several lines for people.
    pub(crate) fn text(text: &str) -> Result<(), Failure> {
        write_out(text.as_bytes())
    }

    /// One finding of `sfkey doctor`. JSON waits for all of them.
    pub(crate) fn check(&self, check: &Finding) -> Result<(), Failure> {
        match self.is_json() {
            true => Ok(()),
            false => write_out(check::line(check).as_bytes()),
        }
    }

    /// All of them together.
    pub(crate) fn checks(&self, checks: &[Finding]) -> Result<(), Failure> {
        match self.is_json() {
            true => write_json(&findings::Findings { checks }),
            false => write_out(check::summary(checks).as_bytes()),
        }
    }

    /// Writes the line of text, or the JSON object, that was asked for.
    pub(crate) fn answer(&self, text: &str, object: &impl Serialize) -> Result<(), Failure> {
        if self.is_json() {
            write_json(object)
        } else {
            write_out(format!("{}\n", escape(text)).as_bytes())
        }
    }

    /// Tells in a line of text, or a JSON object, what was done.
    pub(crate) fn done(&self, text: &str, object: &impl Serialize) -> Result<(), Failure> {
        if self.is_json() {
            write_json(object)
        } else if self.volume == Volume::Quiet {
            Ok(())
        } else {
            write_out(format!("{}\n", escape(text)).as_bytes())
        }
    }
}

/// The columns of the terminal that standard output is; `None` when it is none, and lines may be long.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// JSON with a secret in it, and its line end.
fn secret_json(write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(TOKEN_JSON_BYTES));
    write(&mut text).expect("strings and numbers always serialize");
    text.push(b'\n');
    text
}

fn write_json(object: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(object).expect("strings and numbers always serialize");
    line.push(b'\n');
    write_out(&line)
}

/// Standard output is line-buffered: what ends with a line end goes straight through, and no copy of a
/// token stays in the buffer.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::writing(&error))
}

/// Nobody can be told that standard error is closed.
fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
