//! What a file holds: peels its text disguises off and opens keystores, down to one private key.

use zeroize::Zeroizing;

use super::{
    Content, KeyFileError, MAX_KEY_BYTES,
    der::{self, Kind},
    encrypted::Encrypted,
    jks,
    legacy::LegacyPem,
    pem::{self, Block},
    pkcs12,
    rsa::PrivateKey,
    text,
};

/// Base64 of base64 is met in CI systems that encode secrets themselves; more layers than this are not.
const BASE64_LAYERS: u32 = 3;

pub(super) fn content(bytes: &[u8]) -> Result<Content, KeyFileError> {
    if bytes.trim_ascii().is_empty() {
        return Err(KeyFileError::Empty);
    }
    layer(bytes, BASE64_LAYERS)
}

fn layer(bytes: &[u8], layers_left: u32) -> Result<Content, KeyFileError> {
    if bytes.starts_with(&jks::MAGIC) {
        return jks::key(bytes).map(Content::Encrypted);
    }
    if bytes.starts_with(&jks::JCEKS_MAGIC) {
        return Err(KeyFileError::Jceks);
    }
    if is_binary_der(bytes) {
        return der_content(bytes);
    }
    let text = text::normalised(bytes);
    let blocks = pem::blocks(&text)?;
    if !blocks.is_empty() {
        return pem_content(&text, &blocks);
    }
    match text::from_base64(text::words(&text), text.len()) {
        Some(decoded) if layers_left > 0 => layer(&decoded, layers_left - 1),
        _ => Err(stranger(&text)),
    }
}

/// ASCII `0` is also the tag of a sequence; but no text goes on with a byte of a long length.
fn is_binary_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0xFF, ..]) || der::document(bytes).is_some()
}

fn der_content(bytes: &[u8]) -> Result<Content, KeyFileError> {
    if let [0x30, 0x80, ..] = bytes {
        // An indefinite length is BER, in which only PKCS#12 files are found.
        return Err(KeyFileError::UnsupportedKeystore);
    }
    let document = der::document(bytes).ok_or(KeyFileError::Damaged)?;
    let kind = der::kind(document);
    if document.len() > MAX_KEY_BYTES && kind != Some(Kind::Pkcs12) {
        return Err(KeyFileError::TooLarge);
    }
    match kind.ok_or(KeyFileError::Unrecognised)? {
        Kind::Pkcs1 | Kind::Pkcs8 => plain(document),
        Kind::EncryptedPkcs8 => Encrypted::from_der(document).map(Content::Encrypted),
        Kind::Pkcs12 => match pkcs12::key(document)? {
            pkcs12::Key::Plain(der) => plain(der),
            pkcs12::Key::Shrouded(key) => Ok(Content::Encrypted(key)),
        },
        Kind::Certificate => Err(KeyFileError::Certificate),
        Kind::CertificateRequest => Err(KeyFileError::CertificateRequest),
        Kind::PublicKey => Err(KeyFileError::PublicKey),
        Kind::EcPrivateKey => Err(KeyFileError::NotRsa("an elliptic-curve (EC) key")),
        Kind::DsaPrivateKey => Err(KeyFileError::NotRsa("a DSA key")),
    }
}

/// Checked now, so that reading refuses what decoding would, and again when it is decoded.
fn plain(der: &[u8]) -> Result<Content, KeyFileError> {
    PrivateKey::from_der(der)?;
    Ok(Content::Plain(Zeroizing::new(der.to_vec())))
}

/// Certificates beside the key are common (`cat server.key server.crt`) and no obstacle; a second key is.
fn pem_content(text: &[u8], blocks: &[Block<'_>]) -> Result<Content, KeyFileError> {
    if text.len() > MAX_KEY_BYTES {
        return Err(KeyFileError::TooLarge);
    }
    let mut keys = blocks
        .iter()
        .filter(|block| block.label.ends_with(b"PRIVATE KEY"));
    match (keys.next(), keys.count()) {
        (Some(key), 0) => private_key(key),
        (Some(_), others) => Err(KeyFileError::SeveralKeys(others + 1)),
        (None, _) => Err(public_block(blocks)),
    }
}

fn private_key(block: &Block<'_>) -> Result<Content, KeyFileError> {
    match block.label {
        b"EC PRIVATE KEY" => return Err(KeyFileError::NotRsa("an elliptic-curve (EC) key")),
        b"DSA PRIVATE KEY" => return Err(KeyFileError::NotRsa("a DSA key")),
        b"OPENSSH PRIVATE KEY" => return Err(open_ssh(&block.body()?.bytes)),
        _ => {}
    }
    // The label is not asked further: people rename it, and the structure tells PKCS#1 from PKCS#8.
    let body = block.body()?;
    if let Some(dek_info) = body.dek_info {
        return LegacyPem::new(dek_info, body.bytes).map(Content::LegacyPem);
    }
    if !is_binary_der(&body.bytes) {
        return Err(KeyFileError::Damaged);
    }
    der_content(&body.bytes).map_err(|error| match error {
        KeyFileError::Unrecognised => KeyFileError::Damaged,
        other => other,
    })
}

/// The public part of an OpenSSH key is never encrypted, and names the algorithm.
fn open_ssh(bytes: &[u8]) -> KeyFileError {
    let name = b"ssh-rsa";
    if bytes.windows(name.len()).any(|window| window == name) {
        KeyFileError::OpenSsh
    } else {
        KeyFileError::NotRsa("an OpenSSH key that is not RSA")
    }
}

fn public_block(blocks: &[Block<'_>]) -> KeyFileError {
    let label = blocks.first().map_or(&b""[..], |block| block.label);
    if label.ends_with(b"CERTIFICATE REQUEST") {
        KeyFileError::CertificateRequest
    } else if label.ends_with(b"CERTIFICATE") || label == b"PKCS7" {
        KeyFileError::Certificate
    } else if label.ends_with(b"PUBLIC KEY") {
        KeyFileError::PublicKey
    } else {
        KeyFileError::Unrecognised
    }
}

fn stranger(text: &[u8]) -> KeyFileError {
    let text = text.trim_ascii_start();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix.as_bytes()));
    if starts(&["PuTTY-User-Key-File-"]) {
        KeyFileError::Putty
    } else if starts(&["ssh-", "ecdsa-sha2-", "---- BEGIN SSH2 PUBLIC KEY"]) {
        KeyFileError::PublicKey
    } else if starts(&["{", "["]) {
        KeyFileError::Json
    } else if starts(&["<"]) {
        KeyFileError::Markup
    } else if text.len() > MAX_KEY_BYTES {
        KeyFileError::TooLarge
    } else {
        KeyFileError::Unrecognised
    }
}
