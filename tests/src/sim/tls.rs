//! The simulator's own CA, and the server certificate that it issues.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::config::{ServerCertificate, StartError};

/// A CA made for one simulator. Its key is never written anywhere.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub(super) fn new() -> Result<Self, StartError> {
        let key = KeyPair::generate().map_err(|cause| refused(&cause))?;
        let mut params = named("salesforce-sim CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|cause| refused(&cause))?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A TLS acceptor with a certificate for `hosts`, or with one that is wrong as `kind` says.
    pub(super) fn acceptor(
        &self,
        hosts: &[String],
        kind: ServerCertificate,
    ) -> Result<TlsAcceptor, StartError> {
        let stranger = Self::new()?;
        let issuer = if kind == ServerCertificate::UnknownIssuer {
            &stranger
        } else {
            self
        };
        let elsewhere = vec!["elsewhere.example".to_owned()];
        let hosts = if kind == ServerCertificate::WrongHost {
            &elsewhere
        } else {
            hosts
        };
        let key = KeyPair::generate().map_err(|cause| refused(&cause))?;
        let mut params = named("salesforce-sim");
        params.subject_alt_names = alternative_names(hosts)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if kind == ServerCertificate::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let leaf = params
            .signed_by(&key, &issuer.issuer)
            .map_err(|cause| refused(&cause))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        acceptor(leaf.der().clone(), key)
    }
}

fn acceptor(leaf: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, StartError> {
    let failed = |cause: rustls::Error| StartError::Certificate(cause.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Ten years each way of now would be a clock's business; these limits are wide enough for a moved clock as well.
fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn alternative_names(hosts: &[String]) -> Result<Vec<SanType>, StartError> {
    let name = |host: &String| match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => host
            .as_str()
            .try_into()
            .map(SanType::DnsName)
            .map_err(|cause| refused(&cause)),
    };
    hosts.iter().map(name).collect()
}

fn refused(cause: &rcgen::Error) -> StartError {
    StartError::Certificate(cause.to_string())
}
