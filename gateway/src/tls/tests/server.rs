//! Towards clients: which certificate, which protocol, who is let in, what is resumed.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::UnixTime;
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::certs::{self, authority, issue, issue_client};
use super::*;

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let (folder, ca) = (Folder::new(), authority());
    let first = issue(&ca, &["first.example", "127.0.0.1", "deep.one.wild.example"]);
    let exact = issue(&ca, &["exact.example", "exact.wild.example"]);
    let wildcard = issue(&ca, &["*.wild.example"]);
    let files = vec![folder.pair("1", &first), folder.pair("2", &exact), folder.pair("3", &wildcard)];
    let server = ServerTls::load(&tls(files), &BOTH).unwrap();
    let client = client(&ca.pem());
    for (name, expected) in [
        ("first.example", &first),
        ("exact.example", &exact),
        ("EXACT.example", &exact),
        ("exact.wild.example", &exact),
        ("some.wild.example", &wildcard),
        ("deep.one.wild.example", &first),
        ("127.0.0.1", &first),
    ] {
        let (facts, stream) = meet(&server, &client, name).await;
        assert_eq!(shown(&stream.unwrap()), certificate(&expected.0), "{name}");
        let asked = Some(name.to_lowercase()).filter(|name| name != "127.0.0.1");
        assert_eq!(facts.unwrap().server_name, asked);
    }
    // Nobody's name: the default, which the client then refuses.
    let (facts, _) = meet(&server, &client, "wild.example").await;
    assert_eq!(label(facts), "refused-by-client");
}

#[tokio::test]
async fn the_common_name_counts_only_without_alternative_names() {
    let (folder, ca) = (Folder::new(), authority());
    let first = issue(&ca, &["first.example"]);
    let mut old = certs::server(&[]);
    old.distinguished_name.push(rcgen::DnType::CommonName, "old.example");
    let mut both = certs::server(&["both.example"]);
    both.distinguished_name.push(rcgen::DnType::CommonName, "not.example");
    let [old, both] = [old, both].map(|params| ca.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256));
    let files = vec![folder.pair("1", &first), folder.pair("2", &old), folder.pair("3", &both)];
    let server = ServerTls::load(&tls(files), &BOTH).unwrap();
    for (name, expected) in [("old.example", &old), ("not.example", &first), ("both.example", &both)] {
        let (_, stream) = meet(&server, &Arc::new(credulous(&[SignatureScheme::ECDSA_NISTP256_SHA256])), name).await;
        assert_eq!(shown(&stream.unwrap()), certificate(&expected.0), "{name}");
    }
}

#[tokio::test]
async fn the_clients_schemes_choose_between_rsa_and_ecdsa() {
    let (folder, ca) = (Folder::new(), authority());
    let rsa = ca.sign(&certs::server(&["both.example"]), &rcgen::PKCS_RSA_SHA256);
    let ecdsa = issue(&ca, &["both.example"]);
    let server = ServerTls::load(&tls(vec![folder.pair("rsa", &rsa), folder.pair("ecdsa", &ecdsa)]), &BOTH).unwrap();
    let (pss, p256) = (SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256);
    for name in ["both.example", "default.example"] {
        for (schemes, expected) in [(&[pss][..], &rsa), (&[p256], &ecdsa), (&[pss, p256], &ecdsa)] {
            let (_, stream) = meet(&server, &Arc::new(credulous(schemes)), name).await;
            assert_eq!(shown(&stream.unwrap()), certificate(&expected.0), "{name} {schemes:?}");
        }
    }
    let (facts, _) = meet(&server, &Arc::new(credulous(&[SignatureScheme::ED25519])), "both.example").await;
    assert!(facts.is_err());
}

#[tokio::test]
async fn protocols_are_agreed_on_by_alpn() {
    let (folder, ca) = (Folder::new(), authority());
    let config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
    let (h1, h2): (&[u8], &[u8]) = (b"http/1.1", b"h2");
    for (ours, theirs, expected) in [
        ((true, true), &[h1, h2][..], Ok(true)),
        ((true, true), &[h1], Ok(false)),
        ((true, true), &[], Ok(false)),
        ((true, true), &[b"imap"], Err("no-shared-protocol")),
        ((true, false), &[h1, h2], Ok(false)),
        ((true, false), &[h2], Err("no-shared-protocol")),
        ((false, true), &[h1, h2], Ok(true)),
        ((false, true), &[h1], Err("no-shared-protocol")),
        ((false, true), &[], Err("no-shared-protocol")),
    ] {
        let server = ServerTls::load(&config, &Protocols { h1: ours.0, h2: ours.1 }).unwrap();
        let mut client = client_of(rustls::ALL_VERSIONS, &ca.pem(), None);
        client.alpn_protocols = theirs.iter().map(|name| name.to_vec()).collect();
        let (facts, _) = meet(&server, &Arc::new(client), "a.example").await;
        let agreed = facts.map(|facts| facts.alpn_h2).map_err(|error| HandshakeFailure::of(&error).label());
        assert_eq!(agreed, expected, "{ours:?} {theirs:?}");
    }
}

#[tokio::test]
async fn the_minimum_version_is_kept() {
    let (folder, ca) = (Folder::new(), authority());
    let mut config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
    let (old, new) = (client_of(&[&TLS12], &ca.pem(), None), client_of(&[&TLS13], &ca.pem(), None));
    let (old, new) = (Arc::new(old), Arc::new(new));
    let server = ServerTls::load(&config, &BOTH).unwrap();
    let facts = meet(&server, &old, "a.example").await.0.unwrap();
    assert_eq!((facts.version, &facts.cipher[..22]), ("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_A"));
    let facts = meet(&server, &new, "a.example").await.0.unwrap();
    assert_eq!((facts.version, &facts.cipher[..8]), ("TLSv1.3", "TLS_AES_"));
    config.minimum = TlsVersion::Tls13;
    let server = ServerTls::load(&config, &BOTH).unwrap();
    assert_eq!(label(meet(&server, &old, "a.example").await.0), "no-shared-parameters");
    assert!(meet(&server, &new, "a.example").await.0.is_ok());
}

