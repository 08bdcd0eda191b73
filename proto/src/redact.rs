//! Debug without secrets, and wiping, for the messages that carry one.

use std::fmt;

use zeroize::Zeroize;

use crate::v1::{AccountSpec, LockSpec, Token, UnlockSpec};

/// Stands where a secret would: its presence is worth showing, its content and length are not.
struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("account", &self.account)
            .field("access_token", &Redacted)
            .field("instance_url", &self.instance_url)
            .field("expires_at", &self.expires_at)
            .field("expiry_source", &self.expiry_source)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AccountSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountSpec")
            .field("account", &self.account)
            .field("login_url", &self.login_url)
            .field("audience", &self.audience)
            .field("consumer_key", &self.consumer_key)
            .field("username", &self.username)
            .field("private_key", &Redacted)
            .field(
                "consumer_secret",
                &self.consumer_secret.as_ref().map(|_| Redacted),
            )
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LockSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockSpec").field("passphrase", &Redacted).finish()
    }
}

impl fmt::Debug for UnlockSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnlockSpec")
            .field("passphrase", &Redacted)
            .finish()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

impl Drop for AccountSpec {
    fn drop(&mut self) {
        self.private_key.zeroize();
        self.consumer_secret.zeroize();
    }
}

impl Drop for LockSpec {
    fn drop(&mut self) {
        self.passphrase.zeroize();
    }
}

impl Drop for UnlockSpec {
    fn drop(&mut self) {
        self.passphrase.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{GetTokenResponse, ReportRejectedResponse, WatchTokenResponse};

    const CANARY: &str = "canary-5f1b0c";

    fn assert_hidden(message: &dyn fmt::Debug) {
        for text in [format!("{message:?}"), format!("{message:#?}")] {
            assert!(!text.contains(CANARY), "{text}");
            // Bytes print as numbers; the first three of the canary would be these.
            assert!(!text.contains("99, 97, 110") && !text.contains("99,\n"), "{text}");
            assert!(text.contains("[redacted]"), "{text}");
        }
    }

    #[test]
    fn debug_of_every_message_with_a_secret_hides_it() {
        let mut token = Token::default();
        token.access_token = CANARY.to_owned();
        let some = Some(token.clone());
        assert_hidden(&token);
        assert_hidden(&GetTokenResponse {
            token: some.clone(),
            protocol_version: 1,
        });
        assert_hidden(&WatchTokenResponse {
            token: some.clone(),
            protocol_version: 1,
        });
        assert_hidden(&ReportRejectedResponse {
            token: some,
            protocol_version: 1,
        });
        assert_hidden(&LockSpec {
            passphrase: CANARY.into(),
        });
        assert_hidden(&UnlockSpec {
            passphrase: CANARY.into(),
        });
        let mut spec = AccountSpec::default();
        spec.private_key = CANARY.into();
        spec.consumer_secret = Some(CANARY.to_owned());
        assert_hidden(&spec);
    }
}
