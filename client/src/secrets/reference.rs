//! Where a secret is kept, as it is written in the configuration and on the command line.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use sfkey::Environment;

/// Where a secret is kept; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// `keyring`: the OS keyring.
    Keyring,
    /// `file:PATH`.
    File(PathBuf),
    /// `credential:NAME`: a systemd credential.
    Credential(String),
    /// `env:NAME`: an environment variable.
    Variable(String),
    /// `-`, on the command line only.
    StandardInput,
}

/// Why a text is no reference. Holds nothing of the text, for it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidReference {
    /// No known scheme.
    #[error(
        "is no reference: write keyring, file:PATH, credential:NAME or env:NAME, never the secret itself"
    )]
    Scheme,
    /// A scheme without anything behind it.
    #[error("names nothing behind its colon")]
    Empty,
    /// A credential's name with a path in it.
    #[error("names a credential by a path: write credential:NAME, with NAME as in LoadCredential=")]
    CredentialName,
}

impl Reference {
    /// Reads a reference. Relative paths are relative to `base`, and `~/` is the home directory.
    pub(crate) fn parse(
        text: &str,
        base: &Path,
        environment: &Environment,
    ) -> Result<Self, InvalidReference> {
        if text == "keyring" {
            return Ok(Self::Keyring);
        }
        let (scheme, rest) = text.split_once(':').ok_or(InvalidReference::Scheme)?;
        match (scheme, rest) {
            ("file" | "credential" | "env", "") => Err(InvalidReference::Empty),
            ("file", path) => Ok(Self::file(path, base, environment)),
            ("credential", name) if name.contains('/') || name == ".." || name == "." => {
                Err(InvalidReference::CredentialName)
            }
            ("credential", name) => Ok(Self::Credential(name.to_owned())),
            ("env", name) => Ok(Self::Variable(name.to_owned())),
            _ => Err(InvalidReference::Scheme),
        }
    }

    /// Reads a reference to a key, which may be a bare path too.
    pub(crate) fn parse_key(
        text: &str,
        base: &Path,
        environment: &Environment,
    ) -> Result<Self, InvalidReference> {
        match Self::parse(text, base, environment) {
            Err(InvalidReference::Scheme) if may_be_path(text) => Ok(Self::file(text, base, environment)),
            parsed => parsed,
        }
    }

    /// A file, by a path that may be relative to `base` or to the home directory.
    pub(crate) fn file(path: &str, base: &Path, environment: &Environment) -> Self {
        Self::File(base.join(environment.expand(path)))
    }
}

/// Whether a text can be meant as a path. A pasted key, as PEM or as base64 of DER, is none.
fn may_be_path(text: &str) -> bool {
    const LONGEST_BEGINNING_LIKE_A_KEY: usize = 200;
    let like_a_key =
        text.contains("-----BEGIN") || (text.starts_with("MII") && text.len() > LONGEST_BEGINNING_LIKE_A_KEY);
    !text.is_empty() && !text.contains(char::is_control) && !like_a_key
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => f.write_str("keyring"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, InvalidReference> {
        let environment = Environment {
            home: Some("/home/me".into()),
            ..Environment::default()
        };
        Reference::parse(text, Path::new("/etc/sfkey"), &environment)
    }

    #[test]
    fn every_kind_of_reference_is_read() {
        let file = |path: &str| Ok(Reference::File(path.into()));
        assert_eq!(parse("keyring"), Ok(Reference::Keyring));
        assert_eq!(parse("file:/a/b"), file("/a/b"));
        assert_eq!(parse("file:keys/b"), file("/etc/sfkey/keys/b"));
        assert_eq!(parse("file:~/b"), file("/home/me/b"));
        assert_eq!(
            parse("credential:key"),
            Ok(Reference::Credential("key".to_owned()))
        );
        assert_eq!(parse("env:KEY"), Ok(Reference::Variable("KEY".to_owned())));
    }

    #[test]
    fn what_may_be_the_secret_itself_is_refused_and_not_repeated() {
        let error = parse("hunter2").expect_err("no reference");
        assert_eq!(error, InvalidReference::Scheme);
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(parse("Keyring"), Err(InvalidReference::Scheme));
        assert_eq!(parse("file:"), Err(InvalidReference::Empty));
        assert_eq!(parse("credential:../x"), Err(InvalidReference::CredentialName));
        assert_eq!(parse("credential:.."), Err(InvalidReference::CredentialName));
    }

    #[test]
    fn a_key_may_be_a_bare_path() {
        let environment = Environment::default();
        let parse = |text| Reference::parse_key(text, Path::new("/work"), &environment);
        assert_eq!(
            parse("server.key"),
            Ok(Reference::File("/work/server.key".into()))
        );
        assert_eq!(parse("a:b.key"), Ok(Reference::File("/work/a:b.key".into())));
        assert_eq!(parse("env:K"), Ok(Reference::Variable("K".to_owned())));
        for no_path in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "a\nb",
            &format!("MII{}", "x".repeat(300)),
        ] {
            assert_eq!(parse(no_path), Err(InvalidReference::Scheme), "{no_path:?}");
        }
    }
}
