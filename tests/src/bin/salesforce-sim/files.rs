//! The files the simulator writes for its clients. Those without a given name are in a temporary folder, which goes
//! when the simulator ends.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sfkey_tests::sim::{AppKey, Simulator};
use tempfile::TempDir;

use crate::cli::Cli;

/// Where the files are.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) key: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    folder: Option<TempDir>,
}

impl Files {
    fn place(&mut self, given: Option<&PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
        if let Some(path) = given {
            return Ok(path.clone());
        }
        if self.folder.is_none() {
            let private = std::fs::Permissions::from_mode(0o700);
            let made = tempfile::Builder::new()
                .prefix("salesforce-sim-")
                .permissions(private)
                .tempdir();
            self.folder = Some(made.context("cannot make a temporary folder")?);
        }
        let folder = self
            .folder
            .as_ref()
            .context("the temporary folder has just been made")?;
        Ok(folder.path().join(name))
    }

    /// Writes the key pair that was made for the first app.
    pub(crate) fn write_key(&mut self, cli: &Cli, key: &AppKey) -> anyhow::Result<()> {
        let path = self.place(cli.key_out.as_ref(), "server.key")?;
        write_new_secret(&path, &key.private_key_pem)?;
        self.key = Some(path);
        let path = self.place(cli.certificate_out.as_ref(), "server.crt")?;
        std::fs::write(&path, &key.certificate_pem)
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.certificate = Some(path);
        Ok(())
    }

    /// Writes the CA certificate, unless there is no TLS.
    pub(crate) fn write_ca(&mut self, cli: &Cli, simulator: &Simulator) -> anyhow::Result<()> {
        if simulator.url().starts_with("https:") {
            let path = self.place(cli.ca_out.as_ref(), "ca.pem")?;
            std::fs::write(&path, simulator.ca_pem())
                .with_context(|| format!("cannot write {}", path.display()))?;
            self.ca = Some(path);
        }
        Ok(())
    }
}

/// A private key is never written over another file, and nobody else may read it.
fn write_new_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| format!("cannot make the key file {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}
