//! Whether the configuration will do, without asking anybody: no agent and no Salesforce.

use std::{fs, path::Path};

use jiff::Timestamp;
use sfkey::{
    Environment,
    keyfile::{KeyFile, Passphrase, PrivateKey, readable_by_others},
    proto::{AccountName, place},
};

use crate::{
    certificate::{Certificate, Life},
    config::{self, AccountEntry, Config, read_text, require_owner_only},
    exit::Failure,
    output::{Finding, Output, local_moment},
    quote,
    secrets::{self, Purpose, Reference, keyring::Unlock},
};

/// Largest certificate file, in bytes, that Salesforce takes.
const MAX_CERTIFICATE_BYTES: u64 = 4096;

/// Looks at everything, or at one account.
pub(super) fn check(environment: &Environment, now: Timestamp, only: Option<&AccountName>) -> Vec<Finding> {
    let Some(path) = config::path(environment) else {
        let fix = "set HOME";
        return vec![Finding::failed(
            "config",
            "neither XDG_CONFIG_HOME nor HOME is set",
            fix,
        )];
    };
    let text = match read_text(&path) {
        Ok(Some(text)) => text,
        Ok(None) => {
            let detail = format!("there is no {}", path.display());
            return vec![Finding::warning("config", detail, "sfkey add NAME … --save")];
        }
        Err(failure) => return vec![failed("config", &failure)],
    };
    let (config, problems) = Config::parse(&text, &path, environment);
    let mut findings: Vec<_> = problems.iter().map(|problem| failed("config", problem)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            "config",
            format!("{}, {}", path.display(), count(&config)),
        ));
    }
    findings.extend(permissions(&path, environment.uid));
    if let Some(name) = &config.default_account {
        findings.push(Finding::ok("default_account", name.as_str()));
    }
    if let Some(name) = only
        && !config.accounts.contains_key(name)
    {
        let detail = format!("{} has no [accounts.{name}]", path.display());
        findings.push(Finding::failed(
            format!("accounts.{name}"),
            detail,
            format!("sfkey add {name} … --save"),
        ));
    }
    for (name, entry) in &config.accounts {
        if only.is_none_or(|only| only == name) {
            findings.extend(
                Account {
                    name,
                    entry,
                    environment,
                    now,
                }
                .check(),
            );
        }
    }
    findings
}

fn failed(id: &str, failure: &Failure) -> Finding {
    Finding::failed(id, &failure.message, &failure.fix)
}

fn count(config: &Config) -> String {
    match config.accounts.len() {
        1 => "1 account".to_owned(),
        many => format!("{many} accounts"),
    }
}

/// Whoever can write the file, or put another in its place, decides where keys are sent.
fn permissions(path: &Path, own: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(
        require_owner_only(path, own)
            .err()
            .map(|failure| failed("config.permissions", &failure)),
    );
    if let Err(distrust) = place::judge_ancestors(path, own) {
        let fix = match &distrust {
            place::Distrust::Writable { path, .. } => {
                format!("chmod go-w {}", quote::word(&path.to_string_lossy()))
            }
            _ => "keep the configuration in a directory of your own".to_owned(),
        };
        findings.push(Finding::warning("config.permissions", distrust.to_string(), fix));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("config.permissions", "only you can write it"));
    }
    findings
}

/// An account that is looked at.
struct Account<'a> {
    name: &'a AccountName,
    entry: &'a AccountEntry,
    environment: &'a Environment,
    now: Timestamp,
}

