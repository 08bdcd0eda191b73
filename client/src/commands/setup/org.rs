//! Hosts and audiences: what people have in their address bar, and what the token endpoint wants.

use std::fmt;

use super::answers::{Answers, CONNECTED_APP, Field};

/// The login host of production.
pub(super) const LOGIN: &str = "https://login.salesforce.com";

/// The login host of sandboxes.
pub(super) const TEST: &str = "https://test.salesforce.com";

/// Why an address is not taken, and the one that probably was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What is wrong with it.
    pub(super) why: String,
    /// The address that is right, where it can be told.
    pub(super) right: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.right {
            Some(right) => write!(f, "{}; the right one is {right}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

fn refused(why: &str, right: Option<String>) -> Refused {
    Refused {
        why: why.to_owned(),
        right,
    }
}

/// An address by its form: what the agent takes as a token host or an audience. Hosts of the user interface are
/// refused with the right one.
pub(super) fn url(text: &str) -> Result<String, Refused> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let guess = format!("https://{}", text.trim_start_matches('/'));
        return Err(refused("it is no address: it begins with https://", Some(guess)));
    };
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(host, path)| (host, path));
    let host = host.to_ascii_lowercase();
    if host.is_empty() || text.contains(|c: char| c.is_whitespace() || "?#@".contains(c)) {
        return Err(refused(
            "only https://HOST or https://HOST/PATH is good here",
            None,
        ));
    }
    if scheme != "https" && !(scheme == "http" && is_loopback(&host)) {
        return Err(refused("it is not https", Some(format!("https://{host}"))));
    }
    if let Some(right) = my_domain_of_user_interface(&host) {
        return Err(refused(
            "that is the address of the user interface, which issues no tokens",
            Some(right),
        ));
    }
    let address = format!("{scheme}://{host}/{path}");
    Ok(address.trim_end_matches('/').to_owned())
}

/// The My Domain: as a URL, as it stands in an address bar, or by its name alone (`acme`, `acme--dev`).
pub(super) fn my_domain(text: &str) -> Result<String, Refused> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !text.is_empty() && text.chars().all(name) && text != "localhost" {
        let name = text.to_ascii_lowercase();
        return Ok(match name.contains("--") {
            true => format!("https://{name}.sandbox.my.salesforce.com"),
            false => format!("https://{name}.my.salesforce.com"),
        });
    }
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    // What stands behind the host in an address bar says which page is shown.
    let end = with_scheme.find("://").map_or(0, |at| at + 3);
    let host_end = with_scheme[end..]
        .find(['/', '?', '#'])
        .map_or(with_scheme.len(), |at| end + at);
    let address = url(&with_scheme[..host_end])?;
    let host = host_of(&address);
    if address == LOGIN || address == TEST {
        return Err(refused(
            "an External Client App is not known there: it answers \"External client app is not installed in this org\"",
            None,
        ));
    }
    if host.ends_with(".my.site.com") || host.ends_with(".force.com") {
        return Err(refused(
            "that is a site's address, not the org's My Domain",
            host.strip_suffix(".my.site.com")
                .map(|org| format!("https://{org}.my.salesforce.com")),
        ));
    }
    Ok(address)
}

/// The address of an Experience Cloud site, with its path.
pub(super) fn site(text: &str) -> Result<String, Refused> {
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let address = url(&with_scheme)?;
    // The pages of a site stand below /s, its token endpoint does not.
    let path_end = address
        .find("/s/")
        .or_else(|| address.ends_with("/s").then(|| address.len() - 2));
    Ok(path_end.map_or(address.clone(), |end| address[..end].to_owned()))
}

/// The audience that goes with what was answered.
pub(super) fn audience(answers: &Answers) -> Option<String> {
    let login_url = answers.get(Field::LoginUrl)?;
    let through_my_domain =
        answers.is(Field::App, CONNECTED_APP) && host_of(login_url).ends_with(".my.salesforce.com");
    Some(match through_my_domain {
        true if answers.is(Field::Org, "sandbox") => TEST.to_owned(),
        true => LOGIN.to_owned(),
        false => login_url.to_owned(),
    })
}

