//! The arguments of `sfkey completions`, and of the command that its scripts ask.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

const COMPLETIONS_EXAMPLES: &str = "\
Account names come from the agent, and from the configuration. `make install` puts the scripts
where the shells look for them; else:

  bash  echo 'source <(sfkey completions bash)' >> ~/.bashrc
  zsh   echo 'source <(sfkey completions zsh)' >> ~/.zshrc      below compinit
  fish  sfkey completions fish > ~/.config/fish/completions/sfkey.fish

Examples:
  source <(sfkey completions bash)";

#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// bash, zsh or fish
    #[arg(value_enum, hide_possible_values = true)]
    pub(crate) shell: Completed,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Completed {
    /// bash 4 and later
    Bash,
    /// zsh
    Zsh,
    /// fish 3 and later
    Fish,
}

#[derive(Args, Debug)]
pub(crate) struct WordsArgs {
    /// The words of a command line, up to the one that is to be completed
    #[arg(last = true, required = true)]
    pub(crate) words: Vec<OsString>,
}
