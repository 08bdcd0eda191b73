//! `sfkey keygen`: an RSA key, and a certificate or the request for one.

use std::path::{Path, PathBuf, absolute};

use jiff::Timestamp;
use serde::Serialize;
use sfkey::keyfile::{Passphrase, PrivateKey};
use zeroize::Zeroizing;

use super::{Invocation, add::key_reference, here, load};
use crate::{
    cli::KeygenArgs,
    exit::{Cause, Failure, escape, words},
    hardening,
    keypair::{self, Bits, KeyPair, NewFile, Strength, Subject},
    quote,
    secrets::{self, Prompted, Purpose, Reference, Terminal, keyring::Unlock},
};

/// How often a new passphrase may be typed before sfkey gives up.
const ATTEMPTS: u32 = 3;

/// The file of the private key when none is named.
const DEFAULT_KEY_FILE: &str = "server.key";

/// Mode of a file that its owner alone may read.
const PRIVATE: u32 = 0o600;

/// Mode of a file that is given away.
const PUBLIC: u32 = 0o644;

/// What goes to Salesforce: for the app itself, or to a CA first.
pub(super) enum Paper {
    Certificate { days: u32 },
    Request,
}

/// Which files are to be made.
pub(super) struct Order {
    pub(super) bits: Bits,
    pub(super) subject: Subject,
    pub(super) paper: Paper,
    /// Where the private key goes.
    pub(super) key_file: PathBuf,
    /// Where the certificate or request goes.
    pub(super) paper_file: PathBuf,
}

/// What was made.
pub(super) struct Made {
    pub(super) bits: usize,
    /// SHA-256 over the public key, as the agent tells it.
    pub(super) fingerprint: String,
    /// When the certificate ends.
    pub(super) not_after: Option<Timestamp>,
}

/// What `sfkey keygen --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    key: Option<PathBuf>,
    certificate: Option<PathBuf>,
    request: Option<PathBuf>,
    bits: usize,
    encrypted: Option<bool>,
    key_fingerprint: &'a str,
    subject: String,
    not_after: Option<i64>,
}

pub(super) async fn run(invocation: &Invocation<'_>, args: KeygenArgs) -> Result<(), Failure> {
    hardening::harden();
    match &args.key {
        None => new_key(invocation, &args),
        Some(key) => paper_of_old_key(invocation, &args, key),
    }
}

fn new_key(invocation: &Invocation<'_>, args: &KeygenArgs) -> Result<(), Failure> {
    let key_file = args.out.clone().unwrap_or_else(|| DEFAULT_KEY_FILE.into());
    let order = Order {
        bits: args.bits,
        subject: args.subject.clone().unwrap_or_default(),
        paper: Paper::of(args),
        paper_file: beside(&key_file, args)?,
        key_file,
    };
    order.refuse_existing()?;
    let passphrase = match (&args.passphrase_file, args.no_passphrase) {
        (Some(file), _) => Some(passphrase_from(invocation, file)?),
        (None, true) => None,
        (None, false) => Some(choose_passphrase("the new key")?),
    };
    let made = order.carry_out(passphrase.as_ref(), invocation.now)?;
    let report = Report {
        key: Some(whole(&order.key_file)),
        encrypted: Some(passphrase.is_some()),
        ..Report::of(&made, &order.subject, &order.paper, &order.paper_file)
    };
    let kind = match passphrase {
        Some(_) => "encrypted",
        None => "NOT encrypted",
    };
    let mut lines = vec![format!(
        "Private key  {} (RSA {}, {kind})",
        order.key_file.display(),
        made.bits
    )];
    lines.extend(made.lines(&order.subject, &order.paper, &order.paper_file));
    lines.push(order.paper.next_step(&order.paper_file));
    lines.push(format!(
        "  sfkey add NAME --login-url URL --consumer-key K --username U --key {} --save",
        quote::word(&order.key_file.to_string_lossy())
    ));
    invocation.output.lines(&lines, &report)
}

