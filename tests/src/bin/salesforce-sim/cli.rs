//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use sfkey_tests::sim::AppKind;

const ABOUT: &str =
    "Simulates Salesforce's OAuth 2.0 JWT Bearer endpoint and a little of its REST API, offline.";

const EXAMPLES: &str = "\
Examples:
  salesforce-sim
        makes an app, its key pair and a user, and prints all that a client needs to know
  salesforce-sim --certificate server.crt --username me@example.com
        the app has your certificate: sign assertions with your own server.key
  salesforce-sim --set session_timeout=900 --set regrant=same-fixed
        short sessions, and a repeated grant that gives the same token
  salesforce-sim --config sim.toml --listen 127.0.0.1:8443
        several orgs, apps and users, at a fixed port
  salesforce-sim --json --exit-on-stdin-close
        for scripts: one line of JSON once it listens, and an end when the script ends

Clients trust it by its CA file:
  curl --cacert CA_FILE …    SSL_CERT_FILE=CA_FILE …    NODE_EXTRA_CA_CERTS=CA_FILE sf …

Knobs, faults and the rest can be changed while it runs: ask the control URL for `/`.";

/// The kinds of app.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// Reachable through login hosts and My Domain.
    ConnectedApp,
    /// My Domain only.
    ExternalClientApp,
}

impl From<Kind> for AppKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ConnectedApp => Self::ConnectedApp,
            Kind::ExternalClientApp => Self::ExternalClientApp,
        }
    }
}

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "salesforce-sim", version, about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Orgs, apps, users, knobs and faults to start with (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Plain HTTP in place of TLS, on loopback only
    #[arg(long)]
    pub(crate) http: bool,

    /// Another host name that leads to the first org, and stands in the server's certificate; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,

    /// Where the control interface listens, on loopback [default: 127.0.0.1 at a free port]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "no_control")]
    pub(crate) control: Option<SocketAddr>,

    /// No control interface
    #[arg(long)]
    pub(crate) no_control: bool,

    /// The X.509 certificate (PEM) of the first app; without one the simulator makes a key pair
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_out", "certificate_out"])]
    pub(crate) certificate: Option<PathBuf>,

    /// Where to write the private key that the simulator makes [default: a temporary folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_out: Option<PathBuf>,

    /// Where to write its certificate [default: a temporary folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate_out: Option<PathBuf>,

    /// Where to write the CA certificate that clients must trust [default: a temporary folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_out: Option<PathBuf>,

    /// Username of the first user
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// Consumer key of the first app [default: a new one]
    #[arg(long, value_name = "KEY")]
    pub(crate) consumer_key: Option<String>,

    /// Kind of the first app
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<Kind>,

    /// Set a knob, e.g. session_timeout=900; may be repeated
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    pub(crate) set: Vec<String>,

    /// Print one line of JSON once it listens, in place of text
    #[arg(long)]
    pub(crate) json: bool,

    /// End when standard input ends, as it does when the program that started it ends
    #[arg(long)]
    pub(crate) exit_on_stdin_close: bool,
}
