//! A key pair of its own for the account, and a certificate for a key that has none.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use sfkey::keyfile::{KeyFile, Passphrase};
use zeroize::Zeroizing;

use super::{
    Walk,
    answers::{ASK, Field},
};
use crate::{
    commands::keygen::{self, Order, Paper},
    exit::{Cause, Failure, words},
    keypair::{self, Bits, DEFAULT_DAYS, KeyPair, NewFile, Subject},
    secrets::{self, Purpose, Reference, keyring::Unlock},
};

impl Walk<'_> {
    /// Makes the key that the answers want made, unless an earlier run has done so, and opens it.
    pub(super) fn make_the_key(&mut self) -> Result<(), Failure> {
        let path = PathBuf::from(self.required(Field::NewKey)?);
        let reference = Reference::File(path.clone());
        let certificate = path.with_extension("crt");
        if !path.exists() {
            let order = Order {
                bits: Bits::Rsa2048,
                subject: Subject::default(),
                paper: Paper::Certificate { days: DEFAULT_DAYS },
                key_file: path.clone(),
                paper_file: certificate.clone(),
            };
            make_directory_of(&path)?;
            order.refuse_existing()?;
            let passphrase = self.passphrase_of_the_new_key()?;
            order.carry_out(passphrase.as_ref(), self.invocation.now)?;
            let key = KeyFile::read(&path).and_then(|file| file.decode(passphrase.as_ref()));
            self.key = Some(key.map_err(|error| secrets::key_failure(&reference, &error))?);
            if let Some(interview) = &self.interview {
                interview.say(&format!(
                    "Made: {}, and its certificate {}",
                    path.display(),
                    certificate.display()
                ));
            }
        }
        self.answers.set(Field::Key, reference.to_string());
        self.answers
            .fill_one(Field::Certificate, certificate.display().to_string());
        Ok(())
    }

    /// What it is encrypted under; nothing only where that is said.
    fn passphrase_of_the_new_key(&mut self) -> Result<Option<Passphrase>, Failure> {
        if let Some(reference) = self.reference(Field::Passphrase)? {
            let environment = &self.invocation.environment;
            let read = secrets::read(
                &reference,
                Purpose::NewKey,
                Unlock::Never,
                environment,
                self.invocation.output,
            )?;
            return Ok(Some(Passphrase::new(read)));
        }
        if self.answers.is(Field::NoPassphrase, "yes") {
            return Ok(None);
        }
        if self.interview.is_none() {
            return Err(Failure::new(
                Cause::Usage,
                "the answers say nothing of the new key's passphrase",
                "add passphrase = \"file:PATH\" to them, or no_passphrase = \"yes\"",
            ));
        }
        let passphrase = keygen::choose_passphrase("the new key")?;
        self.answers.set(Field::Passphrase, ASK);
        Ok(Some(passphrase))
    }

    /// Makes a certificate for a key that is there, beside it.
    pub(super) fn make_the_certificate(&mut self) -> Result<bool, Failure> {
        let key = self.key.as_ref().expect("the key was opened before");
        let path = match self.reference(Field::Key)? {
            Some(Reference::File(key)) => key.with_extension("crt"),
            _ => self.own_file("keys", "crt")?,
        };
        // The pair takes the key with it; what signs here is a copy.
        let copy =
            KeyFile::from_bytes(Zeroizing::new(key.pkcs1_der().to_vec())).and_then(|file| file.decode(None));
        let copy = copy.map_err(|error| Failure::new(Cause::Key, error.to_string(), "run it again"))?;
        let pair = KeyPair::of(copy)?;
        let certificate = pair.certificate(&Subject::default(), DEFAULT_DAYS, self.invocation.now)?;
        make_directory_of(&path)?;
        keypair::create(&[NewFile {
            path: &path,
            content: certificate.pem.as_bytes(),
            mode: 0o644,
        }])?;
        if let Some(interview) = &self.interview {
            interview.say(&format!("Made: {}", path.display()));
        }
        self.answers.set(Field::Certificate, path.display().to_string());
        Ok(true)
    }
}

fn make_directory_of(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| {
        Failure::new(
            Cause::Io,
            format!("cannot make {}: {}", directory.display(), words(&error)),
            "name a file in a directory of yours",
        )
    })
}