#[tokio::test]
async fn sessions_are_resumed_also_after_a_reload_with_a_renewed_certificate() {
    let ids = Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly);
    for (version, resumption) in [(&TLS13, None), (&TLS12, None), (&TLS12, Some(ids))].into_iter().collect::<Vec<_>>() {
        let (folder, ca) = (Folder::new(), authority());
        let config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
        let mut client = client_of(&[version], &ca.pem(), None);
        client.resumption = resumption.unwrap_or(client.resumption);
        let client = Arc::new(client);
        let server = ServerTls::load(&config, &BOTH).unwrap();
        assert!(!meet(&server, &client, "a.example").await.0.unwrap().resumed);
        assert!(meet(&server, &client, "a.example").await.0.unwrap().resumed);
        folder.pair("1", &issue(&ca, &["a.example"]));
        let again = ServerTls::load(&config, &BOTH).unwrap();
        drop(server);
        assert!(meet(&again, &client, "a.example").await.0.unwrap().resumed, "{version:?}");
    }
}

#[tokio::test]
async fn no_session_is_resumed_under_other_demands_on_client_certificates() {
    for version in [&TLS13, &TLS12] {
        let (folder, ca) = (Folder::new(), authority());
        let mut config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
        let own = issue_client(&ca, "me", &[]);
        let client = Arc::new(client_of(&[version], &ca.pem(), Some(&own)));
        let anyone = ServerTls::load(&config, &BOTH).unwrap();
        assert!(meet(&anyone, &client, "a.example").await.0.unwrap().identity.is_none());
        config.client = demand(folder.write("ca.pem", &ca.pem()), true);
        let demanding = ServerTls::load(&config, &BOTH).unwrap();
        let facts = meet(&demanding, &client, "a.example").await.0.unwrap();
        assert!(!facts.resumed && facts.identity.is_some());
        let facts = meet(&demanding, &client, "a.example").await.0.unwrap();
        assert!(facts.resumed && facts.identity.is_some());
        // Another CA from now on, in the same file.
        folder.write("ca.pem", &authority().pem());
        let changed = ServerTls::load(&config, &BOTH).unwrap();
        assert_eq!(label(meet(&changed, &client, "a.example").await.0), "bad-client-certificate");
    }
}

#[tokio::test]
async fn client_certificates_are_optional_or_required() {
    let (folder, ca, other) = (Folder::new(), authority(), authority());
    let mut config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
    let good = issue_client(&ca, "billing", &["spiffe://example/billing"]);
    let bad = issue_client(&other, "billing", &[]);
    let server_only = issue(&ca, &["billing"]);
    let identified = Ok(Some("CN=billing URI:spiffe://example/billing".to_owned()));
    for version in [&TLS13, &TLS12] {
        for (required, own, expected) in [
            (true, Some(&good), &identified),
            (true, None, &Err("bad-client-certificate")),
            (true, Some(&bad), &Err("bad-client-certificate")),
            (true, Some(&server_only), &Err("bad-client-certificate")),
            (false, Some(&good), &identified),
            (false, None, &Ok(None)),
            (false, Some(&bad), &Err("bad-client-certificate")),
        ] {
            config.client = demand(folder.write("ca.pem", &ca.pem()), required);
            let server = ServerTls::load(&config, &BOTH).unwrap();
            let client = Arc::new(client_of(&[version], &ca.pem(), own));
            let (facts, _) = meet(&server, &client, "a.example").await;
            let said = facts
                .map(|facts| facts.identity.map(|identity| format!("{} {}", identity.subject, identity.san)))
                .map_err(|error| HandshakeFailure::of(&error).label());
            assert_eq!(&said, expected, "{version:?} {required}");
        }
    }
}

#[tokio::test]
async fn what_is_not_tls_and_who_goes_away_are_told_apart() {
    let server =
        ServerTls::load(&Tls { certificates: Certificates::Dev, minimum: TlsVersion::Tls12, client: None }, &BOTH)
            .unwrap();
    for (sent, expected) in [
        (&b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"[..], "not-tls"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not-tls"),
        (b"", "closed"),
        (b"\x16\x03\x01\x02\x00\x01", "closed"),
    ] {
        let (here, mut there) = sockets().await;
        there.write_all(sent).await.unwrap();
        there.shutdown().await.unwrap();
        assert_eq!(label(accept(here, &server).await.map_err(|(error, _)| error)), expected, "{sent:?}");
    }
}

#[tokio::test]
async fn the_development_certificate_serves_localhost_and_stays_over_reloads() {
    let config = Tls { certificates: Certificates::Dev, minimum: TlsVersion::Tls12, client: None };
    let made = dev_certificate().unwrap();
    let client = client(&made.pem);
    for name in ["localhost", "127.0.0.1", "::1"] {
        let server = ServerTls::load(&config, &BOTH).unwrap();
        let (facts, stream) = meet(&server, &client, name).await;
        facts.unwrap();
        assert_eq!(shown(&stream.unwrap()), certificate(&made.pem));
    }
}

/// A client that believes everyone and verifies with these schemes only.
fn credulous(schemes: &[SignatureScheme]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(rustls::ALL_VERSIONS).unwrap();
    let verifier = Arc::new(Schemes(schemes.to_vec()));
    builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

#[derive(Debug)]
struct Schemes(Vec<SignatureScheme>);

impl ServerCertVerifier for Schemes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
