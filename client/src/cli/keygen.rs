//! The arguments of `sfkey keygen`.

use std::path::PathBuf;

use clap::{Args, builder::RangedU64ValueParser};

use crate::keypair::{Bits, DEFAULT_DAYS, MAX_DAYS, Subject};

const KEYGEN_EXAMPLES: &str = "\
Writes the private key (mode 0600) and beside it a self-signed certificate (.crt, mode 0644), which
the app in Salesforce wants. Nothing is ever written over. The key is PKCS#8, encrypted with
AES-256 under your passphrase; openssl reads it. Nobody can recover a passphrase.

Examples:
  sfkey keygen                           server.key and server.crt, asks for a passphrase
  sfkey keygen --out ~/keys/prod.key --subject /CN=ci/O=Acme --days 730
  sfkey keygen --csr                     server.key and server.csr, for a CA to sign
  sfkey keygen --key server.key --out server-2027.crt
                                         a new certificate for the key that you have
  sfkey keygen --passphrase-file /run/secrets/passphrase --json";

#[derive(Args, Debug)]
#[command(after_help = KEYGEN_EXAMPLES)]
pub(crate) struct KeygenArgs {
    /// File of the private key; the certificate or request stands beside it. With --key: file of the
    /// certificate or request [default: server.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Length of the RSA key: 2048, 3072 or 4096
    #[arg(
        long,
        value_enum,
        value_name = "BITS",
        default_value = "2048",
        hide_possible_values = true
    )]
    pub(crate) bits: Bits,

    /// Whom the certificate names: /CN=sfkey/O=Acme or CN=sfkey,O=Acme [default: CN=sfkey]
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<Subject>,

    /// For how many days the certificate is good
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_DAYS, conflicts_with = "csr",
        value_parser = RangedU64ValueParser::<u32>::new().range(1..=MAX_DAYS as u64))]
    pub(crate) days: u32,

    /// Write a request (.csr) for a CA in place of a self-signed certificate
    #[arg(long)]
    pub(crate) csr: bool,

    /// Make the certificate or request for this key, and no new key: a file or a reference
    #[arg(long, value_name = "REF|FILE", conflicts_with_all = ["bits", "no_passphrase"])]
    pub(crate) key: Option<String>,

    /// Read the key's passphrase from this file instead of asking
    #[arg(long, value_name = "F")]
    pub(crate) passphrase_file: Option<String>,

    /// Write the key unencrypted: whoever reads the file has the key
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) no_passphrase: bool,
}
