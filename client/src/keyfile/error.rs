//! Why a key file could not be used, and what to do about it.

use std::io;

use thiserror::Error;

/// Why a key file could not be used: `Display` says what happened, [`KeyFileError::fix`] what to do.
///
/// Holds nothing of the file's content and nothing of a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file does not exist.
    #[error("the key file does not exist")]
    NotFound,
    /// The file may not be read by this user.
    #[error("the key file may not be read by this user")]
    PermissionDenied,
    /// Any other failure to open or read the file.
    #[error("the key file cannot be read: {0}")]
    Io(io::ErrorKind),
    /// The path names a directory.
    #[error("the key file is a directory")]
    Directory,
    /// The path names a device or a socket.
    #[error("the key file is neither a regular file nor a pipe")]
    NotAFile,
    /// A pipe stayed open without delivering.
    #[error("the pipe given as key file stayed silent")]
    SilentPipe,
    /// The file is larger than any key or keystore.
    #[error("the file is too large for a private key")]
    TooLarge,
    /// The file is empty, or white space only.
    #[error("the key file is empty")]
    Empty,
    /// A certificate, or several.
    #[error("the file holds a certificate, not a private key")]
    Certificate,
    /// A certificate signing request.
    #[error("the file holds a certificate signing request, not a private key")]
    CertificateRequest,
    /// A public key in any format.
    #[error("the file holds a public key, not a private key")]
    PublicKey,
    /// A private key of another algorithm, which is named.
    #[error("the key is {0}; Salesforce accepts RSA keys only")]
    NotRsa(&'static str),
    /// A private key in the format of OpenSSH.
    #[error("the key is in the OpenSSH format")]
    OpenSsh,
    /// A private key in the format of PuTTY.
    #[error("the key is in the PuTTY format")]
    Putty,
    /// JSON without a key inside.
    #[error("the file holds JSON, not a private key")]
    Json,
    /// HTML or XML.
    #[error("the file holds an HTML or XML page, not a private key")]
    Markup,
    /// Nothing that is known.
    #[error("the file holds no private key in a format that is known")]
    Unrecognised,
    /// A key structure that is cut off or garbled.
    #[error("the private key is damaged or cut off")]
    Damaged,
    /// More than one private key.
    #[error("the file holds {0} private keys")]
    SeveralKeys(usize),
    /// A keystore with certificates only.
    #[error("the keystore holds no private key")]
    NoKeyInKeystore,
    /// A keystore of a kind that is not read.
    #[error("the keystore is of a kind that cannot be read here")]
    UnsupportedKeystore,
    /// A keystore of Java's old JCEKS kind.
    #[error("the keystore is a JCEKS keystore, which cannot be read here")]
    Jceks,
    /// Encryption that is obsolete or unknown, such as PBES1 or single DES.
    #[error("the key is encrypted in an obsolete or unknown way (PBES1, DES or RC2, for instance)")]
    UnsupportedEncryption,
    /// A key derivation that would take too long or too much memory.
    #[error("the key asks for more work to derive its passphrase than is reasonable")]
    TooCostly,
    /// The key is encrypted and no passphrase was given.
    #[error("the key is encrypted and no passphrase was given")]
    PassphraseNeeded,
    /// The passphrase does not open the key.
    #[error("wrong passphrase for the key (or the file is damaged)")]
    WrongPassphrase,
    /// An RSA key of fewer than 2048 bits.
    #[error("the RSA key has only {0} bits; Salesforce needs at least 2048")]
    TooShort(usize),
    /// An RSA key of more than 8192 bits.
    #[error("the RSA key has {0} bits, more than the 8192 that are supported")]
    TooLong(usize),
    /// An RSA key of more than two primes.
    #[error("the RSA key has more than two primes")]
    MultiPrime,
    /// The numbers of the key contradict each other.
    #[error("the numbers of the RSA key contradict each other")]
    Inconsistent,
}

const NEW_KEY: &str = "make a new key pair: sfkey keygen";