impl Account<'_> {
    fn check(&self) -> Vec<Finding> {
        let mut findings = self.identity();
        let (key, of_key) = self.key();
        findings.extend(of_key);
        findings.extend(self.consumer_secret());
        findings.extend(self.certificate(key.as_ref()));
        findings
    }

    fn id(&self, setting: &str) -> String {
        format!("accounts.{}.{setting}", self.name)
    }

    fn identity(&self) -> Vec<Finding> {
        let told = [
            ("consumer_key", &self.entry.consumer_key),
            ("username", &self.entry.username),
        ];
        let mut findings: Vec<_> = told
            .into_iter()
            .filter(|(_, value)| value.is_none())
            .map(|(setting, _)| self.missing(setting))
            .collect();
        let urls = [
            ("login_url", &self.entry.login_url),
            ("audience", &self.entry.audience),
        ];
        for (setting, value) in urls {
            if let Some(url) = value {
                findings.push(self.url(setting, url));
            }
        }
        findings
    }

    fn missing(&self, setting: &str) -> Finding {
        let flag = format!("--{}", setting.replace('_', "-"));
        let fix = format!("sfkey add {} {flag} … --save", self.name);
        Finding::failed(
            self.id(setting),
            "it is missing, and no account loads without",
            fix,
        )
    }

    /// What can be said of a URL without asking; its form was checked when it was read.
    fn url(&self, setting: &str, url: &str) -> Finding {
        let host = host_of(url);
        if let Some(org) = host.strip_suffix(".lightning.force.com") {
            let detail = "a Lightning address serves no tokens";
            return Finding::failed(
                self.id(setting),
                detail,
                format!("{setting} = \"https://{org}.my.salesforce.com\""),
            );
        }
        let this_machine = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if url.starts_with("http://") && !this_machine {
            let fix = format!("{setting} = \"https://{}\"", &url["http://".len()..]);
            return Finding::failed(self.id(setting), "http is for this machine only", fix);
        }
        Finding::ok(self.id(setting), url)
    }

    /// The key as far as it can be opened, and what was found on the way.
    fn key(&self) -> (Option<PrivateKey>, Vec<Finding>) {
        let Some(reference) = &self.entry.key else {
            return (None, vec![self.missing("key")]);
        };
        if let Some(elsewhere) = self.elsewhere("key", reference) {
            return (None, vec![elsewhere]);
        }
        let file = match secrets::read_key(
            reference,
            Some(self.name),
            Unlock::Never,
            self.environment,
            &Output::silent(),
        ) {
            Ok(file) => file,
            Err(failure) => return (None, vec![failed(&self.id("key"), &failure)]),
        };
        let mut findings: Vec<_> = self.exposed("key", reference).into_iter().collect();
        let opened = if file.needs_passphrase() {
            self.encrypted(reference, &file, &mut findings)
        } else {
            self.plain(reference, &file, &mut findings)
        };
        (opened, findings)
    }

    fn plain(
        &self,
        reference: &Reference,
        file: &KeyFile,
        findings: &mut Vec<Finding>,
    ) -> Option<PrivateKey> {
        let id = self.id("key");
        match file.decode(None) {
            Ok(key) => {
                let detail = format!("{reference}, RSA {}", key.bits());
                findings.push(match reference {
                    Reference::File(path) => {
                        let path = quote::word(&path.to_string_lossy());
                        let detail = format!("{detail}, not encrypted: who reads the file has the key");
                        let fix = format!("openssl pkcs8 -topk8 -v2 aes-256-cbc -in {path} -out NEW.key");
                        Finding::warning(id, detail, fix)
                    }
                    _ => Finding::ok(id, detail),
                });
                Some(key)
            }
            Err(error) => {
                findings.push(failed(&id, &secrets::key_failure(reference, &error)));
                None
            }
        }
    }

    fn encrypted(
        &self,
        reference: &Reference,
        file: &KeyFile,
        findings: &mut Vec<Finding>,
    ) -> Option<PrivateKey> {
        let id = self.id("passphrase");
        let Some(kept) = &self.entry.passphrase else {
            let detail = format!("{reference}, encrypted; its passphrase is asked for");
            findings.push(Finding::ok(self.id("key"), detail));
            return None;
        };
        findings.push(Finding::ok(self.id("key"), format!("{reference}, encrypted")));
        if let Some(elsewhere) = self.elsewhere("passphrase", kept) {
            findings.push(elsewhere);
            return None;
        }
        findings.extend(self.exposed("passphrase", kept));
        let read = secrets::read(
            kept,
            Purpose::Passphrase(self.name),
            Unlock::Never,
            self.environment,
            &Output::silent(),
        );
        let opened = read.and_then(|passphrase| {
            let passphrase = Passphrase::new(passphrase);
            let decoded = file.decode(Some(&passphrase));
            decoded.map_err(|error| secrets::key_failure(reference, &error))
        });
        match opened {
            Ok(key) => {
                findings.push(Finding::ok(
                    id,
                    format!("{kept}, it opens the key (RSA {})", key.bits()),
                ));
                Some(key)
            }
            Err(failure) => {
                findings.push(failed(&id, &failure));
                None
            }
        }
    }

    fn consumer_secret(&self) -> Vec<Finding> {
        let Some(reference) = &self.entry.consumer_secret else {
            return Vec::new();
        };
        if let Some(elsewhere) = self.elsewhere("consumer_secret", reference) {
            return vec![elsewhere];
        }
        let id = self.id("consumer_secret");
        let read = secrets::read(
            reference,
            Purpose::ConsumerSecret(self.name),
            Unlock::Never,
            self.environment,
            &Output::silent(),
        );
        let found = match read {
            Ok(_) => Finding::ok(id, reference.to_string()),
            Err(failure) => failed(&id, &failure),
        };
        self.exposed("consumer_secret", reference)
            .into_iter()
            .chain([found])
            .collect()
    }

    /// A credential is there only while systemd runs the service that it belongs to.
    fn elsewhere(&self, setting: &str, reference: &Reference) -> Option<Finding> {
        let here = self.environment.credentials.is_some();
        (matches!(reference, Reference::Credential(_)) && !here).then(|| {
            let detail = format!("{reference} can be checked only in the service that it is given to");
            let fix = "run sfkey config check from the unit, with its LoadCredential=";
            Finding::warning(self.id(setting), detail, fix)
        })
    }

    /// A file with a secret that others can read.
    fn exposed(&self, setting: &str, reference: &Reference) -> Option<Finding> {
        let Reference::File(path) = reference else {
            return None;
        };
        let mode = readable_by_others(path)?;
        let detail = format!("others can read {} (mode {mode:04o})", path.display());
        let fix = format!("chmod go= {}", quote::word(&path.to_string_lossy()));
        Some(Finding::warning(self.id(setting), detail, fix))
    }

    fn certificate(&self, key: Option<&PrivateKey>) -> Vec<Finding> {
        let Some(path) = &self.entry.certificate else {
            return Vec::new();
        };
        let id = || self.id("certificate");
        let shown = path.display();
        let certificate = match Certificate::read(path) {
            Ok(certificate) => certificate,
            Err(why) => {
                let fix = format!(
                    "look at it: openssl x509 -noout -text -in {}",
                    quote::word(&path.to_string_lossy())
                );
                return vec![Finding::failed(id(), format!("{shown}: {why}"), fix)];
            }
        };
        let mut findings = Vec::new();
        if key.is_some_and(|key| !certificate.is_of(key)) {
            let detail = format!("{shown} belongs to another key, so Salesforce refuses what this one signs");
            let fix = "name the certificate that was made with this key, and see that the app has it";
            findings.push(Finding::failed(id(), detail, fix));
        }
        if fs::metadata(path).is_ok_and(|found| found.len() > MAX_CERTIFICATE_BYTES) {
            let detail = format!("{shown} has more than 4 KB, which Salesforce does not take");
            findings.push(Finding::warning(
                id(),
                detail,
                "upload the certificate alone, without its chain",
            ));
        }
        findings.push(life_of(id(), path, &certificate, self.now));
        findings
    }
}

/// How long the certificate will do.
fn life_of(id: String, path: &Path, certificate: &Certificate, now: Timestamp) -> Finding {
    let shown = path.display();
    let end = local_moment(certificate.ends_at(), now);
    let renew = "sfkey keygen --key KEY --out NEW.crt, and upload it to the app";
    match certificate.life(now) {
        Life::Good => Finding::ok(id, format!("{shown}, expires {end}")),
        Life::Ending => Finding::warning(id, format!("{shown} expires {end}"), renew),
        Life::Ended => Finding::failed(id, format!("{shown} expired {end}"), renew),
    }
}

/// The host of a URL, in lower case, without its port.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.split_once(']') {
        Some((address, _)) => format!("{address}]"),
        None => authority.split(':').next().unwrap_or_default().to_owned(),
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_every_form_of_a_url() {
        for (url, host) in [
            ("https://ACME.my.salesforce.com", "acme.my.salesforce.com"),
            ("https://site.force.com/customers", "site.force.com"),
            ("http://localhost:8443", "localhost"),
            ("http://[::1]:8443/x", "[::1]"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
