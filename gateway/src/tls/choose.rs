//! Which certificate a client is shown.
//!
//! In: the certificates of a listener in the order of the configuration, and a ClientHello. Out: the certificate. The
//! name decides first (exact, then wildcard, then the default), the client's signature schemes among those of the name;
//! where a client takes both, ECDSA goes before RSA because signing costs a tenth.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::TlsProblem;

/// The certificates of one listener.
pub(super) struct Certificates {
    exact: HashMap<String, Group>,
    /// `.example.com` for `*.example.com`.
    wildcard: HashMap<String, Group>,
    /// The first certificate, and those with exactly its names.
    default: Group,
}

/// Certificates for the same name, the cheapest to sign with first.
#[derive(Default)]
struct Group(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Sorts certificates by the names that stand in them.
    pub(super) fn new(pairs: Vec<(&Path, CertifiedKey)>) -> Result<Certificates, TlsProblem> {
        let (mut exact, mut wildcard) = (HashMap::<_, Group>::new(), HashMap::<_, Group>::new());
        let mut default = Group::default();
        let mut first: Option<Vec<String>> = None;
        for (path, pair) in pairs {
            let names = names(path, &pair)?;
            let pair = Arc::new(pair);
            for name in &names {
                match name.strip_prefix('*') {
                    Some(suffix) => wildcard.entry(suffix.to_owned()).or_default().add(&pair),
                    None => exact.entry(name.clone()).or_default().add(&pair),
                }
            }
            if *first.get_or_insert_with(|| names.clone()) == names {
                default.add(&pair);
            }
        }
        if default.0.is_empty() {
            return Err(TlsProblem::NoCertificates);
        }
        Ok(Certificates { exact, wildcard, default })
    }

    /// What may be shown to a client that asks for this name, the best first.
    fn of_name(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let exact = name.and_then(|name| self.exact.get(name));
        // RFC 9525 section 6.3: the wildcard stands for exactly one label, the leftmost.
        let wildcard = name.and_then(|name| self.wildcard.get(name.get(name.find('.')?..)?));
        let groups = [exact, wildcard, Some(&self.default)];
        groups.into_iter().flatten().flat_map(|group| &group.0)
    }
}

impl Group {
    fn add(&mut self, pair: &Arc<CertifiedKey>) {
        let costly = |pair: &CertifiedKey| pair.key.algorithm() == SignatureAlgorithm::RSA;
        let place = match costly(pair) {
            true => self.0.len(),
            false => self.0.partition_point(|other| !costly(other)),
        };
        self.0.insert(place, pair.clone());
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has lowered the name's case, and taken out the schemes that do not go with the client's TLS 1.2 suites.
        let schemes = hello.signature_schemes();
        self.of_name(hello.server_name()).find(|pair| pair.key.choose_scheme(schemes).is_some()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("exact", &self.exact.keys())
            .field("wildcard", &self.wildcard.keys())
            .finish_non_exhaustive()
    }
}

/// The DNS names that a certificate is good for, lower case: its alternative names; the common name if it has none.
fn names(path: &Path, pair: &CertifiedKey) -> Result<Vec<String>, TlsProblem> {
    let bad = |what: &str| TlsProblem::BadCertificate { path: path.into(), what: what.into() };
    let leaf = pair.cert.first().ok_or_else(|| bad("the chain is empty"))?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| bad("not an X.509 certificate"))?;
    let alternatives = leaf.subject_alternative_name().map_err(|_| bad("malformed alternative names"))?;
    // RFC 9525 section 6.3 has given the common name up; old private CAs still write nothing else.
    let found: Vec<&str> = match &alternatives {
        Some(extension) => extension.value.general_names.iter().filter_map(dns_name).collect(),
        None => leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect(),
    };
    let mut names: Vec<String> = found.into_iter().map(str::to_ascii_lowercase).filter(|name| usable(name)).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn dns_name<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(name) => Some(name),
        _ => None,
    }
}

/// Whether a client could ask for this name: a wildcard only as the whole first label.
fn usable(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    !rest.is_empty() && !rest.contains('*')
}
