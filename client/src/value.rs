//! Values that are typed or stand in the configuration, checked by their form alone.

/// A URL as far as its form goes; which hosts are good is the agent's to say.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        None => Err(format!(
            "a URL is needed, such as https://{}",
            text.trim_start_matches('/')
        )),
        Some("") => Err("the URL names no host".to_owned()),
        Some(rest) if rest.contains(['?', '#', '@']) || rest.contains(char::is_whitespace) => {
            Err("only https://HOST or https://HOST/PATH is good here".to_owned())
        }
        Some(_) => plain(text.trim_end_matches('/')),
    }
}

/// A text that has something in it, and no control characters.
pub(crate) fn plain(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else if text.contains(char::is_control) {
        Err("it holds control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_checked_by_its_form_only() {
        assert_eq!(
            url("https://login.salesforce.com/"),
            Ok("https://login.salesforce.com".to_owned())
        );
        assert!(url("http://localhost:8443").is_ok());
        assert!(url("https://site.force.com/customers").is_ok());
        assert!(
            url("login.salesforce.com")
                .expect_err("no scheme")
                .contains("https://login.salesforce.com")
        );
        for bad in [
            "https://",
            "https://a b",
            "https://u:p@h",
            "https://h?x",
            "https://h#x",
            "ftp://h",
            "",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
