//! The arguments of `sfkey list` and `sfkey status`.

use clap::{Args, ValueEnum};

const LIST_EXAMPLES: &str = "\
Examples:
  sfkey list
  sfkey status --json | jq .clock_skew_seconds";

#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// What to print: text for people, or json
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) output: Structured,
}

/// The forms of what is a table for people and an object for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Structured {
    /// For people
    Text,
    /// One JSON object
    Json,
}
