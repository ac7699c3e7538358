//! TLS towards clients.
//!
//! In: a listener's configuration, then connected sockets. Out: an encrypted stream and the facts about it, or an error
//! that [`HandshakeFailure::of`] sorts.
//!
//! There is no answer 421 for a client certificate that does not go with the request's host: all names of a listener
//! share one set of demands on client certificates, so a request for another host than that of the handshake gains
//! nothing. Listeners with different demands have different sockets, and share no tickets (see `resumption`).

use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    AlertDescription, CipherSuite, HandshakeKind, InvalidMessage, ProtocolVersion, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::choose::Certificates;
use super::resumption::Resumption;
use super::{ALPN_H1, ALPN_H2, ClientIdentity, TlsProblem, WRITE_BUFFER, dev, pem, provider};
use crate::config::model::{self, ClientCertificates, Protocols, TlsVersion};
use crate::http::Tcp;

/// The TLS of one listener. Cheap to clone; immutable; shared by all workers.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    protocols: Protocols,
    /// Held so that the next configuration of this listener finds it.
    _resumption: Arc<Resumption>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Accepted {
    /// What to read from and write to.
    pub stream: Box<TlsStream<Tcp>>,
    /// What the handshake told.
    pub facts: TlsFacts,
}

/// What a handshake told.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// By its IANA name.
    pub cipher: &'static str,
    /// The name that the client asked for, lower case.
    pub server_name: Option<String>,
    /// Whether HTTP/2 was agreed on; else it is HTTP/1.
    pub alpn_h2: bool,
    /// Whether a former session was resumed.
    pub resumed: bool,
    /// Who the client proved to be.
    pub identity: Option<Rc<ClientIdentity>>,
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeFailure {
    /// The client speaks neither of the protocols that the listener offers.
    NoSharedProtocol,
    /// The client speaks no TLS version, cipher suite, group or signature scheme of ours.
    NoSharedParameters,
    /// The client's certificate is missing, unknown, expired or not to be read.
    BadClientCertificate,
    /// The client did not accept our certificate, or gave up with another alert.
    RefusedByClient,
    /// What came was not TLS, as when plain HTTP is sent to this port.
    NotTls,
    /// The client went away.
    Closed,
    /// Anything else.
    Other,
}

/// An error that was found after the handshake of rustls had ended.
#[derive(Debug)]
struct Unacceptable {
    failure: HandshakeFailure,
    what: &'static str,
}

impl ServerTls {
    /// Reads all files of a listener and checks them.
    pub fn load(tls: &model::Tls, protocols: &Protocols) -> Result<ServerTls, TlsProblem> {
        // Read once: what the tickets are bound to is what the verifier believes, even if the file changes just now.
        let client = match &tls.client {
            Some(client) => Some((client, pem::read(&client.ca)?)),
            None => None,
        };
        let resumption = Resumption::shared(tls, client.as_ref().map(|(_, ca)| ca.as_slice()))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(tls.minimum))
            .map_err(|error| TlsProblem::Crypto(error.to_string()))?;
        let builder = match &client {
            Some((client, ca)) => builder.with_client_cert_verifier(verifier(client, ca)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates(&tls.certificates)?));
        // In the order of our preference: rustls takes the first that the client offers too.
        config.alpn_protocols = [(protocols.h2, ALPN_H2), (protocols.h1, ALPN_H1)]
            .into_iter()
            .filter(|(offered, _)| *offered)
            .map(|(_, name)| name.to_vec())
            .collect();
        config.ticketer = resumption.ticketer.clone();
        config.session_storage = resumption.sessions.clone();
        // One to use on the next connection, one for a second connection beside it.
        config.send_tls13_tickets = 2;
        // Early data could be replayed, and would reach an upstream twice.
        config.max_early_data_size = 0;
        Ok(ServerTls { acceptor: TlsAcceptor::from(Arc::new(config)), protocols: *protocols, _resumption: resumption })
    }

    fn take(&self, facts: TlsFacts) -> io::Result<TlsFacts> {
        // RFC 9113 section 3.2: HTTP/2 over TLS is agreed on by ALPN or not spoken. rustls refuses a client whose ALPN names
        // none of ours; this one sent no ALPN, which means HTTP/1.
        if !facts.alpn_h2 && !self.protocols.h1 {
            return Err(unacceptable(HandshakeFailure::NoSharedProtocol, "no ALPN, but only HTTP/2 is offered"));
        }
        Ok(facts)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("protocols", &self.protocols).finish_non_exhaustive()
    }
}

