//! `sfkey config`: where the configuration is, what it says, and whether it will do.

mod check;

use std::env;

use serde::Serialize;

use super::Invocation;
use crate::{
    cli::{ConfigArgs, ConfigCommand},
    config::{self, Config, Setting, Source},
    exit::{Cause, Failure},
    hardening,
};

/// What `sfkey config path --json` prints.
#[derive(Serialize)]
struct Place {
    path: String,
    exists: bool,
}

/// What `sfkey config show --json` prints.
#[derive(Serialize)]
struct Settings {
    path: Option<String>,
    settings: Vec<Setting>,
}

pub(super) fn run(invocation: &Invocation<'_>, args: &ConfigArgs) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Path => path(invocation),
        ConfigCommand::Show { name } => show(invocation, name.as_ref()),
        ConfigCommand::Check { name } => {
            // Keys are opened to see whether they can be.
            hardening::harden();
            let findings = check::check(&invocation.environment, invocation.now, name.as_ref());
            invocation.output.findings(&findings)
        }
    }
}

fn path(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let Some(path) = config::path(&invocation.environment) else {
        let message = "where the configuration belongs cannot be told: XDG_CONFIG_HOME and HOME are not set";
        return Err(Failure::new(Cause::Config, message, "set HOME"));
    };
    let place = Place {
        path: path.display().to_string(),
        exists: path.exists(),
    };
    invocation.output.answer(&place.path, &place)
}

fn show(invocation: &Invocation<'_>, only: Option<&sfkey::proto::AccountName>) -> Result<(), Failure> {
    let shown = Config::show(&invocation.environment, only)?;
    for problem in &shown.problems {
        invocation.output.warn(&problem.message);
    }
    if let Some(name) = only
        && shown.settings.is_empty()
    {
        return Err(Failure::new(
            Cause::Config,
            format!("the configuration has no [accounts.{name}]"),
            format!("sfkey add {name} … --save"),
        ));
    }
    let mut settings = match only {
        None => of_this_process(invocation),
        Some(_) => Vec::new(),
    };
    settings.extend(shown.settings);
    let path = config::path(&invocation.environment).map(|path| path.display().to_string());
    invocation.output.settings(
        &settings,
        &Settings {
            path,
            settings: settings.clone(),
        },
    )
}

/// What flags and variables decide, and nothing in the file does.
fn of_this_process(invocation: &Invocation<'_>) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(socket) = &invocation.socket {
        settings.push(Setting::new("socket", socket.display().to_string(), Source::Flag));
    } else if let Some(socket) = &invocation.environment.socket {
        let socket = socket.display().to_string();
        let told = env::var_os("SFKEY_SOCK").is_some_and(|value| !value.is_empty());
        settings.push(match told {
            true => Setting::of_variable("socket", socket, "SFKEY_SOCK"),
            false => Setting::new("socket", socket, Source::Default),
        });
    }
    if let Some(name) = &invocation.environment.account {
        settings.push(Setting::of_variable(
            "account",
            name.to_string_lossy(),
            "SFKEY_ACCOUNT",
        ));
    }
    settings
}
