//! The key pair: which private key, and the certificate that Salesforce has or is to have of it.

use std::path::{Path, PathBuf};

use sfkey::keyfile::{KeyFileError, Passphrase, PrivateKey};

use super::{
    Walk,
    answers::{ASK, Field, NEW_APP, NONE},
};
use crate::{
    certificate::Certificate,
    exit::{Cause, Failure},
    quote,
    secrets::{self, Purpose, Reference},
};

impl Walk<'_> {
    /// Step 3: finds the key, opens it, and compares the certificate with it.
    pub(super) fn key_pair(&mut self) -> Result<(), Failure> {
        if let Some(interview) = &self.interview {
            interview.step(3, "The key");
        }
        while self.key.is_none() {
            self.ask_for_the_key()?;
            self.keep()?;
            if self.answers.get(Field::Key).is_none() {
                if let Err(failure) = self.make_the_key() {
                    self.ask_again(failure, Field::NewKey)?;
                }
                continue;
            }
            match self.open_key() {
                Ok(key) => self.key = Some(key),
                Err(failure) => {
                    self.answers.forget(Field::NewKey);
                    self.ask_again(failure, Field::Key)?;
                }
            }
        }
        self.tell_the_key();
        self.keep()?;
        self.certificate_of_the_key()?;
        self.keep()
    }

    fn ask_for_the_key(&mut self) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        if self.answers.get(Field::Key).is_some() || self.answers.get(Field::NewKey).is_some() {
            return Ok(());
        }
        interview.say(
            "The app has a certificate; whoever has its private key may log in. On disk the key is best encrypted: \
             only the agent ever holds it open.",
        );
        let new = self.answers.is(Field::App, NEW_APP);
        if interview.choose("Which key", &["one that is there", "a new one"], usize::from(new))? == 1 {
            let file = self.own_file("keys", "key")?.display().to_string();
            return interview.ask(&mut self.answers, Field::NewKey, "File for it", Some(&file));
        }
        interview.ask(&mut self.answers, Field::Key, "Private key (a file)", None)
    }

    /// Reads and opens the key that the answers name.
    fn open_key(&mut self) -> Result<PrivateKey, Failure> {
        let reference = self
            .reference(Field::Key)?
            .ok_or_else(|| self.missing(Field::Key))?;
        let environment = &self.invocation.environment;
        let account = self.account()?;
        let key = secrets::read_key(
            &reference,
            Some(&account),
            self.unlock(),
            environment,
            self.invocation.output,
        )?;
        if !key.needs_passphrase() {
            self.tell_that_it_lies_open(&reference);
            return key
                .decode(None)
                .map_err(|error| secrets::key_failure(&reference, &error));
        }
        if let Some(passphrase) = self.reference(Field::Passphrase)? {
            let read = secrets::read(
                &passphrase,
                Purpose::Passphrase(&account),
                self.unlock(),
                environment,
                self.invocation.output,
            )?;
            return key
                .decode(Some(&Passphrase::new(read)))
                .map_err(|error| secrets::key_failure(&reference, &error));
        }
        let Some(interview) = &self.interview else {
            return Err(Failure::new(
                Cause::Passphrase,
                format!("{reference} is encrypted, and there is nobody to ask for its passphrase"),
                "add passphrase = \"file:PATH\" to the answers",
            ));
        };
        loop {
            let question = format!("Passphrase of {}: ", place(&reference));
            let Some(typed) = interview.secret(&question)? else {
                return Err(Failure::new(
                    Cause::Secret,
                    format!("{} is encrypted, and no passphrase was typed", place(&reference)),
                    "name another key, or type its passphrase",
                ));
            };
            match key.decode(Some(&Passphrase::new(typed))) {
                Err(KeyFileError::WrongPassphrase) => interview.say("  That is not its passphrase."),
                decoded => {
                    let key = decoded.map_err(|error| secrets::key_failure(&reference, &error))?;
                    self.answers.set(Field::Passphrase, ASK);
                    return Ok(key);
                }
            }
        }
    }

    fn tell_that_it_lies_open(&self, reference: &Reference) {
        if let (Some(interview), Reference::File(path)) = (&self.interview, reference) {
            let word = quote::word(&path.to_string_lossy());
            interview.say(
                "This key is not encrypted: whoever reads the file can log in. To encrypt it, now or later:",
            );
            interview.verbatim(&format!(
                "  openssl pkcs8 -topk8 -v2 aes-256-cbc -in {word} -out {word}.encrypted && mv {word}.encrypted {word}"
            ));
        }
    }

    fn tell_the_key(&self) {
        let (Some(interview), Some(key)) = (&self.interview, &self.key) else {
            return;
        };
        interview.say(&format!(
            "RSA, {} bits, SHA256 {}",
            key.bits(),
            key.spki_fingerprint()
        ));
    }

    /// A new app needs the certificate; of an app that is there, comparing it finds the most frequent mistake
    /// before Salesforce does.
    fn certificate_of_the_key(&mut self) -> Result<(), Failure> {
        loop {
            if self.answers.get(Field::Certificate).is_none() && !self.ask_for_the_certificate()? {
                return Ok(());
            }
            if self.answers.is(Field::Certificate, NONE) {
                return Ok(());
            }
            match self.read_certificate() {
                Ok(certificate) => {
                    self.tell_the_certificate(&certificate);
                    return Ok(());
                }
                Err(failure) => self.ask_again(failure, Field::Certificate)?,
            }
        }
    }

    /// Whether there is one to look at.
    fn ask_for_the_certificate(&mut self) -> Result<bool, Failure> {
        let needed = self.answers.is(Field::App, NEW_APP);
        let Some(interview) = &self.interview else {
            return if needed {
                Err(self.missing(Field::Certificate))
            } else {
                Ok(false)
            };
        };
        let beside = self.certificate_beside_the_key();
        if needed
            && beside.is_none()
            && interview.yes("Make a certificate for it (one year, self-signed)", true)?
        {
            return self.make_the_certificate();
        }
        if needed || beside.is_some() {
            let default = beside.map(|path| path.display().to_string());
            interview.ask(
                &mut self.answers,
                Field::Certificate,
                "Its certificate (a file)",
                default.as_deref(),
            )?;
            return Ok(true);
        }
        let typed =
            interview.optional("The certificate that the app has, to compare (a file; Enter: skip)")?;
        let certificate = typed.map_or_else(|| NONE.to_owned(), |path| self.absolute(&path));
        self.answers.set(Field::Certificate, certificate);
        Ok(true)
    }

    /// `server.crt` beside `server.key`, where there is one.
    fn certificate_beside_the_key(&self) -> Option<PathBuf> {
        let Ok(Some(Reference::File(key))) = self.reference(Field::Key) else {
            return None;
        };
        ["crt", "pem", "cer"]
            .map(|suffix| key.with_extension(suffix))
            .into_iter()
            .find(|path| *path != key && path.is_file())
    }

    fn read_certificate(&self) -> Result<Certificate, Failure> {
        let path = Path::new(self.required(Field::Certificate)?);
        let key = self.key.as_ref().expect("the key was opened before");
        let shown = path.display();
        Certificate::read(path)
            .and_then(|certificate| {
                certificate
                    .require_good(key, self.invocation.now)
                    .map(|()| certificate)
            })
            .map_err(|error| {
                Failure::new(
                    Cause::Key,
                    format!("{shown}: {error}"),
                    format!(
                        "name the certificate of this key; to make one: openssl req -new -x509 -sha256 -days 365 \
                         -key KEY -out {} -subj /CN=sfkey",
                        quote::word(&shown.to_string())
                    ),
                )
            })
    }

    fn tell_the_certificate(&self, certificate: &Certificate) {
        if let Some(interview) = &self.interview {
            interview.say(&format!(
                "Certificate of {}, until {}",
                certificate.subject(),
                certificate.ends_at().strftime("%Y-%m-%d")
            ));
        }
    }

    /// The certificate as PEM.
    pub(super) fn certificate(&self) -> Result<String, Failure> {
        Ok(self.read_certificate()?.pem().to_owned())
    }
}

/// A reference as people say it: of a file only its path.
fn place(reference: &Reference) -> String {
    match reference {
        Reference::File(path) => path.display().to_string(),
        other => other.to_string(),
    }
}
