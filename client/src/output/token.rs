//! A token as text: alone, as a header, as shell variables.

use sfkey::proto::v1::Token;
use zeroize::Zeroizing;

use crate::{
    exit::{Cause, Failure},
    quote,
};

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
    /// A line for `curl --config -`
    Curl,
    /// Lines `NAME=…` for a .env file
    Dotenv,
    /// What `sf org auth show-access-token --json` prints
    Sf,
}

/// A shell whose `eval` is to read the variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// sh, dash, bash, ksh, zsh
    #[default]
    Sh,
    /// csh, tcsh
    Csh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

impl Shell {
    /// The line that sets a variable for the commands to come. In csh and fish, eval joins lines.
    fn export(self, name: &str, value: &str) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Self::Sh => format!("export {name}={}\n", quote::shell(value)),
            Self::Csh => format!("setenv {name} {};\n", quote::csh(value)),
            Self::Fish => format!("set -gx {name} {};\n", quote::fish(value)),
            Self::Powershell => format!("$Env:{name} = {}\n", quote::powershell(value)),
        })
    }
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

/// The text of every form that is not JSON, with its line end.
pub(super) fn render(token: &Token, format: TokenFormat, shell: Shell) -> Result<Zeroizing<String>, Failure> {
    // Large enough that no growing leaves a copy behind: the secret stands there three times at most.
    let mut text = Zeroizing::new(String::with_capacity(8 * token.access_token.len() + 4096));
    let header = || Zeroizing::new(format!("Authorization: Bearer {}", token.access_token));
    match format {
        TokenFormat::Header => {
            text.push_str(&header());
            text.push('\n');
        }
        TokenFormat::Curl => {
            let quoted = Zeroizing::new(quote::curl(&header()));
            for part in ["header = ", &quoted, "\n"] {
                text.push_str(part);
            }
        }
        TokenFormat::Env => set_variables(token).for_each(|(name, value)| {
            text.push_str(&shell.export(name, value));
        }),
        TokenFormat::Dotenv => {
            for (name, value) in set_variables(token) {
                if !reads_alike_everywhere(value) {
                    return Err(no_dotenv(name));
                }
                for part in [name, "=", value, "\n"] {
                    text.push_str(part);
                }
            }
        }
        TokenFormat::Token | TokenFormat::Json | TokenFormat::Sf => {
            text.push_str(&token.access_token);
            text.push('\n');
        }
    }
    Ok(text)
}

fn set_variables(token: &Token) -> impl Iterator<Item = (&'static str, &str)> {
    let all = variables(token).into_iter();
    all.filter_map(|(name, value)| Some((name, value?)))
}

/// Whether every reader of .env files takes the value as it stands, without quotes: `docker run --env-file`
/// keeps quotes as part of the value, others interpolate or end at `#`. Salesforce's tokens and URLs have
/// none of that.
fn reads_alike_everywhere(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!._-:/@+%,=".contains(c);
    value.chars().all(plain)
}

fn no_dotenv(name: &str) -> Failure {
    Failure::new(
        Cause::Usage,
        format!("{name} holds characters that readers of .env files do not agree on"),
        "take another form: -o env, or -o json",
    )
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

    fn plain(token: &Token, format: TokenFormat) -> String {
        let text = render(token, format, Shell::Sh).expect("a good token");
        text.to_string()
    }

    #[test]
    fn each_form_ends_with_a_line_end() {
        let token = token("00D!AQ");
        assert_eq!(plain(&token, TokenFormat::Token), "00D!AQ\n");
        assert_eq!(
            plain(&token, TokenFormat::Header),
            "Authorization: Bearer 00D!AQ\n"
        );
        assert_eq!(
            plain(&token, TokenFormat::Env),
            "export SF_ACCESS_TOKEN='00D!AQ'\n\
             export SF_ORG_INSTANCE_URL='https://acme.my.salesforce.com'\n\
             export SF_TARGET_ORG='00D!AQ'\n\
             export SALESFORCE_ACCESS_TOKEN='00D!AQ'\n\
             export SALESFORCE_INSTANCE_URL='https://acme.my.salesforce.com'\n\
             export SFKEY_ACCOUNT='prod'\n"
        );
    }

    #[test]
    fn each_shell_sets_variables_in_its_own_way() {
        let token = token("00D!AQ");
        let first = |shell| {
            let text = render(&token, TokenFormat::Env, shell).expect("a good token");
            text.lines().next().expect("a line").to_owned()
        };
        assert_eq!(first(Shell::Sh), "export SF_ACCESS_TOKEN='00D!AQ'");
        assert_eq!(first(Shell::Csh), r"setenv SF_ACCESS_TOKEN '00D\!AQ';");
        assert_eq!(first(Shell::Fish), "set -gx SF_ACCESS_TOKEN '00D!AQ';");
        assert_eq!(first(Shell::Powershell), "$Env:SF_ACCESS_TOKEN = '00D!AQ'");
    }

    #[test]
    fn curl_and_dotenv_have_lines_of_their_own() {
        assert_eq!(
            plain(&token(r#"0"0\"#), TokenFormat::Curl),
            concat!(r#"header = "Authorization: Bearer 0\"0\\""#, "\n")
        );
        let dotenv = plain(&token("00D!AQ"), TokenFormat::Dotenv);
        assert!(
            dotenv.starts_with("SF_ACCESS_TOKEN=00D!AQ\nSF_ORG_INSTANCE_URL=https://acme"),
            "{dotenv}"
        );
        for odd in ["a b", "a#b", "a$b", "a'b", "a`b", "a\\b"] {
            let refused = render(&token(odd), TokenFormat::Dotenv, Shell::Sh).expect_err(odd);
            assert!(!refused.message.contains(odd), "{}", refused.message);
        }
    }

    #[test]
    fn a_jwt_token_is_no_target_org() {
        let token = token("eyJ0.eyJl.c2ln");
        assert!(!plain(&token, TokenFormat::Env).contains("SF_TARGET_ORG"));
        assert_eq!(variables(&token)[2], ("SF_TARGET_ORG", None));
    }
}
