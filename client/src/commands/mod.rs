//! One file a command.

mod add;
pub(crate) mod audit;
mod certificates;
mod completions;
mod config;
mod doctor;
mod exec;
mod import;
mod keygen;
mod list;
mod load;
mod lock;
mod manual;
mod panic;
mod remove;
mod revoke;
mod service;
mod setup;
mod similar;
mod status;
mod stop;
mod store_key;
mod token;
mod turn;
mod watch;
mod whoami;

use std::{cell::OnceCell, path::PathBuf};

use jiff::Timestamp;
use sfkey::{Client, Environment, connect, proto::AccountName};

use crate::{
    cli::{Command, PanicArgs},
    exit::{Cause, Failure, words},
    output::Output,
};

/// What every command works with.
pub(crate) struct Invocation<'a> {
    /// The variables that decide where things are.
    pub(crate) environment: Environment,
    /// `--socket`.
    pub(crate) socket: Option<PathBuf>,
    /// Where the words go.
    pub(crate) output: &'a Output,
    /// When the command was started.
    pub(crate) now: Timestamp,
    /// The account that the command turned out to be about, when one was named.
    named: OnceCell<String>,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(
        environment: Environment,
        socket: Option<PathBuf>,
        output: &'a Output,
        now: Timestamp,
    ) -> Self {
        Self {
            environment,
            socket,
            output,
            now,
            named: OnceCell::new(),
        }
    }

    /// Connects to the agent.
    async fn connect(&self) -> Result<Client, Failure> {
        let socket = connect::socket_path(self.socket.as_deref(), &self.environment)?;
        self.output
            .note(&format!("asking the agent at {}", socket.display()));
        Ok(Client::connect_to(&socket).await?)
    }

    /// Connects to an agent that may be sent a secret, and to no other.
    async fn connect_trusted(&self) -> Result<Client, Failure> {
        let socket = connect::socket_path(self.socket.as_deref(), &self.environment)?;
        self.output
            .note(&format!("asking the agent at {}", socket.display()));
        Ok(Client::connect_trusted(&socket).await?)
    }

    /// The account that is meant: the one named, else `SFKEY_ACCOUNT`, else empty, and the agent decides.
    fn account(&self, named: Option<&AccountName>) -> Result<String, Failure> {
        let name = self.meant(named)?;
        Ok(self.named.get_or_init(|| name).clone())
    }

    fn meant(&self, named: Option<&AccountName>) -> Result<String, Failure> {
        let variable = match (named, &self.environment.account) {
            (Some(name), _) => return Ok(name.to_string()),
            (None, None) => return Ok(String::new()),
            (None, Some(variable)) => variable,
        };
        let text = variable.to_string_lossy();
        match text.parse::<AccountName>() {
            Ok(name) => Ok(name.to_string()),
            Err(error) => Err(Failure::new(
                Cause::Usage,
                format!("SFKEY_ACCOUNT is \"{text}\": {error}"),
                "set SFKEY_ACCOUNT to an account's name, or unset it",
            )),
        }
    }
}

/// The working directory, from which relative paths of the command line go.
fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(
            Cause::Io,
            format!("the working directory is gone: {}", words(&error)),
            "cd to another one",
        )
    })
}

/// Runs one command to its end. Whoever mistyped an account's name is told the one that was probably meant.
pub(crate) async fn run(invocation: &Invocation<'_>, command: Command) -> Result<(), Failure> {
    match run_command(invocation, command).await {
        Err(failure) if failure.is_of_unloaded_account() => Err(similar::suggest(invocation, failure).await),
        done => done,
    }
}

async fn run_command(invocation: &Invocation<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Import(args) => import::run(invocation, args).await,
        Command::Setup(args) => setup::run(invocation, args).await,
        Command::Keygen(args) => keygen::run(invocation, *args).await,
        Command::Add(args) => add::run(invocation, *args).await,
        Command::Token(args) => token::run(invocation, args).await,
        Command::Exec(args) => exec::run(invocation, args).await,
        Command::Watch(args) => watch::run(invocation, args).await,
        Command::List(_) => list::run(invocation).await,
        Command::Status(_) => status::run(invocation).await,
        Command::Audit(args) => audit::run(invocation, args).await,
        Command::Remove(args) => remove::run(invocation, args).await,
        Command::Lock(args) => lock::lock(invocation, args).await,
        Command::Unlock(args) => lock::unlock(invocation, args).await,
        Command::Doctor(args) => doctor::run(invocation, args).await,
        Command::Whoami(args) => whoami::run(invocation, args).await,
        Command::Revoke(args) => revoke::run(invocation, args).await,
        Command::Panic(PanicArgs {}) => panic::run(invocation).await,
        Command::Service(args) => service::run(invocation, &args.action),
        Command::Stop => stop::run(invocation).await,
        Command::Config(args) => config::run(invocation, &args),
        Command::Completions(args) => completions::script(&args),
        Command::CompleteWords(args) => completions::words(invocation, args).await,
        Command::Manual { directory } => manual::run(&directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(named: Option<&str>, variable: Option<&str>) -> Result<String, Failure> {
        let environment = Environment {
            account: variable.map(Into::into),
            ..Environment::default()
        };
        let output = Output::new(false);
        let invocation = Invocation::new(environment, None, &output, Timestamp::UNIX_EPOCH);
        let named: Option<AccountName> = named.map(|name| name.parse().expect("a name"));
        invocation.account(named.as_ref())
    }

    #[test]
    fn the_argument_beats_the_variable_and_without_both_the_agent_decides() {
        assert_eq!(account(Some("a"), Some("b")).expect("a name"), "a");
        assert_eq!(account(None, Some("b")).expect("a name"), "b");
        assert_eq!(account(None, None).expect("a name"), "");
        assert_eq!(account(Some("a"), Some("b c")).expect("not looked at"), "a");
        assert!(
            account(None, Some("b c"))
                .expect_err("no name")
                .message
                .contains("SFKEY_ACCOUNT")
        );
    }
}
