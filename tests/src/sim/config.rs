//! What a simulator starts with, in code or from TOML.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::app::App;
use super::assertion::{AppKey, public_key};
use super::faults::FaultRule;
use super::knobs::Knobs;
use super::org::{Org, User};

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file named by the configuration cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// The configuration is not valid.
    #[error("the configuration is not valid: {0}")]
    Invalid(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The server's certificate cannot be made.
    #[error("cannot make a server certificate: {0}")]
    Certificate(String),
    /// The thread that serves could not be started.
    #[error("cannot start the server: {0}")]
    Server(#[source] io::Error),
}

/// What is wrong with the server's certificate, to test how clients take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerCertificate {
    /// Nothing: names fit, and the simulator's CA issued it.
    #[default]
    Valid,
    /// It expired in 2020.
    Expired,
    /// It is for another host.
    WrongHost,
    /// Another CA than the one shown issued it.
    UnknownIssuer,
}

/// The configuration of a [`super::Simulator`]. In TOML the members have the same names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one. Loopback also listens on `::1`, and on every loopback address
    /// that stands among the host names.
    pub listen: SocketAddr,
    /// TLS (default) or plain HTTP; the latter on loopback only.
    pub tls: bool,
    /// What is wrong with the server's certificate.
    pub server_certificate: ServerCertificate,
    /// Hosts that play `login.salesforce.com`.
    pub login_hosts: Vec<String>,
    /// Hosts that play `test.salesforce.com`, the login host of sandboxes.
    pub test_hosts: Vec<String>,
    /// Where the control interface listens, on loopback; absent means nowhere.
    pub control: Option<SocketAddr>,
    /// The knobs at start.
    pub knobs: Knobs,
    /// The orgs; at least one.
    pub orgs: Vec<Org>,
    /// The apps.
    pub apps: Vec<App>,
    /// The users.
    pub users: Vec<User>,
    /// The faults at start.
    pub faults: Vec<FaultRule>,
}

impl Default for Config {
    fn default() -> Self {
        let hosts = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls: true,
            server_certificate: ServerCertificate::default(),
            login_hosts: hosts(["127.0.0.1", "login.salesforce.com"]),
            test_hosts: hosts(["127.0.0.2", "test.salesforce.com"]),
            control: None,
            knobs: Knobs::default(),
            orgs: vec![Org::default()],
            apps: Vec::new(),
            users: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Config {
    /// One org on `localhost`, one user with the profile of one app; the app has no certificate yet.
    #[must_use]
    pub fn one_of_each() -> Self {
        Self {
            apps: vec![App::default()],
            users: vec![User::default()],
            ..Self::default()
        }
    }

    /// The same with the certificate of `key` on the app.
    #[must_use]
    pub fn with_key(key: &AppKey) -> Self {
        let app = App {
            certificate: Some(key.certificate_pem.clone()),
            ..App::default()
        };
        Self {
            apps: vec![app],
            users: vec![User::default()],
            ..Self::default()
        }
    }

    /// Reads TOML. Certificate files are found relative to `folder`.
    ///
    /// # Errors
    /// [`StartError::Invalid`] with the place in the text, [`StartError::Read`] for a certificate file.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Self, StartError> {
        let mut config: Self =
            toml::from_str(text).map_err(|cause| StartError::Invalid(cause.to_string()))?;
        for app in &mut config.apps {
            app.read_certificate(folder)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Finds what would otherwise only show as a puzzling refusal.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let invalid = |text: String| Err(StartError::Invalid(text));
        if self.orgs.is_empty() {
            return invalid("there is no org".to_owned());
        }
        if !self.tls && !self.listen.ip().is_loopback() {
            return invalid(
                "plain HTTP is for loopback only; set tls = true or listen on 127.0.0.1".to_owned(),
            );
        }
        if self.control.is_some_and(|address| !address.ip().is_loopback()) {
            return invalid("the control interface listens on loopback only".to_owned());
        }
        let unknown = |name: &String| !self.orgs.iter().any(|org| org.name == *name);
        if let Some(user) = self
            .users
            .iter()
            .find(|user| user.org.as_ref().is_some_and(unknown))
        {
            return invalid(format!(
                "user {} belongs to an org that is not there",
                user.username
            ));
        }
        for app in &self.apps {
            if app.orgs.iter().any(unknown) {
                return invalid(format!("app {} belongs to an org that is not there", app.name));
            }
            if let Some(certificate) = &app.certificate {
                public_key(certificate).map_err(|cause| {
                    StartError::Invalid(format!("the certificate of app {}: {cause}", app.name))
                })?;
            }
        }
        Ok(())
    }

    /// Every host name the server answers to.
    pub(super) fn host_names(&self) -> Vec<String> {
        let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let orgs = self.orgs.iter().flat_map(|org| &org.hosts);
        let mut names: Vec<String> = always
            .iter()
            .chain(orgs)
            .chain(&self.login_hosts)
            .chain(&self.test_hosts)
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl App {
    fn read_certificate(&mut self, folder: &Path) -> Result<(), StartError> {
        if let Some(file) = self.certificate_file.take() {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(|cause| StartError::Read(path, cause))?;
            self.certificate = Some(text);
        }
        Ok(())
    }
}