/// A certificate or request for a key that exists already.
fn paper_of_old_key(invocation: &Invocation<'_>, args: &KeygenArgs, key: &str) -> Result<(), Failure> {
    let reference = key_reference(key, &here()?, &invocation.environment)?;
    let file = match (&args.out, &reference) {
        (Some(out), _) => out.clone(),
        (None, Reference::File(key)) => beside(key, args)?,
        (None, _) => beside(Path::new(DEFAULT_KEY_FILE), args)?,
    };
    keypair::refuse_existing(&file)?;
    let pair = KeyPair::of(old_key(invocation, args, &reference)?)?;
    let (subject, paper) = (args.subject.clone().unwrap_or_default(), Paper::of(args));
    let (content, not_after) = paper.sign(&pair, &subject, invocation.now)?;
    keypair::create(&[NewFile {
        path: &file,
        content: content.as_bytes(),
        mode: PUBLIC,
    }])?;
    let made = Made::of(&pair, not_after);
    let mut lines = made.lines(&subject, &paper, &file);
    lines.push(paper.next_step(&file));
    let report = Report::of(&made, &subject, &paper, &file);
    invocation.output.lines(&lines, &report)
}

fn old_key(
    invocation: &Invocation<'_>,
    args: &KeygenArgs,
    reference: &Reference,
) -> Result<PrivateKey, Failure> {
    let file = secrets::read_key(
        reference,
        None,
        Unlock::Never,
        &invocation.environment,
        invocation.output,
    )?;
    if !file.needs_passphrase() {
        return file
            .decode(None)
            .map_err(|error| secrets::key_failure(reference, &error));
    }
    match &args.passphrase_file {
        Some(passphrase) => file
            .decode(Some(&passphrase_from(invocation, passphrase)?))
            .map_err(|error| secrets::key_failure(reference, &error)),
        None => {
            let terminal = Terminal::open().ok_or_else(|| nobody_to_ask("--passphrase-file FILE"))?;
            load::ask_and_decode(&terminal, reference, &file, None)
        }
    }
}

fn passphrase_from(invocation: &Invocation<'_>, file: &str) -> Result<Passphrase, Failure> {
    let reference = Reference::file(file, &here()?, &invocation.environment);
    secrets::read(
        &reference,
        Purpose::NewKey,
        Unlock::Never,
        &invocation.environment,
        invocation.output,
    )
    .map(Passphrase::new)
}

/// Asks for a new passphrase twice, and tells how strong it is. `of` says what it protects.
pub(super) fn choose_passphrase(of: &str) -> Result<Passphrase, Failure> {
    let terminal =
        Terminal::open().ok_or_else(|| nobody_to_ask("--passphrase-file FILE, or --no-passphrase"))?;
    terminal.tell("It protects the key file; a key whose passphrase is lost is lost.");
    for _ in 0..ATTEMPTS {
        let first = ask(&terminal, &format!("New passphrase for {of}: "))?;
        terminal.tell(Strength::of(&first).words());
        if *first == *ask(&terminal, "The same again: ")? {
            return Ok(Passphrase::new(first));
        }
        terminal.tell("The two differ.");
    }
    Err(Failure::new(
        Cause::Passphrase,
        "the two passphrases differed each time; no key was made",
        "run it again, or give --passphrase-file FILE",
    ))
}

fn ask(terminal: &Terminal, question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let why = match terminal.ask(question) {
        Ok(Prompted::Passphrase(passphrase)) => return Ok(passphrase),
        Ok(Prompted::Nothing) => "nothing was typed".to_owned(),
        Err(error) => words(&error),
    };
    Err(Failure::new(
        Cause::Passphrase,
        format!("no passphrase was given, and no key was made: {why}"),
        "run it again and type one, or give --passphrase-file FILE, or --no-passphrase",
    ))
}

fn nobody_to_ask(instead: &str) -> Failure {
    Failure::new(
        Cause::Passphrase,
        "a passphrase is needed, and there is no terminal to ask on",
        format!("give {instead}"),
    )
}

impl Order {
    /// Requires that none of the files is there, before anybody is asked anything.
    pub(super) fn refuse_existing(&self) -> Result<(), Failure> {
        keypair::refuse_existing(&self.key_file)?;
        keypair::refuse_existing(&self.paper_file)
    }

