//! RSA keys, in the forms that the agent and its users have them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use aws_lc_rs::rsa::KeyPair;
use base64::{Engine, engine::general_purpose::STANDARD};
use pkcs8::PrivateKeyInfoRef;

use crate::sim::AppKey;

/// A key pair of 2048 bits, with its certificate for the simulator's app.
pub struct TestKey {
    app_key: AppKey,
    pkcs1: Vec<u8>,
}

impl std::fmt::Debug for TestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestKey([removed])")
    }
}

impl TestKey {
    /// Makes one, which takes a moment.
    #[must_use]
    pub fn generate() -> Self {
        let app_key = AppKey::generate();
        let der = der_of(&app_key.private_key_pem);
        let info = PrivateKeyInfoRef::try_from(der.as_slice()).expect("it was written as PKCS#8");
        let pkcs1 = info.private_key.as_bytes().to_vec();
        KeyPair::from_der(&pkcs1).expect("a sound key");
        Self { app_key, pkcs1 }
    }

    /// The key of the app, one for all tests of the process.
    #[must_use]
    pub fn of_app() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    /// Another key, which no app has.
    #[must_use]
    pub fn of_nobody() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    /// With its certificate, for the simulator.
    #[must_use]
    pub fn app_key(&self) -> &AppKey {
        &self.app_key
    }

    /// Another certificate of the same key, in PEM, which ended on New Year's Day of 2020.
    ///
    /// # Panics
    /// When rcgen does not take the key.
    #[must_use]
    pub fn ended_certificate(&self) -> String {
        let pair = rcgen::KeyPair::from_pem(self.pkcs8_pem()).expect("a key that rcgen takes");
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.self_signed(&pair).expect("the parameters are valid").pem()
    }

    /// PKCS#1 DER, as the agent takes it.
    #[must_use]
    pub fn pkcs1_der(&self) -> &[u8] {
        &self.pkcs1
    }

    /// PKCS#8 PEM, as `openssl genpkey` writes it.
    #[must_use]
    pub fn pkcs8_pem(&self) -> &str {
        &self.app_key.private_key_pem
    }

    /// What `openssl ARGUMENTS` makes of the PKCS#8 PEM on its standard input, as a file at `path`.
    ///
    /// # Panics
    /// When openssl is not there or refuses.
    pub fn convert(&self, arguments: &[&str], path: &Path) -> PathBuf {
        let mut openssl = Command::new("openssl")
            .args(arguments)
            .arg("-out")
            .arg(path)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let mut input = openssl.stdin.take().expect("it is piped");
        input
            .write_all(self.pkcs8_pem().as_bytes())
            .expect("openssl reads");
        drop(input);
        let done = openssl.wait_with_output().expect("it ends");
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "openssl {arguments:?}: {words}");
        super::home::set_mode(path, 0o600);
        path.to_path_buf()
    }
}

fn der_of(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).expect("a PEM body is base64")
}
