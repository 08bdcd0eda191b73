//! Which proxy the agent's environment puts before a host.

use hyper_util::client::proxy::matcher::Matcher;

use crate::salesforce::TokenHost;

/// The proxy, without its credentials. The rules are those of the HTTP client, which takes them from the same
/// place; plain http goes to this machine only, and never through one.
pub(super) fn in_force(host: &TokenHost) -> Option<String> {
    if host.is_plain() {
        return None;
    }
    through(&Matcher::from_env(), host)
}

fn through(rules: &Matcher, host: &TokenHost) -> Option<String> {
    let intercepted = rules.intercept(&host.to_string().parse().ok()?)?;
    let proxy = intercepted.uri();
    let scheme = proxy.scheme_str().unwrap_or("http");
    let port = proxy
        .port_u16()
        .map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{scheme}://{}{port}", proxy.host()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_without_its_credentials() {
        let rules = Matcher::builder()
            .https("http://me:canary@proxy.example:3128")
            .no("localhost")
            .build();
        let host = |url: &str| TokenHost::parse(url).expect("a token host");
        let named = through(&rules, &host("https://login.salesforce.com")).expect("a proxy");
        assert_eq!(named, "http://proxy.example:3128");
        assert_eq!(through(&rules, &host("https://localhost:8443")), None);
    }
}
