//! A token as text: alone, as a header, as shell variables.

use sfkey::proto::v1::Token;
use zeroize::Zeroizing;

use crate::quote;

/// The forms in which `sfkey token` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TokenFormat {
    /// The token alone
    Token,
    /// One JSON object with the token and what is known of it
    Json,
    /// Lines `export NAME='…'` for a shell's eval
    Env,
    /// The line `Authorization: Bearer …`
    Header,
}

/// Whether the sf CLI can take the token as `SF_TARGET_ORG`: opaque tokens hold the organization id and `!`.
pub(super) fn is_opaque(token: &Token) -> bool {
    token.access_token.contains('!')
}

/// The variables that carry a token to a program; `None` is one that must not be set.
pub(crate) fn variables(token: &Token) -> [(&'static str, Option<&str>); 6] {
    let secret = Some(token.access_token.as_str());
    let instance_url = Some(token.instance_url.as_str());
    [
        ("SF_ACCESS_TOKEN", secret),
        ("SF_ORG_INSTANCE_URL", instance_url),
        ("SF_TARGET_ORG", secret.filter(|_| is_opaque(token))),
        ("SALESFORCE_ACCESS_TOKEN", secret),
        ("SALESFORCE_INSTANCE_URL", instance_url),
        ("SFKEY_ACCOUNT", Some(token.account.as_str())),
    ]
}

/// The text of every form but JSON, with its line end.
pub(super) fn render(token: &Token, format: TokenFormat) -> Zeroizing<String> {
    // Large enough that no growing leaves a copy behind: the secret stands there three times at most.
    let mut text = Zeroizing::new(String::with_capacity(4 * token.access_token.len() + 4096));
    match format {
        TokenFormat::Header => {
            text.push_str("Authorization: Bearer ");
            text.push_str(&token.access_token);
            text.push('\n');
        }
        TokenFormat::Env => {
            for (name, value) in variables(token) {
                if let Some(value) = value {
                    let quoted = Zeroizing::new(quote::shell(value));
                    for part in ["export ", name, "=", &quoted, "\n"] {
                        text.push_str(part);
                    }
                }
            }
        }
        TokenFormat::Token | TokenFormat::Json => {
            text.push_str(&token.access_token);
            text.push('\n');
        }
    }
    text
}

/// A warning code of the contract in words.
pub(super) fn warning(code: &str) -> String {
    match code {
        "MIN_VALID_CAPPED" => {
            "--min-valid asks for more than this account's tokens live; the token is as fresh as it gets"
        }
        "FRESH_LIMITED" => "a new token was asked for less than 30 s ago; this is the one that is held",
        "STALE" => "Salesforce gave no new token; this one still lives (sfkey list shows the last error)",
        "CLOCK_SKEW" => {
            "this machine's clock differs from that of Salesforce; sfkey status shows by how much"
        }
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &str) -> Token {
        let mut token = Token::default();
        token.account = "prod".to_owned();
        token.access_token = secret.to_owned();
        token.instance_url = "https://acme.my.salesforce.com".to_owned();
        token
    }

    #[test]
    fn each_form_ends_with_a_line_end() {
        let token = token("00D!AQ");
        assert_eq!(&*render(&token, TokenFormat::Token), "00D!AQ\n");
        assert_eq!(
            &*render(&token, TokenFormat::Header),
            "Authorization: Bearer 00D!AQ\n"
        );
        assert_eq!(
            &*render(&token, TokenFormat::Env),
            "export SF_ACCESS_TOKEN='00D!AQ'\n\
             export SF_ORG_INSTANCE_URL='https://acme.my.salesforce.com'\n\
             export SF_TARGET_ORG='00D!AQ'\n\
             export SALESFORCE_ACCESS_TOKEN='00D!AQ'\n\
             export SALESFORCE_INSTANCE_URL='https://acme.my.salesforce.com'\n\
             export SFKEY_ACCOUNT='prod'\n"
        );
    }

    #[test]
    fn a_jwt_token_is_no_target_org() {
        let token = token("eyJ0.eyJl.c2ln");
        assert!(!render(&token, TokenFormat::Env).contains("SF_TARGET_ORG"));
        assert_eq!(variables(&token)[2], ("SF_TARGET_ORG", None));
    }
}
