//! Behaviour over real sockets; what both sides share.

mod files;
mod server;
mod upstream;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::config::model::{
    CertificateFiles, Certificates, ClientCertificates, Protocols, Tls, TlsVersion, UpstreamProtocol,
};

const BOTH: Protocols = Protocols { h1: true, h2: true };

/// A folder of PEM files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn pair(&self, name: &str, (certificate, key): &(String, String)) -> CertificateFiles {
        CertificateFiles {
            certificate: self.write(&format!("{name}.pem"), certificate),
            key: self.write(&format!("{name}.key"), key),
        }
    }
}

fn tls(files: Vec<CertificateFiles>) -> Tls {
    Tls { certificates: Certificates::Files(files), minimum: TlsVersion::Tls12, client: None }
}

fn demand(ca: PathBuf, required: bool) -> Option<ClientCertificates> {
    Some(ClientCertificates { ca, required, subject_header: None, san_header: None, fingerprint_header: None })
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A client that believes this CA, with an own certificate if there is one.
fn client_of(versions: &[&'static SupportedProtocolVersion], ca: &str, own: Option<&(String, String)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(ca)).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        Some((pem, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate(pem)], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

fn client(ca: &str) -> Arc<ClientConfig> {
    Arc::new(client_of(rustls::ALL_VERSIONS, ca, None))
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, there)
}

/// Accepts, and sends one byte so that the other side has read all that belongs to the handshake.
async fn accept_and_send(tcp: TcpStream, tls: &ServerTls) -> io::Result<TlsFacts> {
    let mut accepted = accept(tcp, tls).await.map_err(|(error, _)| error)?;
    accepted.stream.write_all(b"x").await?;
    accepted.stream.shutdown().await?;
    Ok(accepted.facts)
}

/// A whole handshake: what the server saw, and what the client.
async fn meet(
    server: &ServerTls,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (io::Result<TlsFacts>, io::Result<TlsStream<TcpStream>>) {
    let (here, there) = sockets().await;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = async {
        let mut stream = TlsConnector::from(client.clone()).connect(name, there).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    tokio::join!(accept_and_send(here, server), connect)
}

/// The certificate that the server showed.
fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// What a failed handshake is called.
fn label<T>(result: io::Result<T>) -> &'static str {
    HandshakeFailure::of(&result.err().expect("a handshake that fails")).label()
}

#[test]
fn workers_can_share_both_sides() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<ServerTls>();
    shared::<UpstreamTls>();
}
