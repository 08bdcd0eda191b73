//! Apps: what an administrator sets up under "Connected Apps" or "External Client Apps".

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ids;
use super::knobs::{AudienceMode, TokenFormat};

/// A consumer secret. It shows itself in no log and no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for those who must send or compare it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([removed])")
    }
}

/// The two kinds of app that can hold a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppKind {
    /// A Connected App: reachable through the login hosts and My Domain.
    #[default]
    ConnectedApp,
    /// An External Client App: My Domain only, and only that as audience.
    ExternalClientApp,
}

/// "Permitted Users" of the app's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PermittedUsers {
    /// "Admin approved users are pre-authorized": a profile or permission set lets users in.
    #[default]
    AdminApproved,
    /// "All users may self-authorize": a user must have approved the app in a browser before.
    SelfAuthorize,
}

/// "IP Relaxation" of the app's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpPolicy {
    /// Callers may come from anywhere.
    #[default]
    Relax,
    /// Callers must come from one of these ranges, e.g. `10.0.0.0/8`.
    Enforce(Vec<String>),
}

impl IpPolicy {
    /// Whether a caller from `address` is let in. A range that cannot be read lets nobody in.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        match self {
            Self::Relax => true,
            Self::Enforce(ranges) => ranges.iter().any(|range| in_range(address, range)),
        }
    }
}

fn in_range(address: IpAddr, range: &str) -> bool {
    let (network, bits) = range.split_once('/').unwrap_or((range, "128"));
    let Ok(bits) = bits.parse::<u32>() else {
        return false;
    };
    let (differs, whole) = match (address, network.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(n))) => (u128::from(u32::from(a) ^ u32::from(n)) << 96, 32),
        (IpAddr::V6(a), Ok(IpAddr::V6(n))) => (u128::from(a) ^ u128::from(n), 128),
        _ => return false,
    };
    differs.leading_zeros() >= bits.min(whole)
}

/// An app of the simulated Salesforce.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// Its name, shown in the start-up message.
    pub name: String,
    /// `iss` of assertions.
    pub consumer_key: String,
    /// Needed for introspection only.
    pub consumer_secret: Secret,
    /// Names of the orgs that have the app; empty means the first org.
    pub orgs: Vec<String>,
    /// The X.509 certificate in PEM. There is one per app; without it no signature matches.
    pub certificate: Option<String>,
    /// Where to read the certificate from at start, relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Connected App or External Client App.
    pub kind: AppKind,
    /// "Enable JWT Bearer Flow".
    pub jwt_bearer: bool,
    /// OAuth scopes selected on the app.
    pub scopes: Vec<String>,
    /// Who may use it.
    pub permitted_users: PermittedUsers,
    /// Profiles that are approved.
    pub profiles: Vec<String>,
    /// Permission sets that are approved.
    pub permission_sets: Vec<String>,
    /// Blocked by an administrator under "OAuth usage".
    pub blocked: bool,
    /// Whether the app is installed in its orgs; a refreshed sandbox loses External Client Apps.
    pub installed: bool,
    /// From where it may be used.
    pub ip_policy: IpPolicy,
    /// "Introspect all Tokens": every token of the org, not only the app's own.
    pub introspect_all: bool,
    /// Overrides the knob `audience`. External Client Apps take their own host only, whatever stands here.
    pub audience: Option<AudienceMode>,
    /// Overrides the knob `token_format`.
    pub token_format: Option<TokenFormat>,
    /// Overrides the knob `session_timeout`, in seconds.
    pub session_timeout: Option<u64>,
    /// When the app was created, in seconds since 1970 on the simulated clock; set when it is registered.
    pub created_at: Option<i64>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            name: "sim app".to_owned(),
            consumer_key: ids::consumer_key(),
            consumer_secret: Secret::new(ids::consumer_secret()),
            orgs: Vec::new(),
            certificate: None,
            certificate_file: None,
            kind: AppKind::default(),
            jwt_bearer: true,
            scopes: ["api", "web", "refresh_token", "offline_access"]
                .map(str::to_owned)
                .to_vec(),
            permitted_users: PermittedUsers::default(),
            profiles: vec!["System Administrator".to_owned()],
            permission_sets: Vec::new(),
            blocked: false,
            installed: true,
            ip_policy: IpPolicy::default(),
            introspect_all: false,
            audience: None,
            token_format: None,
            session_timeout: None,
            created_at: None,
        }
    }
}

impl App {
    /// Whether assertions of this app are accepted with the audience of a login host, of My Domain, or both.
    pub(super) fn audience_mode(&self, knob: AudienceMode) -> AudienceMode {
        match self.kind {
            AppKind::ExternalClientApp => AudienceMode::MyDomainOnly,
            AppKind::ConnectedApp => self.audience.unwrap_or(knob),
        }
    }

    /// Whether the app has the scope that Salesforce demands though this flow issues no refresh token.
    pub(super) fn has_refresh_scope(&self) -> bool {
        self.scopes
            .iter()
            .any(|scope| scope == "refresh_token" || scope == "offline_access")
    }

    /// The scopes that a grant answers: those of the app but for the two that ask for a refresh token.
    pub(super) fn granted_scope(&self) -> String {
        let granted = self
            .scopes
            .iter()
            .filter(|scope| *scope != "refresh_token" && *scope != "offline_access");
        granted.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::{IpPolicy, Secret};

    #[test]
    fn an_address_is_inside_its_range_and_outside_others() {
        let policy = |range: &str| IpPolicy::Enforce(vec![range.to_owned()]);
        let loopback = "127.0.0.1".parse().expect("an address");
        assert!(policy("127.0.0.0/8").admits(loopback));
        assert!(policy("127.0.0.1").admits(loopback));
        assert!(!policy("127.0.0.2").admits(loopback));
        assert!(!policy("10.0.0.0/8").admits(loopback));
        assert!(!policy("::/0").admits(loopback));
        assert!(!policy("127.0.0.1/x").admits(loopback));
        assert!(policy("fd00::/8").admits("fd12::1".parse().expect("an address")));
    }

    #[test]
    fn a_secret_does_not_show_itself_in_debug() {
        assert!(!format!("{:?}", Secret::new("hush")).contains("hush"));
    }
}