    /// Makes the key and writes both files. Without `passphrase` the key is not encrypted.
    pub(super) fn carry_out(&self, passphrase: Option<&Passphrase>, now: Timestamp) -> Result<Made, Failure> {
        let pair = KeyPair::generate(self.bits)?;
        let (paper, not_after) = self.paper.sign(&pair, &self.subject, now)?;
        let key = match passphrase {
            None => pair.private().to_pem(),
            Some(passphrase) => pair.private().to_encrypted_pem(passphrase).map_err(|error| {
                Failure::new(
                    Cause::Key,
                    format!("the key cannot be encrypted: {}", words(&error)),
                    "run it again",
                )
            })?,
        };
        keypair::create(&[
            NewFile {
                path: &self.key_file,
                content: key.as_bytes(),
                mode: PRIVATE,
            },
            NewFile {
                path: &self.paper_file,
                content: paper.as_bytes(),
                mode: PUBLIC,
            },
        ])?;
        Ok(Made::of(&pair, not_after))
    }
}

impl Paper {
    fn of(args: &KeygenArgs) -> Self {
        match args.csr {
            true => Self::Request,
            false => Self::Certificate { days: args.days },
        }
    }

    /// The certificate or request as PEM, and when it ends.
    fn sign(
        &self,
        pair: &KeyPair,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<(String, Option<Timestamp>), Failure> {
        match self {
            Self::Request => Ok((pair.request(subject)?, None)),
            Self::Certificate { days } => {
                let certificate = pair.certificate(subject, *days, now)?;
                Ok((certificate.pem, Some(certificate.not_after)))
            }
        }
    }

    fn next_step(&self, file: &Path) -> String {
        let file = file.display();
        match self {
            Self::Request => format!(
                "Next: have a CA sign {file}, upload its certificate to the app in Salesforce (\"Enable JWT Bearer Flow\"), then"
            ),
            Self::Certificate { .. } => {
                format!("Next: upload {file} to the app in Salesforce (\"Enable JWT Bearer Flow\"), then")
            }
        }
    }
}

impl Made {
    fn of(pair: &KeyPair, not_after: Option<Timestamp>) -> Self {
        Self {
            bits: pair.private().bits(),
            fingerprint: pair.private().spki_fingerprint(),
            not_after,
        }
    }

    fn lines(&self, subject: &Subject, paper: &Paper, file: &Path) -> Vec<String> {
        let file = file.display();
        let subject = escape(&subject.to_string());
        let paper = match (paper, self.not_after) {
            (Paper::Certificate { .. }, Some(end)) => {
                format!(
                    "Certificate  {file} ({subject}, good until {})",
                    end.strftime("%Y-%m-%d")
                )
            }
            _ => format!("Request      {file} ({subject})"),
        };
        vec![paper, format!("Fingerprint  SHA256 {}", self.fingerprint)]
    }
}

impl<'a> Report<'a> {
    /// Without a new key.
    fn of(made: &'a Made, subject: &Subject, paper: &Paper, file: &Path) -> Self {
        let file = Some(whole(file));
        let (certificate, request) = match paper {
            Paper::Certificate { .. } => (file, None),
            Paper::Request => (None, file),
        };
        Self {
            key: None,
            certificate,
            request,
            bits: made.bits,
            encrypted: None,
            key_fingerprint: &made.fingerprint,
            subject: subject.to_string(),
            not_after: made.not_after.map(Timestamp::as_second),
        }
    }
}

fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Where the certificate or request of the key in `key_file` goes.
fn beside(key_file: &Path, args: &KeygenArgs) -> Result<PathBuf, Failure> {
    let paper = key_file.with_extension(if args.csr { "csr" } else { "crt" });
    if key_file.file_name().is_none() || paper == *key_file {
        return Err(Failure::new(
            Cause::Usage,
            format!("{} is no name for the file of a private key", key_file.display()),
            "name it like --out server.key",
        ));
    }
    Ok(paper)
}