impl KeyFileError {
    /// What to do next, as one line. `file` is the file's name as the user gave it, and is quoted for a
    /// shell.
    pub fn fix(&self, file: &str) -> String {
        let file = &quoted(file);
        match self {
            Self::NotFound => format!("check the path {file}"),
            Self::PermissionDenied => format!("look at its owner and mode: ls -l {file}"),
            Self::Io(_) => format!("look at the file: ls -l {file}"),
            Self::Directory => format!("name the key inside it: ls {file}"),
            Self::NotAFile => {
                "give a regular file, or pipe the key in: COMMAND | sfkey add NAME --key -".to_owned()
            }
            Self::SilentPipe => "let sfkey wait for the command: COMMAND | sfkey add NAME --key -".to_owned(),
            Self::TooLarge => {
                "give the file with the private key alone; those are a few kilobytes long".to_owned()
            }
            Self::Empty => "write the private key into the file again".to_owned(),
            Self::Certificate | Self::CertificateRequest | Self::PublicKey => {
                "give the private key that belongs to it, often named server.key or private.pem".to_owned()
            }
            Self::NotRsa(_) | Self::TooShort(_) | Self::TooLong(_) | Self::MultiPrime => NEW_KEY.to_owned(),
            Self::OpenSsh => format!("cp -p {file} key.pem && ssh-keygen -p -m PKCS8 -f key.pem"),
            Self::Putty => format!("puttygen {file} -O private-openssh -o key.pem"),
            Self::Json => "give the key file itself, not the settings that name it".to_owned(),
            Self::Markup => "download the key again; this looks like a login or error page".to_owned(),
            Self::Unrecognised => format!("see what OpenSSL makes of it: openssl pkey -in {file} -noout"),
            Self::Damaged => "copy the file again, from its BEGIN line to its END line".to_owned(),
            Self::SeveralKeys(_) => {
                "put the key that belongs to the account's certificate into a file of its own".to_owned()
            }
            Self::NoKeyInKeystore => "export the key again, together with its private key".to_owned(),
            Self::UnsupportedKeystore => format!("openssl pkcs12 -legacy -in {file} -nocerts -out key.pem"),
            Self::Jceks => format!(
                "keytool -importkeystore -srckeystore {file} -srcstoretype JCEKS -destkeystore key.p12 -deststoretype PKCS12"
            ),
            Self::UnsupportedEncryption => format!(
                "openssl pkcs8 -topk8 -v2 aes-256-cbc -provider legacy -provider default -in {file} -out key.pem"
            ),
            Self::TooCostly => format!("openssl pkcs8 -topk8 -v2 aes-256-cbc -in {file} -out key.pem"),
            Self::PassphraseNeeded => "run it from a terminal, or give --passphrase-file FILE".to_owned(),
            Self::WrongPassphrase => {
                "try again; to test a passphrase without sfkey, ".to_owned() + &test_command(file)
            }
            Self::Inconsistent => format!("see what is wrong with it: openssl rsa -check -noout -in {file}"),
        }
    }
}

fn test_command(file: &str) -> String {
    format!("openssl pkey -noout -in {file}")
}

/// A word for a POSIX shell. Control characters are replaced, for the line goes to a terminal.
fn quoted(file: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./+-@%:,=".contains(c);
    if !file.is_empty() && file.chars().all(plain) {
        return file.to_owned();
    }
    let visible: String = file
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    format!("'{}'", visible.replace('\'', r"'\''"))
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            kind => Self::Io(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeyFileError;

    #[test]
    fn a_recipe_quotes_an_odd_file_name_and_shows_no_control_characters() {
        let fix = KeyFileError::Putty.fix("it's\x1b[2J mine.ppk");
        assert_eq!(
            fix,
            r"puttygen 'it'\''s?[2J mine.ppk' -O private-openssh -o key.pem"
        );
        assert!(KeyFileError::Putty.fix("key.ppk").contains("puttygen key.ppk "));
    }
}
