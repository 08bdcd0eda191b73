//! Who a certificate names.

use std::str::FromStr;

use x509_cert::name::Name;

/// The subject of a certificate or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject(Name);

/// Why a text is no subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is written like /CN=sfkey/O=Acme/C=DE or CN=sfkey,O=Acme,C=DE")]
pub(crate) struct InvalidSubject;

impl Subject {
    pub(super) fn name(&self) -> &Name {
        &self.0
    }
}

impl Default for Subject {
    fn default() -> Self {
        Self::from_str("CN=sfkey").expect("it is a subject")
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    /// Reads what openssl's `-subj` takes, or a name in the form of RFC 4514.
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        if text.contains(char::is_control) {
            return Err(InvalidSubject);
        }
        let rfc_4514 = match text.strip_prefix('/') {
            Some(parts) => reversed(parts).ok_or(InvalidSubject)?,
            None => text.to_owned(),
        };
        match Name::from_str(&rfc_4514) {
            Ok(name) if !name.is_empty() => Ok(Self(name)),
            _ => Err(InvalidSubject),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// `C=DE/O=Acme/CN=sfkey` as RFC 4514 has it: the last part first, between commas. A slash within a value is
/// written `\/`, as for openssl.
fn reversed(parts: &str) -> Option<String> {
    const SLASH: &str = "\u{0}";
    let parts = parts.replace("\\/", SLASH);
    let parts: Option<Vec<String>> = parts
        .split('/')
        .rev()
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            Some(format!("{key}={}", escaped(&value.replace(SLASH, "/"))))
        })
        .collect();
    Some(parts?.join(","))
}

/// `value` with a backslash before whatever RFC 4514 gives a meaning.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '#' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, InvalidSubject> {
        Subject::from_str(text).map(|subject| subject.to_string())
    }

    #[test]
    fn openssls_form_and_that_of_rfc_4514_name_the_same() {
        let subject = "CN=sfkey,O=Acme,C=DE";
        assert_eq!(shown(subject).as_deref(), Ok(subject));
        assert_eq!(shown("/C=DE/O=Acme/CN=sfkey").as_deref(), Ok(subject));
        assert_eq!(shown("/CN=a, b+c").as_deref(), Ok("CN=a\\, b\\+c"));
        assert_eq!(shown("/CN=ci\\/cd").as_deref(), Ok("CN=ci/cd"));
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in ["", "/", "sfkey", "/sfkey", "CN", "XX=1", "/CN=a//O=b", "CN=a\nb"] {
            assert_eq!(shown(text), Err(InvalidSubject), "{text:?}");
        }
    }
}
