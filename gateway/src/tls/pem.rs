//! From PEM files to certificates, keys and CAs.
//!
//! In: paths. Out: what rustls wants, or a [`TlsProblem`] that names the file. A certificate and its key are checked to
//! belong together. A certificate out of its time is no error: the gateway serves the others, and warns of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::{FILE_SIZE, TlsProblem, provider};
use crate::config::model::CertificateFiles;

/// Where the present stands to a certificate's validity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validity {
    /// Within it.
    Valid,
    /// It begins later.
    NotYet,
    /// It is over.
    Expired,
}

/// The certificate chain and its private key.
pub(super) fn certified_key(files: &CertificateFiles) -> Result<CertifiedKey, TlsProblem> {
    let certificates = certificates(&files.certificate, &read(&files.certificate)?)?;
    let key = private_key(&files.key)?;
    let bad_key = |error: rustls::Error| TlsProblem::BadKey { path: files.key.clone(), what: error.to_string() };
    let key = provider().key_provider.load_private_key(key).map_err(bad_key)?;
    let pair = CertifiedKey::new(certificates, key);
    match pair.keys_match() {
        // A key that cannot tell its public half: nothing to compare, the handshake will show.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsProblem::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() });
        }
        Err(error) => {
            return Err(TlsProblem::BadCertificate { path: files.certificate.clone(), what: error.to_string() });
        }
    }
    parsed(&files.certificate, &pair.cert)?;
    Ok(pair)
}

/// Everything that is wrong with a certificate and its key: with either, or else with the two together.
pub(super) fn problems(files: &CertificateFiles) -> Vec<TlsProblem> {
    let certificate = read(&files.certificate).and_then(|text| certificates(&files.certificate, &text)).err();
    let problems: Vec<_> = certificate.into_iter().chain(private_key(&files.key).err()).collect();
    if problems.is_empty() { certified_key(files).err().into_iter().collect() } else { problems }
}

/// The CAs in the text of a file.
pub(super) fn roots(path: &Path, text: &[u8]) -> Result<Arc<RootCertStore>, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, text)? {
        let bad = |error: rustls::Error| TlsProblem::BadCertificate { path: path.into(), what: error.to_string() };
        roots.add(certificate).map_err(bad)?;
    }
    Ok(Arc::new(roots))
}

/// A whole file, if it is not larger than such a file may be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsProblem> {
    let unreadable = |error| TlsProblem::Unreadable { path: path.into(), error };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_SIZE + 1).read_to_end(&mut text)).map_err(unreadable)?;
    if text.len() as u64 > FILE_SIZE {
        return Err(TlsProblem::TooLarge { path: path.into() });
    }
    Ok(text)
}

/// Where `now` stands to the validity of a certificate.
pub(super) fn validity(certificate: &X509Certificate<'_>, now: SystemTime) -> Validity {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let bounds = certificate.validity();
    if now < bounds.not_before.timestamp() {
        Validity::NotYet
    } else if now > bounds.not_after.timestamp() {
        Validity::Expired
    } else {
        Validity::Valid
    }
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let mut certificates = Vec::new();
    let mut hint = "";
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match section.map_err(|error| broken(path, &error))? {
            (SectionKind::Certificate, der) => certificates.push(CertificateDer::from(der)),
            (SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _) => {
                hint = "; there is a private key (are certificate and key swapped?)";
            }
            (SectionKind::Csr, _) => hint = "; there is a certificate request, which a CA has yet to sign",
            _ => {}
        }
    }
    if certificates.is_empty() {
        return Err(TlsProblem::NoCertificate { path: path.into(), hint });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    let text = read(path)?;
    // Both forms of encrypted keys: PKCS#8's own section, and the header line that OpenSSL puts into the old ones.
    if contains(&text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(&text, b"Proc-Type: 4,ENCRYPTED") {
        let hint = " that can be read: it is encrypted, and the gateway has no pass phrase for it";
        return Err(TlsProblem::NoKey { path: path.into(), hint });
    }
    let mut hint = "";
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&text) {
        match section.map_err(|error| broken(path, &error))? {
            (SectionKind::PrivateKey, der) => return Ok(PrivateKeyDer::Pkcs8(der.into())),
            (SectionKind::RsaPrivateKey, der) => return Ok(PrivateKeyDer::Pkcs1(der.into())),
            (SectionKind::EcPrivateKey, der) => return Ok(PrivateKeyDer::Sec1(der.into())),
            (SectionKind::Certificate, _) => hint = "; there is a certificate (are certificate and key swapped?)",
            (SectionKind::PublicKey, _) => hint = "; there is a public key",
            _ => {}
        }
    }
    Err(TlsProblem::NoKey { path: path.into(), hint })
}

fn parsed<'c>(path: &Path, chain: &'c [CertificateDer<'static>]) -> Result<Vec<X509Certificate<'c>>, TlsProblem> {
    let bad = |_| TlsProblem::BadCertificate { path: path.into(), what: "not an X.509 certificate".into() };
    chain.iter().map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(bad)).collect()
}

/// Which certificates of a chain are out of their time, in words.
pub(super) fn out_of_time(path: &Path, now: SystemTime) -> Result<Vec<String>, TlsProblem> {
    let chain = certificates(path, &read(path)?)?;
    let words = |certificate: &X509Certificate<'_>| {
        let bounds = certificate.validity();
        let file = path.display();
        match validity(certificate, now) {
            Validity::Valid => None,
            Validity::NotYet => {
                Some(format!("{file}: a certificate in it is not valid before {}", date(&bounds.not_before)))
            }
            Validity::Expired => Some(format!("{file}: a certificate in it expired on {}", date(&bounds.not_after))),
        }
    };
    Ok(parsed(path, &chain)?.iter().filter_map(words).collect())
}

/// `2026-01-31 12:00 UTC`.
fn date(time: &ASN1Time) -> String {
    let time = time.to_datetime();
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

fn broken(path: &Path, error: &rustls::pki_types::pem::Error) -> TlsProblem {
    use rustls::pki_types::pem::Error;
    let what = match error {
        Error::MissingSectionEnd { .. } => "the END line of a section is missing".into(),
        Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".into(),
        Error::Base64Decode(_) => "what stands between BEGIN and END is not base64".into(),
        error => error.to_string(),
    };
    TlsProblem::BrokenPem { path: path.into(), what }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(text, what).is_some()
}
