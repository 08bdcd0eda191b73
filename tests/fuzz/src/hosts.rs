//! Which URL may be believed, read without the crate that the agent reads URLs with.
//!
//! What the agent accepts it also spells out anew, so that only this plain form has to be understood here.

use std::net::{Ipv4Addr, Ipv6Addr};

use sfkey_agent::salesforce::{Audience, TokenHost, TrustedHosts};

use crate::text::assert_shown;

/// As in the threat model: whoever holds a name under these is Salesforce.
const SALESFORCE: [&str; 8] = [
    "salesforce.com",
    "force.com",
    "my.site.com",
    "salesforce-sites.com",
    "cloudforce.com",
    "salesforce.mil",
    "crmforce.mil",
    "sfcrmproducts.cn",
];

/// Longest URL that is taken, in bytes.
const MAX_BYTES: usize = 512;

/// Most that a URL may become when it is spelled out: every byte as `%XX`.
const MAX_SPELLED_BYTES: usize = 3 * MAX_BYTES;

/// The parts of `https://HOST[:PORT][/PATH]`.
struct Parts<'a> {
    secure: bool,
    host: &'a str,
    /// With the scheme's own filled in.
    port: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a URL apart that must be spelled in its plain form.
    #[track_caller]
    fn of(url: &'a str) -> Self {
        assert_shown(url, MAX_SPELLED_BYTES);
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
        assert!(!url.contains(['?', '#', '\\']), "{url}");
        assert!(!url.ends_with('/'), "{url}");
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => panic!("neither https nor http: {url}"),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        assert!(!authority.contains('@'), "{url}");
        let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if digits(port) && !port.contains(']') => (host, port),
            _ => (authority, if secure { "443" } else { "80" }),
        };
        assert!(!host.is_empty(), "{url}");
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()), "{url}");
        Self { secure, host, port }
    }

    fn is_loopback(&self) -> bool {
        let v6 = self
            .host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self
                .host
                .parse::<Ipv4Addr>()
                .is_ok_and(|address| address.octets()[0] == 127)
            || v6.is_some_and(|host| host.parse() == Ok(Ipv6Addr::LOCALHOST))
    }

    fn is_salesforce(&self) -> bool {
        let below = |domain: &str| {
            let rest = self.host.strip_suffix(domain);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.secure && SALESFORCE.into_iter().any(below)
    }

    fn is_trusted(&self, named: &[&str]) -> bool {
        let plain = |name: &&str| name.trim_end_matches('.').to_ascii_lowercase();
        self.is_salesforce() || self.is_loopback() || named.iter().any(|name| plain(name) == self.host)
    }

    fn same_origin(&self, other: &Self) -> bool {
        (self.secure, self.host, self.port) == (other.secure, other.host, other.port)
    }

    /// Asserts that nothing goes over a network in the clear.
    #[track_caller]
    fn assert_private(&self) {
        assert!(
            self.secure || self.is_loopback(),
            "http to another machine: {}",
            self.host
        );
    }
}

/// The hosts that an operator named, as the agent takes them.
pub fn trusted(named: &[&str]) -> TrustedHosts {
    TrustedHosts::new(named.iter().map(|name| (*name).to_owned()))
}

/// Asserts what must hold of a token host that was made of `text`.
#[track_caller]
pub fn assert_token_host(host: &TokenHost, text: &str) {
    assert!(text.len() <= MAX_BYTES);
    let shown = host.to_string();
    let parts = Parts::of(&shown);
    parts.assert_private();
    assert!(!parts.host.ends_with(".lightning.force.com"), "{shown}");
    let service = host.service("services/oauth2/token");
    assert_eq!(service.as_str(), format!("{shown}/services/oauth2/token"));
    if shown.len() <= MAX_BYTES {
        let again = TokenHost::parse(&shown).expect("what is shown can be typed");
        assert_eq!(again.to_string(), shown);
    }
}

/// Asserts that an audience is the host's own, or that the host may have an assertion for another's.
#[track_caller]
pub fn assert_audience(audience: &Audience, host: &TokenHost, named: &[&str]) {
    let host = host.to_string();
    let (asked, meant) = (Parts::of(&host), Parts::of(audience.as_str()));
    meant.assert_private();
    assert!(
        asked.same_origin(&meant) || asked.is_trusted(named),
        "{host} gets an assertion for {audience}"
    );
}

/// Asserts that a token may be sent to this URL.
#[track_caller]
pub fn assert_instance(url: &str, host: &TokenHost, named: &[&str]) {
    let host = host.to_string();
    let (asked, instance) = (Parts::of(&host), Parts::of(url));
    instance.assert_private();
    assert!(
        asked.same_origin(&instance) || instance.is_trusted(named),
        "{host} has tokens sent to {url}"
    );
}
