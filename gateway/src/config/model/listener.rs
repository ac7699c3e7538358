//! `[[listener]]`: where connections come in.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::http::FieldName;

/// `[[listener]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `address`
    pub address: SocketAddr,
    /// `tls`
    pub tls: Option<Tls>,
    /// `protocols`: what is offered by ALPN, and taken in cleartext by its first bytes.
    pub protocols: Protocols,
    /// `proxy_protocol`: the networks that may, and must, open with a PROXY header. Empty: none is looked for.
    pub proxy_protocol: Vec<IpNet>,
}

/// `protocols = ["h1", "h2"]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.1 and HTTP/1.0.
    pub h1: bool,
    /// HTTP/2.
    pub h2: bool,
}

/// `tls = …` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `tls = "dev"` gives [`Certificates::Dev`], a list the others. The first is the default.
    pub certificates: Certificates,
    /// `minimum = "1.2"`
    pub minimum: TlsVersion,
    /// `client = { … }`
    pub client: Option<ClientCertificates>,
}

/// Where a listener's certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// A self-signed one for localhost, made at the start.
    Dev,
    /// PEM files; names come from the certificates themselves.
    Files(Vec<CertificateFiles>),
}

/// `{ certificate = "…", key = "…" }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// The oldest TLS version that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    Tls13,
}

/// `client = { ca = "ca.pem", required = true, … }` of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Who may sign them, PEM.
    pub ca: PathBuf,
    /// Whether a client without one is turned away (default true).
    pub required: bool,
    /// `subject_header`, `san_header`, `fingerprint_header`: where the identity is passed on. A client's own fields of
    /// these names are removed.
    pub subject_header: Option<FieldName>,
    /// Subject alternative names, comma-separated, as `DNS:a, URI:b`.
    pub san_header: Option<FieldName>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint_header: Option<FieldName>,
}
