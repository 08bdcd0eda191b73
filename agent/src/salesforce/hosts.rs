//! Token host and audience: two settings, and the rules that keep an assertion from the wrong hands.
//!
//! An assertion is as good as a login. Whoever adds an account could name a token host of his own and an
//! audience of Salesforce, and would be handed an assertion to replay there. So a foreign audience goes
//! only to a token host that is Salesforce's, this machine, or named when the agent was started.

use std::fmt;

use url::{Host, Url};

use crate::limits::MAX_URL_BYTES;

/// Domains that Salesforce serves logins and APIs under, each with all its subdomains (Salesforce Help,
/// "Salesforce Domains to allow"; the last three are the government and China clouds).
const SALESFORCE_DOMAINS: [&str; 8] = [
    "salesforce.com",
    "force.com",
    "my.site.com",
    "salesforce-sites.com",
    "cloudforce.com",
    "salesforce.mil",
    "crmforce.mil",
    "sfcrmproducts.cn",
];

/// Why a URL is not taken as a token host or an audience.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRejected {
    /// Not an absolute URL, or with parts that have no place in one.
    #[error("{0} is not a URL of the form https://HOST[/PATH]")]
    Malformed(&'static str),
    /// Plain http to another machine.
    #[error("{0} uses http, which is accepted for this machine only")]
    NotHttps(&'static str),
    /// The address of the user interface.
    #[error(
        "the login URL is a Lightning address, which serves no tokens; the org's My Domain is https://{0}"
    )]
    Lightning(String),
    /// An audience that must not be handed to this token host.
    #[error("the audience {audience} differs from the token host {host}, which is no Salesforce domain")]
    ForeignAudience {
        /// The host that would get the assertion.
        host: String,
        /// What the assertion would be good for.
        audience: String,
    },
}

/// Where assertions are sent: scheme, host, port and path, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenHost(Url);

/// The assertion's `aud`: a URL, exactly as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audience(String);

/// Further hosts that the agent's operator trusts with an assertion for a foreign audience.
#[derive(Clone, Debug, Default)]
pub struct TrustedHosts(Vec<String>);

impl TrustedHosts {
    /// From `--trust-host`: names as [`TrustedHosts::parse`] returns them.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().collect())
    }

    /// A host as it stands in a URL: without scheme, port and path, lower case, international names encoded.
    ///
    /// # Errors
    /// What is wrong, for the command line.
    pub fn parse(text: &str) -> Result<String, String> {
        let host = Host::parse(text.trim_end_matches('.'));
        host.map(|host| host.to_string())
            .map_err(|_| "a host name is needed, without scheme and port".to_owned())
    }

    /// Whether the host may get an assertion for a foreign audience, and be named by an `instance_url`.
    fn trusts(&self, url: &Url) -> bool {
        is_salesforce(url)
            || is_loopback(url)
            || self.0.iter().any(|host| Some(host.as_str()) == url.host_str())
    }
}

impl TokenHost {
    /// Checks a login URL.
    ///
    /// # Errors
    /// [`HostRejected`] for anything but https (http on loopback) with a host and at most a path.
    pub fn parse(text: &str) -> Result<Self, HostRejected> {
        let url = parse("the login URL", text)?;
        if let Some(my_domain) = my_domain_of_lightning(&url) {
            return Err(HostRejected::Lightning(my_domain));
        }
        Ok(Self(url))
    }

    /// Whether it is asked without TLS, which only this machine may be.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The URL of an OAuth service on this host, such as `services/oauth2/token`.
    #[must_use]
    pub fn service(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", self.0.path().trim_end_matches('/')));
        url
    }

    /// Whether an `instance_url` of an answer may be believed: https under Salesforce's domains, this
    /// machine or a trusted host, or the token host itself. Returns it without a trailing slash.
    #[must_use]
    pub fn accepts_instance(&self, text: &str, trusted: &TrustedHosts) -> Option<String> {
        let url = parse("instance_url", text).ok()?;
        let same = url.origin() == self.0.origin();
        (same || trusted.trusts(&url)).then(|| without_slash(&url))
    }
}

impl fmt::Display for TokenHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_slash(&self.0))
    }
}

impl Audience {
    /// Checks the audience for a token host; an empty one is the token host's own URL.
    ///
    /// # Errors
    /// [`HostRejected::ForeignAudience`] when it is another origin's and the host is not trusted with it.
    pub fn parse(text: &str, host: &TokenHost, trusted: &TrustedHosts) -> Result<Self, HostRejected> {
        if text.is_empty() {
            return Ok(Self(host.to_string()));
        }
        let url = parse("the audience", text)?;
        if url.origin() != host.0.origin() && !trusted.trusts(&host.0) {
            return Err(HostRejected::ForeignAudience {
                host: host.to_string(),
                audience: without_slash(&url),
            });
        }
        Ok(Self(without_slash(&url)))
    }

    /// The value of `aud`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(what: &'static str, text: &str) -> Result<Url, HostRejected> {
    let malformed = HostRejected::Malformed(what);
    if text.len() > MAX_URL_BYTES || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(malformed);
    }
    let url = Url::parse(text).map_err(|_| malformed.clone())?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.host_str().is_some_and(|host| !host.is_empty());
    match url.scheme() {
        "https" if bare => Ok(url),
        "http" if bare && is_loopback(&url) => Ok(url),
        "http" if bare => Err(HostRejected::NotHttps(what)),
        _ => Err(malformed),
    }
}

fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_salesforce(url: &Url) -> bool {
    let Some(Host::Domain(host)) = url.host() else {
        return false;
    };
    url.scheme() == "https"
        && SALESFORCE_DOMAINS.iter().any(|domain| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

/// This machine, by address or by the one name that every resolver knows (RFC 6761, section 6.3). Names below
/// it are looked up in the DNS where no resolver module maps them.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `acme.lightning.force.com` and `acme--dev.sandbox.lightning.force.com` belong to
/// `acme.my.salesforce.com` and `acme--dev.sandbox.my.salesforce.com`.
fn my_domain_of_lightning(url: &Url) -> Option<String> {
    let org = url.host_str()?.strip_suffix(".lightning.force.com")?;
    Some(format!("{org}.my.salesforce.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> TokenHost {
        TokenHost::parse(text).expect("a good token host")
    }

    fn audience(host_url: &str, audience: &str, trusted: &[&str]) -> Result<Audience, HostRejected> {
        let trusted = TrustedHosts::new(trusted.iter().map(|host| (*host).to_owned()));
        Audience::parse(audience, &host(host_url), &trusted)
    }

    #[test]
    fn the_audience_defaults_to_the_token_host_without_a_trailing_slash() {
        let by_default = audience("https://login.salesforce.com/", "", &[]).expect("accepted");
        assert_eq!(by_default.as_str(), "https://login.salesforce.com");
        let site = audience("https://acme.my.site.com/customers/", "", &[]).expect("accepted");
        assert_eq!(site.as_str(), "https://acme.my.site.com/customers");
    }

    #[test]
    fn the_path_of_an_experience_cloud_site_stays_before_the_service() {
        let url = host("https://site.force.com/customers").service("services/oauth2/token");
        assert_eq!(
            url.as_str(),
            "https://site.force.com/customers/services/oauth2/token"
        );
        let url = host("https://login.salesforce.com").service("services/oauth2/token");
        assert_eq!(url.as_str(), "https://login.salesforce.com/services/oauth2/token");
    }

    #[test]
    fn a_foreign_audience_goes_to_salesforce_loopback_and_trusted_hosts_only() {
        let production = "https://login.salesforce.com";
        for good in [
            "https://acme.my.salesforce.com",
            "https://localhost:8443",
            "http://127.0.0.1:80",
        ] {
            assert!(audience(good, production, &[]).is_ok(), "{good}");
        }
        for evil in [
            "https://evil.example",
            "https://notsalesforce.com",
            "https://salesforce.com.evil.example",
        ] {
            assert!(
                matches!(
                    audience(evil, production, &[]),
                    Err(HostRejected::ForeignAudience { .. })
                ),
                "{evil}"
            );
        }
        assert!(audience("https://sso.acme.example", production, &["sso.acme.example"]).is_ok());
        assert!(
            audience("https://evil.example", "https://evil.example", &[]).is_ok(),
            "its own audience"
        );
    }

    #[test]
    fn a_trusted_host_is_a_name_and_nothing_else() {
        assert_eq!(
            TrustedHosts::parse("SSO.acme.example.").as_deref(),
            Ok("sso.acme.example")
        );
        assert_eq!(
            TrustedHosts::parse("bücher.example").as_deref(),
            Ok("xn--bcher-kva.example")
        );
        for text in ["", "https://sso.acme.example", "sso.acme.example:443", "a b"] {
            assert!(TrustedHosts::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_that_are_no_token_host_are_refused() {
        for text in [
            "",
            "login.salesforce.com",
            "ftp://login.salesforce.com",
            "https://user@login.salesforce.com",
            "https://login.salesforce.com/?x=1",
            "https://login.salesforce.com/#x",
            "https://login.salesforce.com/\r\nHost: evil",
            "https://",
        ] {
            assert!(
                matches!(TokenHost::parse(text), Err(HostRejected::Malformed(_))),
                "{text:?}"
            );
        }
        assert_eq!(
            TokenHost::parse("http://example.com"),
            Err(HostRejected::NotHttps("the login URL"))
        );
        let lightning = TokenHost::parse("https://acme--dev.sandbox.lightning.force.com");
        assert_eq!(
            lightning,
            Err(HostRejected::Lightning(
                "acme--dev.sandbox.my.salesforce.com".to_owned()
            ))
        );
    }

    #[test]
    fn an_instance_url_is_believed_under_salesforce_or_the_token_host_only() {
        let none = TrustedHosts::default();
        let login = host("https://login.salesforce.com");
        assert_eq!(
            login
                .accepts_instance("https://acme.my.salesforce.com/", &none)
                .as_deref(),
            Some("https://acme.my.salesforce.com")
        );
        for evil in [
            "https://evil.example",
            "http://acme.my.salesforce.com",
            "javascript:x",
            "",
        ] {
            assert_eq!(login.accepts_instance(evil, &none), None, "{evil}");
        }
        let own = host("https://sso.acme.example");
        assert!(own.accepts_instance("https://sso.acme.example", &none).is_some());
        assert!(
            own.accepts_instance("https://sso.acme.example:444", &none)
                .is_none()
        );
        let simulator = host("http://127.0.0.1:8080");
        assert!(
            simulator
                .accepts_instance("http://localhost:8080", &none)
                .is_some()
        );
    }
}
