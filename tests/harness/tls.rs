//! TLS for clients and origins: one authority for all tests of a run.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certs::{self, Ca};

/// The name that the server certificate is for, beside 127.0.0.1.
pub(crate) const NAME: &str = "localhost";

/// An authority, and what it has signed.
pub(crate) struct Pki {
    pub(crate) ca: Ca,
    /// For localhost and 127.0.0.1: certificate, key.
    pub(crate) server: (String, String),
    /// A client's, called "tester": certificate, key.
    pub(crate) client: (String, String),
}

/// What a client learns from a handshake.
pub(crate) struct Facts {
    pub(crate) resumed: bool,
    pub(crate) version: rustls::ProtocolVersion,
    pub(crate) alpn: Option<String>,
    /// The server's certificate, DER.
    pub(crate) certificate: Vec<u8>,
}

impl Facts {
    pub(crate) fn of(connection: &rustls::ClientConnection) -> Facts {
        Facts {
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            version: connection.protocol_version().expect("a version"),
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            certificate: connection.peer_certificates().expect("a certificate")[0].to_vec(),
        }
    }
}

/// The authority of this run.
pub(crate) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let ca = certs::authority();
        let server = certs::issue(&ca, &[NAME, "127.0.0.1"]);
        let client = certs::issue_client(&ca, "tester", &["spiffe://test/tester"]);
        Pki { ca, server, client }
    })
}

/// Writes `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
pub(crate) fn write_files(folder: &Path) {
    let pki = pki();
    let ca = pki.ca.pem();
    let (server, client) = (&pki.server, &pki.client);
    let files = [
        ("ca.pem", &ca),
        ("server.pem", &server.0),
        ("server.key", &server.1),
        ("client.pem", &client.0),
        ("client.key", &client.1),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("a file");
    }
}

/// A client that trusts the authority and offers these protocols.
pub(crate) fn client(alpn: &[&str]) -> ClientConfig {
    let mut config = client_builder().with_no_client_auth();
    config.alpn_protocols = names(alpn);
    config
}

/// A client that speaks these versions.
pub(crate) fn client_of(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    builder(versions).with_no_client_auth()
}

/// The same with a certificate of its own.
pub(crate) fn client_with(certificate: &(String, String), alpn: &[&str]) -> ClientConfig {
    let (chain, key) = read(certificate);
    let mut config = client_builder().with_client_auth_cert(chain, key).expect("a certificate");
    config.alpn_protocols = names(alpn);
    config
}

/// A server with the authority's certificate that offers these protocols.
pub(crate) fn server(alpn: &[&str]) -> Arc<ServerConfig> {
    let (chain, key) = read(&pki().server);
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).expect("a certificate");
    config.alpn_protocols = names(alpn);
    Arc::new(config)
}

fn client_builder() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    builder(rustls::ALL_VERSIONS)
}

fn builder(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki().ca.pem().as_bytes()).expect("PEM")).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    builder.with_protocol_versions(versions).expect("versions").with_root_certificates(roots)
}

fn read((certificate, key): &(String, String)) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().expect("PEM");
    (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"))
}

fn names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}
