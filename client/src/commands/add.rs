//! `sfkey add`: load an account, or all of the configuration.

use std::path::Path;

use sfkey::{Environment, proto::AccountName};

use super::{
    Invocation, here,
    load::{Loading, Prompting},
    store_key,
};
use crate::{
    cli::AddArgs,
    config::{AccountEntry, Config},
    exit::{Cause, Failure},
    hardening,
    output::Output,
    secrets::Reference,
};

pub(super) async fn run(invocation: &Invocation<'_>, args: AddArgs) -> Result<(), Failure> {
    let config = Config::read(&invocation.environment)?;
    match &args.name {
        Some(name) => add_one(invocation, name, &args, &config).await,
        None => add_all(invocation, &args, &config).await,
    }
}

async fn add_one(
    invocation: &Invocation<'_>,
    name: &AccountName,
    args: &AddArgs,
    config: &Config,
) -> Result<(), Failure> {
    let typed = typed_entry(args, &invocation.environment)?;
    if args.save && args.store_key.is_none() && typed.key == Some(Reference::StandardInput) {
        return Err(Failure::new(
            Cause::Usage,
            "a key from standard input cannot be saved: the configuration only says where keys are kept",
            "give --key FILE, keep it with --store-key keyring, or leave out --save",
        ));
    }
    let entry = match config.accounts.get(name) {
        Some(saved) => typed.clone().or(saved),
        None => typed.clone(),
    };
    let loading = Loading {
        make_default: args.default || config.default_account.as_ref() == Some(name),
        replace: args.replace,
        ..Loading::explicit(name, &entry)
    };
    loading.require_complete(&invocation.environment)?;
    let store = args.store_key.is_some();
    if store && entry.key == Some(Reference::Keyring) {
        return Err(Failure::new(
            Cause::Usage,
            format!("the key of {name} is in the keyring already"),
            "leave out --store-key, or give --key FILE with the key that is to be kept there",
        ));
    }
    let agent = invocation.connect_trusted().await?;
    hardening::harden();
    let (added, keeper) = match store {
        true => {
            let key = loading.private_key(invocation)?;
            let added = loading.load_key(invocation, &agent, &key).await?;
            (added, Some(store_key::keep(invocation, &loading, &key)?))
        }
        false => (loading.load(invocation, &agent).await?.1, None),
    };
    let saved = match args.save {
        true => {
            let said = in_keyring(typed, store);
            Some(Config::save(&invocation.environment, name, &said, args.default)?)
        }
        false => None,
    };
    invocation
        .output
        .added(&added, saved.as_deref(), invocation.now)?;
    match keeper {
        Some(keeper) => store_key::offer_removal(invocation, &agent, &loading, &keeper).await,
        None => Ok(()),
    }
}

/// What is saved of an entry whose key is `kept` in the keyring: that key needs no passphrase.
fn in_keyring(typed: AccountEntry, kept: bool) -> AccountEntry {
    match kept {
        true => AccountEntry {
            key: Some(Reference::Keyring),
            passphrase: None,
            ..typed
        },
        false => typed,
    }
}

/// Loads what can be loaded, tells what cannot, and ends the way the first failure does.
async fn add_all(invocation: &Invocation<'_>, args: &AddArgs, config: &Config) -> Result<(), Failure> {
    if config.accounts.is_empty() {
        return Err(Failure::new(
            Cause::Config,
            "the configuration has no accounts",
            "sfkey add NAME --save …, once for each account",
        ));
    }
    let output = invocation.output;
    let agent = invocation.connect_trusted().await?;
    hardening::harden();
    let mut loaded = Vec::new();
    let mut failed: Option<Failure> = None;
    for (name, entry) in &config.accounts {
        let loading = Loading {
            make_default: config.default_account.as_ref() == Some(name),
            replace: args.replace,
            prompting: if args.no_prompt {
                Prompting::Never
            } else {
                Prompting::Allowed
            },
            ..Loading::explicit(name, entry)
        };
        let added = match loading.require_complete(&invocation.environment) {
            Ok(()) => loading.load(invocation, &agent).await.map(|(_, added)| added),
            Err(incomplete) => Err(incomplete),
        };
        match added {
            Ok(added) if output.is_json() => loaded.push(added),
            Ok(added) => output.added(&added, None, invocation.now)?,
            Err(failure) if args.no_prompt && failure.needs_somebody() => {
                output.warn(&format!("{name} is passed over: {}", failure.message));
            }
            Err(failure) => failed = Some(among_others(output, failed, failure.about(name))),
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None if output.is_json() => Output::all_added(&loaded),
        None => Ok(()),
    }
}

/// The failure that stands for all so far. For people each is told at once; JSON is one object at the end.
fn among_others(output: &Output, earlier: Option<Failure>, failure: Failure) -> Failure {
    if output.is_json() {
        return match earlier {
            Some(earlier) => earlier.and(&failure),
            None => failure,
        };
    }
    output.fail(&failure);
    earlier.unwrap_or_else(|| failure.told())
}

/// What the command line says of the account. Its paths are relative to the working directory.
fn typed_entry(args: &AddArgs, environment: &Environment) -> Result<AccountEntry, Failure> {
    let here = here()?;
    let file = |path: &Option<String>| {
        path.as_ref()
            .map(|path| Reference::file(path, &here, environment))
    };
    Ok(AccountEntry {
        login_url: args.login_url.clone(),
        audience: args.audience.clone(),
        consumer_key: args.consumer_key.clone(),
        username: args.username.clone(),
        key: args
            .key
            .as_deref()
            .map(|key| key_reference(key, &here, environment))
            .transpose()?,
        passphrase: file(&args.passphrase_file),
        consumer_secret: file(&args.consumer_secret_file),
        certificate: None,
        lifetime: args.lifetime,
        idle: args.idle,
        session_timeout: args.session_timeout,
    })
}

/// What `--key` names.
pub(super) fn key_reference(
    text: &str,
    here: &Path,
    environment: &Environment,
) -> Result<Reference, Failure> {
    if text == "-" {
        return Ok(Reference::StandardInput);
    }
    Reference::parse_key(text, here, environment).map_err(|error| {
        Failure::new(
            Cause::Usage,
            format!("--key {error}"),
            "--key FILE, --key - for standard input, or a reference such as env:NAME",
        )
    })
}