/// Takes a client through the handshake. When that fails the client has been told by an alert, which it gets to read if the
/// connection is not closed at once.
pub async fn accept(tcp: TcpStream, tls: &ServerTls) -> Result<Accepted, (io::Error, Tcp)> {
    // Boxed at once: a handshake's state is a kilobyte and more, and would otherwise stay a part of the connection's task.
    let handshake = tls.acceptor.accept_with(Tcp::new(tcp), |session| session.set_buffer_limit(Some(WRITE_BUFFER)));
    let stream = Box::new(Box::pin(handshake.into_fallible()).await?);
    match TlsFacts::of(stream.get_ref().1).and_then(|facts| tls.take(facts)) {
        Ok(facts) => Ok(Accepted { stream, facts }),
        Err(error) => Err((error, stream.into_inner().0)),
    }
}

impl TlsFacts {
    fn of(session: &ServerConnection) -> io::Result<TlsFacts> {
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let identity = leaf
            .map(|leaf| ClientIdentity::read(leaf, SystemTime::now()))
            .transpose()
            .map_err(|what| unacceptable(HandshakeFailure::BadClientCertificate, what))?;
        Ok(TlsFacts {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: session.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            server_name: session.server_name().map(str::to_owned),
            alpn_h2: session.alpn_protocol() == Some(ALPN_H2),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            identity: identity.map(Rc::new),
        })
    }
}

impl HandshakeFailure {
    /// What an error of [`accept`] was about.
    pub fn of(error: &io::Error) -> HandshakeFailure {
        let Some(inner) = error.get_ref() else { return HandshakeFailure::of_io(error.kind()) };
        if let Some(unacceptable) = inner.downcast_ref::<Unacceptable>() {
            return unacceptable.failure;
        }
        let Some(tls) = inner.downcast_ref::<rustls::Error>() else { return HandshakeFailure::of_io(error.kind()) };
        match tls {
            rustls::Error::NoApplicationProtocol => HandshakeFailure::NoSharedProtocol,
            rustls::Error::PeerIncompatible(_) => HandshakeFailure::NoSharedParameters,
            rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_) => {
                HandshakeFailure::BadClientCertificate
            }
            rustls::Error::AlertReceived(AlertDescription::CloseNotify) => HandshakeFailure::Closed,
            rustls::Error::AlertReceived(_) => HandshakeFailure::RefusedByClient,
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => HandshakeFailure::NotTls,
            _ => HandshakeFailure::Other,
        }
    }

    fn of_io(kind: io::ErrorKind) -> HandshakeFailure {
        match kind {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe => HandshakeFailure::Closed,
            _ => HandshakeFailure::Other,
        }
    }

    /// The word for it in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            HandshakeFailure::NoSharedProtocol => "no-shared-protocol",
            HandshakeFailure::NoSharedParameters => "no-shared-parameters",
            HandshakeFailure::BadClientCertificate => "bad-client-certificate",
            HandshakeFailure::RefusedByClient => "refused-by-client",
            HandshakeFailure::NotTls => "not-tls",
            HandshakeFailure::Closed => "closed",
            HandshakeFailure::Other => "other",
        }
    }
}

impl HandshakeFailure {
    /// What happened, in plain words.
    pub fn words(self) -> &'static str {
        match self {
            HandshakeFailure::NoSharedProtocol => "the client speaks neither of the protocols that are offered",
            HandshakeFailure::NoSharedParameters => "the client speaks no TLS version or cipher suite of ours",
            HandshakeFailure::BadClientCertificate => {
                "the client's certificate is missing, not trusted, expired or unreadable"
            }
            HandshakeFailure::RefusedByClient => "the client does not accept our certificate, or gave up",
            HandshakeFailure::NotTls => "what the client sent is not TLS",
            HandshakeFailure::Closed => "the client went away",
            HandshakeFailure::Other => "the handshake failed",
        }
    }
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for Unacceptable {}

fn unacceptable(failure: HandshakeFailure, what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Unacceptable { failure, what })
}

fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static SINCE_12: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    static SINCE_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match minimum {
        TlsVersion::Tls12 => &SINCE_12,
        TlsVersion::Tls13 => &SINCE_13,
    }
}

fn verifier(client: &ClientCertificates, ca: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsProblem> {
    let builder = WebPkiClientVerifier::builder_with_provider(pem::roots(&client.ca, ca)?, provider());
    let builder = if client.required { builder } else { builder.allow_unauthenticated() };
    let bad = |error: rustls::server::VerifierBuilderError| TlsProblem::BadCertificate {
        path: client.ca.clone(),
        what: error.to_string(),
    };
    builder.build().map_err(bad)
}

fn certificates(certificates: &model::Certificates) -> Result<Certificates, TlsProblem> {
    match certificates {
        model::Certificates::Dev => {
            Certificates::new(vec![(Path::new("dev"), dev::dev_certificate()?.certified_key())])
        }
        model::Certificates::Files(files) => {
            let pairs = files.iter().map(|files| Ok((files.certificate.as_path(), pem::certified_key(files)?)));
            Certificates::new(pairs.collect::<Result<_, TlsProblem>>()?)
        }
    }
}

/// IANA's name; rustls has its own for those of TLS 1.3.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}
