//! Certificates for tests: authorities, and what they sign. Everything is PEM text; the caller writes the files.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SignatureAlgorithm,
};

/// Somebody who signs certificates.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs what `params` says, for a new key. Returns certificate and key.
    pub(crate) fn sign(&self, params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A new authority.
pub(crate) fn authority() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    // The key's beginning makes the name unique, so that verifiers never confuse two authorities.
    let name: String = key.public_key_raw().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = named(&format!("Test CA {name}"));
    Ca { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
}

/// A server's certificate (ECDSA) for these names and IP addresses. Returns certificate and key.
pub(crate) fn issue(ca: &Ca, names: &[&str]) -> (String, String) {
    ca.sign(&server(names), &rcgen::PKCS_ECDSA_P256_SHA256)
}

/// What a server's certificate says, to be changed and signed.
pub(crate) fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = named("test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A client's certificate with this common name and these URIs. Returns certificate and key.
pub(crate) fn issue_client(ca: &Ca, name: &str, uris: &[&str]) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a URI"))).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    ca.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