/// Whether a host is one of Salesforce's; anything else is worth a word.
pub(super) fn is_salesforce(address: &str) -> bool {
    const DOMAINS: [&str; 8] = [
        "salesforce.com",
        "force.com",
        "my.site.com",
        "salesforce-sites.com",
        "cloudforce.com",
        "salesforce.mil",
        "crmforce.mil",
        "sfcrmproducts.cn",
    ];
    let host = host_of(address);
    DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Where a token host's Setup pages are, for the clicks.
pub(super) fn setup_page(login_url: &str) -> Option<String> {
    let org = host_of(login_url).strip_suffix(".my.salesforce.com")?;
    Some(format!(
        "https://{org}.my.salesforce-setup.com/lightning/setup/SetupOneHome/home"
    ))
}

fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    host.rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(host, _)| host)
}

fn is_loopback(host: &str) -> bool {
    let host = host_of(host);
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// `acme.lightning.force.com` and `acme.my.salesforce-setup.com` are pages of `acme.my.salesforce.com`.
fn my_domain_of_user_interface(host: &str) -> Option<String> {
    [
        ".lightning.force.com",
        ".my.salesforce-setup.com",
        ".my.vf.force.com",
    ]
    .iter()
    .find_map(|suffix| host.strip_suffix(suffix))
    .map(|org| format!("https://{org}.my.salesforce.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_my_domain_is_understood_however_it_is_written() {
        for (text, address) in [
            ("acme", "https://acme.my.salesforce.com"),
            ("Acme", "https://acme.my.salesforce.com"),
            ("acme--dev", "https://acme--dev.sandbox.my.salesforce.com"),
            ("acme.my.salesforce.com", "https://acme.my.salesforce.com"),
            (
                "https://acme.my.salesforce.com/",
                "https://acme.my.salesforce.com",
            ),
            (
                "https://acme.my.salesforce.com/lightning/page/home?x=1#y",
                "https://acme.my.salesforce.com",
            ),
            ("https://localhost:8443", "https://localhost:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(my_domain(text).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn the_address_of_a_page_is_refused_with_the_right_one() {
        for (text, right) in [
            (
                "https://acme.lightning.force.com/lightning/page/home",
                "https://acme.my.salesforce.com",
            ),
            (
                "acme--dev.sandbox.lightning.force.com",
                "https://acme--dev.sandbox.my.salesforce.com",
            ),
            (
                "https://acme.my.salesforce-setup.com/lightning/setup/SetupOneHome/home",
                "https://acme.my.salesforce.com",
            ),
            (
                "https://acme.my.site.com/customers",
                "https://acme.my.salesforce.com",
            ),
            ("http://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ] {
            assert_eq!(
                my_domain(text).expect_err(text).right.as_deref(),
                Some(right),
                "{text}"
            );
        }
        let login = my_domain("login.salesforce.com").expect_err("not for an External Client App");
        assert!(login.why.contains("not installed"), "{login}");
    }

    #[test]
    fn a_site_keeps_its_path_and_loses_its_pages() {
        for (text, address) in [
            (
                "https://acme.my.site.com/customers/s/login",
                "https://acme.my.site.com/customers",
            ),
            (
                "acme.my.site.com/customers/",
                "https://acme.my.site.com/customers",
            ),
            ("https://acme.my.site.com/s", "https://acme.my.site.com"),
            (
                "https://acme.my.site.com/support",
                "https://acme.my.site.com/support",
            ),
        ] {
            assert_eq!(site(text).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn the_audience_follows_the_host_and_the_app() {
        let audience = |app: &str, org: &str, login_url: &str| {
            let mut answers = Answers::default();
            answers.set(Field::App, app);
            answers.set(Field::Org, org);
            answers.set(Field::LoginUrl, login_url);
            audience(&answers).expect("a login URL is there")
        };
        let my_domain = "https://acme.my.salesforce.com";
        assert_eq!(audience("new", "production", my_domain), my_domain);
        assert_eq!(audience(CONNECTED_APP, "production", LOGIN), LOGIN);
        assert_eq!(audience(CONNECTED_APP, "sandbox", TEST), TEST);
        assert_eq!(audience(CONNECTED_APP, "production", my_domain), LOGIN);
        assert_eq!(audience(CONNECTED_APP, "sandbox", my_domain), TEST);
        let site = "https://acme.my.site.com/customers";
        assert_eq!(audience(CONNECTED_APP, "site", site), site);
    }
}
