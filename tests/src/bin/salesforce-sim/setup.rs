//! From the command line and the configuration file to what the simulator starts with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use sfkey_tests::sim::{App, AppKey, Config, User};

use crate::cli::Cli;
use crate::files::Files;

/// The configuration; a key pair that had to be made for it is written to `files`.
pub(crate) fn config(cli: &Cli, files: &mut Files) -> anyhow::Result<Config> {
    let mut config = match &cli.config {
        Some(path) => read(path)?,
        None => Config::default(),
    };
    if config.apps.is_empty() {
        config.apps.push(App::default());
    }
    if config.users.is_empty() {
        config.users.push(User::default());
    }
    server(cli, &mut config);
    knobs(cli, &mut config)?;
    user(cli, &mut config);
    app(cli, &mut config, files)?;
    Ok(config)
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Config::from_toml(&text, path.parent().unwrap_or(Path::new("")))?)
}

fn server(cli: &Cli, config: &mut Config) {
    if let Some(address) = cli.listen {
        config.listen = address;
    }
    config.tls &= !cli.http;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.control = (!cli.no_control).then(|| cli.control.or(config.control).unwrap_or(anywhere));
    if let Some(org) = config.orgs.first_mut() {
        org.hosts.extend(cli.hosts.iter().cloned());
    }
}

fn knobs(cli: &Cli, config: &mut Config) -> anyhow::Result<()> {
    for setting in &cli.set {
        let (name, value) = setting
            .split_once('=')
            .with_context(|| format!("--set {setting}: write it as KNOB=VALUE"))?;
        config
            .knobs
            .set(name, value)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("--set {setting}"))?;
    }
    Ok(())
}

fn user(cli: &Cli, config: &mut Config) {
    if let (Some(name), Some(user)) = (&cli.username, config.users.first_mut()) {
        user.username.clone_from(name);
    }
}

fn app(cli: &Cli, config: &mut Config, files: &mut Files) -> anyhow::Result<()> {
    let Some(app) = config.apps.first_mut() else {
        return Ok(());
    };
    if let Some(key) = &cli.consumer_key {
        app.consumer_key.clone_from(key);
    }
    if let Some(kind) = cli.kind {
        app.kind = kind.into();
    }
    if let Some(path) = &cli.certificate {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        app.certificate = Some(text);
    }
    if app.certificate.is_none() {
        let key = AppKey::generate();
        files.write_key(cli, &key)?;
        app.certificate = Some(key.certificate_pem);
    }
    Ok(())
}
