//! TLS towards upstreams.
//!
//! In: a pool's configuration, then connected sockets. Out: an encrypted stream, and whether HTTP/2 is spoken on it.
//!
//! Invariant: an upstream's certificate is verified for the configured name, or else for the endpoint's host (an IP
//! address against the certificate's IP addresses), unless `dangerously_accept_any_certificate` says otherwise.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ALPN_H1, ALPN_H2, TlsProblem, WRITE_BUFFER, pem, provider};
use crate::config::model::{self, UpstreamProtocol};
use crate::http::Tcp;

/// Sessions that are kept for resumption, by pool.
const CACHED_SESSIONS: usize = 256;

/// The TLS of one pool. Cheap to clone; immutable; shared by all workers.
#[derive(Clone)]
pub struct UpstreamTls {
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
    protocol: UpstreamProtocol,
}

impl UpstreamTls {
    /// Reads all files of a pool and checks them.
    pub fn load(tls: &model::UpstreamTls, protocol: UpstreamProtocol) -> Result<UpstreamTls, TlsProblem> {
        let alpn: &[&[u8]] = match protocol {
            UpstreamProtocol::H1 => &[ALPN_H1],
            UpstreamProtocol::H2 => &[ALPN_H2],
            UpstreamProtocol::Auto => &[ALPN_H2, ALPN_H1],
        };
        UpstreamTls::offering(alpn, tls, protocol)
    }

    /// The same for what is no HTTP.
    pub fn load_for_others(tls: &model::UpstreamTls) -> Result<UpstreamTls, TlsProblem> {
        UpstreamTls::offering(&[], tls, UpstreamProtocol::H1)
    }

    fn offering(
        alpn: &[&[u8]],
        tls: &model::UpstreamTls,
        protocol: UpstreamProtocol,
    ) -> Result<UpstreamTls, TlsProblem> {
        let name = tls.name.as_deref().map(server_name).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsProblem::Crypto(error.to_string()))?;
        let builder = if tls.accept_any {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny))
        } else {
            builder.with_root_certificates(match &tls.ca {
                Some(path) => pem::roots(path, &pem::read(path)?)?,
                None => system_roots()?,
            })
        };
        let mut config = match &tls.certificate {
            Some(files) => {
                let own = rustls::sign::SingleCertAndKey::from(pem::certified_key(files)?);
                builder.with_client_cert_resolver(Arc::new(own))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(CACHED_SESSIONS);
        Ok(UpstreamTls { connector: TlsConnector::from(Arc::new(config)), name, protocol })
    }

    /// Makes the handshake with the endpoint `host` (without its port). The flag says whether HTTP/2 was agreed on.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> io::Result<(Box<TlsStream<Tcp>>, bool)> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?,
        };
        // Boxed at once, as in `accept`.
        let limited = |session: &mut rustls::ClientConnection| session.set_buffer_limit(Some(WRITE_BUFFER));
        let stream = Box::new(Box::pin(self.connector.connect_with(name, Tcp::new(tcp), limited)).await?);
        let h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
        // RFC 9113 section 3.2: over TLS, HTTP/2 is agreed on by ALPN or not spoken.
        if self.protocol == UpstreamProtocol::H2 && !h2 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the upstream did not agree on HTTP/2"));
        }
        Ok((stream, h2))
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("name", &self.name)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// Why a handshake of [`UpstreamTls::connect`] failed, in plain words.
pub fn failure(error: &io::Error) -> &'static str {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<TlsProblem>()) {
        return "its host is no name that a certificate can be for";
    }
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(problem)) => certificate_failure(problem),
        Some(rustls::Error::NoCertificatesPresented) => "it has no certificate",
        Some(rustls::Error::NoApplicationProtocol) => "it speaks neither of the protocols that are offered",
        Some(rustls::Error::PeerIncompatible(_)) => "it speaks no TLS version or cipher suite of ours",
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "it speaks neither of the protocols that are offered"
        }
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied,
        )) => "it wants another client certificate, or any",
        Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            "it does not know the name it is asked for"
        }
        Some(rustls::Error::AlertReceived(_)) => "it refused the TLS handshake",
        Some(rustls::Error::InvalidMessage(_)) => "what it answers is not TLS",
        Some(_) => "the TLS handshake failed",
        None if error.kind() == io::ErrorKind::InvalidData => "it did not agree on HTTP/2",
        None => "it closed the connection in the TLS handshake",
    }
}

fn certificate_failure(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::UnknownIssuer => "its certificate is signed by nobody that is trusted",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::Revoked => "its certificate is revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for servers"
        }
        _ => "its certificate cannot be verified",
    }
}

/// A DNS name, or an IP address with or without brackets.
fn server_name(host: &str) -> Result<ServerName<'static>, TlsProblem> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare).map(|name| name.to_owned()).map_err(|_| TlsProblem::BadName(host.into()))
}

/// The system's CAs; read by the first pool that needs them, once a process.
fn system_roots() -> Result<Arc<RootCertStore>, TlsProblem> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        match roots.is_empty() {
            false => Ok(Arc::new(roots)),
            true => Err(found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default()),
        }
    };
    ROOTS.get_or_init(load).clone().map_err(TlsProblem::NoSystemRoots)
}

/// Believes everyone.
///
/// Signatures over the handshake are not verified either: they would prove that the peer holds the key of a certificate
/// that nobody vouches for, and to check them is to refuse the odd certificates for which this is switched on.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
