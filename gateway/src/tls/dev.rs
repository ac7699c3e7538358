//! The certificate of `tls = "dev"`: self-signed, for localhost, made once a process.
//!
//! It never changes while the process lives, so that a reload does not make a browser ask again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::{TlsProblem, provider};

/// As long as browsers accept a certificate (398 days), less one.
const LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// Clocks differ.
const EARLIER: Duration = Duration::from_secs(24 * 3600);

/// The self-signed certificate for localhost, `127.0.0.1` and `::1`.
#[derive(Debug)]
pub struct DevCertificate {
    /// For `curl --cacert` and the like.
    pub pem: String,
    /// SHA-256, as browsers show it: `AB:CD:…`.
    pub fingerprint: String,
    der: rustls::pki_types::CertificateDer<'static>,
    key: Arc<dyn SigningKey>,
}

impl DevCertificate {
    pub(super) fn certified_key(&self) -> CertifiedKey {
        CertifiedKey::new(vec![self.der.clone()], self.key.clone())
    }
}

/// The development certificate of this process; made by the first call.
pub fn dev_certificate() -> Result<&'static DevCertificate, TlsProblem> {
    static MADE: OnceLock<Result<DevCertificate, String>> = OnceLock::new();
    MADE.get_or_init(|| make(SystemTime::now())).as_ref().map_err(|what| TlsProblem::Crypto(what.clone()))
}

fn make(now: SystemTime) -> Result<DevCertificate, String> {
    let localhost = "localhost".try_into().map_err(|error: rcgen::Error| error.to_string())?;
    let mut certificate = CertificateParams::default();
    certificate.subject_alt_names = vec![
        SanType::DnsName(localhost),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    certificate.distinguished_name = rcgen::DistinguishedName::new();
    certificate.distinguished_name.push(DnType::CommonName, "Gatewright development certificate");
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    certificate.not_before = date_time_ymd(1970, 1, 1) + since.saturating_sub(EARLIER);
    certificate.not_after = date_time_ymd(1970, 1, 1) + since.saturating_add(LIFE);

    let pair = KeyPair::generate().map_err(|error| error.to_string())?;
    let made = certificate.self_signed(&pair).map_err(|error| error.to_string())?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = provider().key_provider.load_private_key(der).map_err(|error| error.to_string())?;
    Ok(DevCertificate { pem: made.pem(), fingerprint: shown(made.der()), der: made.der().clone(), key })
}

/// SHA-256 in the form that browsers and `openssl x509 -fingerprint` show.
fn shown(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_development_certificate_is_made_once() {
        let first = dev_certificate().unwrap();
        assert_eq!(first.pem, dev_certificate().unwrap().pem);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
    }
}
