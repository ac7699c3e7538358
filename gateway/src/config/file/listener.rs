//! `[[listener]]`: where connections come in.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::config::model::TlsVersion;

/// Where clients connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, such as `"0.0.0.0:8080"` or `"[::]:8443"`.
    #[schemars(extend("examples" = ["0.0.0.0:8080", "[::]:8443"]))]
    pub address: At<String>,
    /// TLS: "dev" (a self-signed certificate for localhost, made at the start), a list of certificates, or a table.
    /// When not given, cleartext.
    pub tls: Option<At<ListenerTls>>,
    /// What is spoken: by ALPN over TLS, in cleartext by the first bytes.
    #[schemars(length(min = 1), extend("default" = ["h1", "h2"]))]
    pub protocols: Option<Vec<At<Protocol>>>,
    /// Networks whose connections must open with a PROXY protocol header (v1 or v2), whose client address is then
    /// believed; from elsewhere no such header is taken. When empty none is looked for.
    #[schemars(extend("default" = []))]
    pub proxy_protocol: Option<Vec<At<String>>>,
}

/// "dev", a list, or a table.
pub type ListenerTls = Either<Dev, Either<Vec<CertificateFiles>, Tls>>;

/// What is spoken to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    H1,
    /// HTTP/2.
    H2,
}

/// A listener's TLS with all its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// "dev", or a list of certificates; each is chosen by the names in it, the first is the default.
    pub certificates: At<Either<Dev, Vec<CertificateFiles>>>,
    /// The oldest version that is taken.
    #[schemars(extend("default" = "1.2"))]
    pub minimum: Option<TlsVersion>,
    /// Asks clients for certificates.
    pub client: Option<ClientCertificates>,
}

/// A certificate and its key, as PEM files. They are read again when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file with the chain, leaf first.
    pub certificate: At<String>,
    /// PEM file with the private key.
    pub key: At<String>,
}

/// Client certificates (mutual TLS).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file with the authorities that may sign them.
    pub ca: At<String>,
    /// Whether a client without one is turned away.
    #[schemars(extend("default" = true))]
    pub required: Option<bool>,
    /// Header that tells endpoints the subject. Clients' own headers of this name are removed.
    pub subject_header: Option<At<String>>,
    /// Header that tells endpoints the alternative names, as "DNS:a, URI:b".
    pub san_header: Option<At<String>>,
    /// Header that tells endpoints the SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint_header: Option<At<String>>,
}
