//! `sfkey exec`: become another program, with an access token in its environment.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    process::Command,
};

use sfkey::proto::v1::{GetTokenRequest, Token};

use super::{Invocation, token};
use crate::{
    cli::ExecArgs,
    exit::{Cause, Failure, words},
    hardening::CoreLimit,
    output::variables,
};

pub(super) async fn run(invocation: &Invocation<'_>, args: ExecArgs) -> Result<(), Failure> {
    // Loading on demand forbids core dumps to this process; the command is to have what the user set.
    let core_limit = CoreLimit::current();
    let request = GetTokenRequest {
        account: invocation.account(args.name.as_ref())?,
        min_valid_seconds: Some(args.min_valid),
        fresh: false,
    };
    let token = token::obtain(invocation, request, !args.no_load).await?;
    invocation.output.token_warnings(&token);
    invocation.output.warn_of_missing_target_org(&token);
    invocation.output.release_warnings();
    core_limit.restore();
    Err(become_command(&args.command, &token))
}

/// Returns only when the command cannot be run. The standard library gives the command the default
/// disposition of SIGPIPE and an empty signal mask.
fn become_command(command: &[OsString], token: &Token) -> Failure {
    let (program, arguments) = command
        .split_first()
        .expect("the command line requires a command");
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in variables(token) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    cannot_run(program, &command.exec())
}

fn cannot_run(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.display();
    let message = format!("cannot run {program}: {}", words(error));
    if error.kind() == io::ErrorKind::NotFound {
        let fix = "check the command's name and PATH, and the first line of a script";
        Failure::new(Cause::CommandNotFound, message, fix)
    } else {
        let fix = format!("check that it is an executable program: ls -l {program}");
        Failure::new(Cause::CommandNotExecutable, message, fix)
    }
}
