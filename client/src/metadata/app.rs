//! What there is to say of an External Client App.

use std::{fmt, str::FromStr};

/// Longest API name, in characters. Salesforce allows 80; the names of the app's parts have a suffix.
const MAX_API_NAME: usize = 60;

/// Longest label, in characters: the length of Salesforce's `MasterLabel`.
const MAX_LABEL: usize = 80;

/// Longest e-mail address, in characters: the length of Salesforce's e-mail fields.
const MAX_EMAIL: usize = 80;

/// Everything that the components are made from.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// Developer name of the app.
    pub(crate) name: ApiName,
    /// What administrators read.
    pub(crate) label: Label,
    /// Whom Salesforce may write to about the app.
    pub(crate) contact_email: Email,
    /// The certificate in PEM. Its presence is what enables the JWT Bearer flow.
    pub(crate) certificate: String,
    /// The consumer key that the app is to have. Some orgs take one at creation, others refuse it and make their own.
    pub(crate) consumer_key: Option<String>,
    /// Permission sets whose users the app lets in: names, not ids.
    pub(crate) permission_sets: Vec<ApiName>,
    /// How long a session lives without activity.
    pub(crate) session_timeout_minutes: Option<u32>,
}

/// A developer name: of an app or of a permission set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiName(String);

/// A label, on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(String);

/// An e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Email(String);

impl ApiName {
    /// A name that Salesforce takes, made of words that people use: `acme dev` becomes `acme_dev`.
    pub(crate) fn suggested(prefix: &str, words: &str) -> Self {
        let mut name = String::from(prefix);
        for c in words.chars() {
            match c {
                c if c.is_ascii_alphanumeric() => name.push(c),
                _ if name.ends_with('_') => {}
                _ => name.push('_'),
            }
        }
        name.truncate(MAX_API_NAME);
        Self(name.trim_end_matches('_').to_owned())
    }
}

impl FromStr for ApiName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !text.ends_with('_')
            && !text.contains("__");
        if !good {
            return Err(
                "an API name has letters, digits and single underscores, begins with a letter and does not end \
                 with an underscore"
                    .to_owned(),
            );
        }
        shorter_than(text, MAX_API_NAME).map(Self)
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.contains(char::is_control) {
            return Err("a label is one line of text".to_owned());
        }
        shorter_than(text.trim(), MAX_LABEL).map(Self)
    }
}

impl FromStr for Email {
    type Err = String;

    /// As much of RFC 5321 as keeps a typing error out: the org checks the rest.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        let good = text.split_once('@').is_some_and(|(local, domain)| {
            plain(local)
                && plain(domain)
                && !domain.contains('@')
                && domain.contains('.')
                && domain.split('.').all(|label| !label.is_empty())
        });
        if !good {
            return Err("an e-mail address is needed, such as admin@acme.com".to_owned());
        }
        shorter_than(text, MAX_EMAIL).map(Self)
    }
}

fn shorter_than(text: &str, max: usize) -> Result<String, String> {
    let length = text.chars().count();
    if length > max {
        return Err(format!("it has {length} characters, and Salesforce takes {max}"));
    }
    Ok(text.to_owned())
}

macro_rules! shown_as_written {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

shown_as_written!(ApiName, Label, Email);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_salesforce_takes() {
        for good in ["sfkey", "Sf_Key_2", "a"] {
            assert!(good.parse::<ApiName>().is_ok(), "{good}");
        }
        let long = "a".repeat(61);
        for bad in [
            "", "2fast", "_a", "a_", "a__b", "a b", "a-b", "a.b", "ä", "<x>", &long,
        ] {
            assert!(bad.parse::<ApiName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_suggested_name_is_a_good_one_whatever_the_account_is_called() {
        for (words, name) in [
            ("prod", "sfkey_prod"),
            ("ci@acme.com", "sfkey_ci_acme_com"),
            ("a+-b__c_", "sfkey_a_b_c"),
            ("-", "sfkey"),
        ] {
            let suggested = ApiName::suggested("sfkey_", words);
            assert_eq!(suggested.to_string(), name);
            assert!(name.parse::<ApiName>().is_ok(), "{name}");
        }
        let long = ApiName::suggested("sfkey_", &"x".repeat(80)).to_string();
        assert!(long.parse::<ApiName>().is_ok(), "{long}");
    }

    #[test]
    fn a_label_is_a_line_and_an_address_has_a_domain() {
        assert_eq!(
            "  sfkey <prod> ".parse::<Label>(),
            Ok(Label("sfkey <prod>".to_owned()))
        );
        assert!("".parse::<Label>().is_err() && "a\nb".parse::<Label>().is_err());
        assert!("x".repeat(81).parse::<Label>().is_err());
        assert!("admin@acme.com".parse::<Email>().is_ok());
        for bad in [
            "",
            "admin",
            "admin@acme",
            "@acme.com",
            "a b@acme.com",
            "a@b@c.de",
            "a@.de",
            "a@b..de",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }
}
