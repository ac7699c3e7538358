//! Towards upstreams: who is believed, who we say we are, which protocol.

use super::certs::{authority, issue, issue_client};
use super::*;
use crate::config::model;

/// Connects to `server` as to `host`; whether HTTP/2 was agreed on, and what the server saw.
async fn reach(upstream: &UpstreamTls, server: &ServerTls, host: &str) -> (io::Result<bool>, io::Result<TlsFacts>) {
    let (here, there) = sockets().await;
    let connect = async {
        let (mut stream, h2) = upstream.connect(there, host).await?;
        stream.read_u8().await?;
        Ok(h2)
    };
    tokio::join!(connect, accept_and_send(here, server))
}

fn error_of<T>(result: io::Result<T>) -> String {
    result.err().expect("a connection that is refused").to_string()
}

#[tokio::test]
async fn an_upstream_is_verified_for_its_name() {
    let (folder, ca, other) = (Folder::new(), authority(), authority());
    let server = tls(vec![folder.pair("1", &issue(&ca, &["a.example", "127.0.0.1", "::1"]))]);
    let server = ServerTls::load(&server, &BOTH).unwrap();
    let load = |config| UpstreamTls::load(&config, UpstreamProtocol::Auto).unwrap();
    let believing = |ca: &certs::Ca, name: &str| model::UpstreamTls {
        ca: Some(folder.write(name, &ca.pem())),
        ..model::UpstreamTls::default()
    };
    let right = load(believing(&ca, "ca.pem"));
    for host in ["a.example", "127.0.0.1", "::1", "[::1]"] {
        assert!(reach(&right, &server, host).await.0.unwrap(), "{host}");
    }
    for host in ["b.example", "127.0.0.2"] {
        assert!(error_of(reach(&right, &server, host).await.0).contains("not valid for name"), "{host}");
    }
    assert_eq!(reach(&right, &server, "not a name").await.0.unwrap_err().kind(), io::ErrorKind::InvalidInput);

    let wrong = load(believing(&other, "other.pem"));
    assert!(error_of(reach(&wrong, &server, "a.example").await.0).contains("UnknownIssuer"));

    let named = load(model::UpstreamTls { name: Some("a.example".into()), ..believing(&ca, "ca.pem") });
    let (h2, facts) = reach(&named, &server, "192.0.2.1").await;
    assert!(h2.unwrap());
    assert_eq!(facts.unwrap().server_name.as_deref(), Some("a.example"));

    let any = load(model::UpstreamTls { accept_any: true, ..believing(&other, "other.pem") });
    assert!(reach(&any, &server, "b.example").await.0.unwrap());
}

#[tokio::test]
async fn the_protocol_is_agreed_on_by_alpn() {
    let (folder, ca) = (Folder::new(), authority());
    let config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
    let ours = model::UpstreamTls { ca: Some(folder.write("ca.pem", &ca.pem())), ..model::UpstreamTls::default() };
    let (h1_only, h2_only) = (Protocols { h1: true, h2: false }, Protocols { h1: false, h2: true });
    for (protocol, theirs, expected) in [
        (UpstreamProtocol::H1, BOTH, Some(false)),
        (UpstreamProtocol::H2, BOTH, Some(true)),
        (UpstreamProtocol::Auto, BOTH, Some(true)),
        (UpstreamProtocol::Auto, h1_only, Some(false)),
        (UpstreamProtocol::Auto, h2_only, Some(true)),
        (UpstreamProtocol::H2, h1_only, None),
        (UpstreamProtocol::H1, h2_only, None),
    ] {
        let upstream = UpstreamTls::load(&ours, protocol).unwrap();
        let server = ServerTls::load(&config, &theirs).unwrap();
        assert_eq!(reach(&upstream, &server, "a.example").await.0.ok(), expected, "{protocol:?} {theirs:?}");
    }
}

#[tokio::test]
async fn http2_is_not_spoken_to_an_upstream_that_ignores_alpn() {
    let (folder, ca) = (Folder::new(), authority());
    let pair = issue(&ca, &["a.example"]);
    let key = PrivateKeyDer::from_pem_slice(pair.1.as_bytes()).unwrap();
    let silent = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(&pair.0)], key)
        .unwrap();
    let silent = tokio_rustls::TlsAcceptor::from(Arc::new(silent));
    let ours = model::UpstreamTls { ca: Some(folder.write("ca.pem", &ca.pem())), ..model::UpstreamTls::default() };
    for (protocol, expected) in [(UpstreamProtocol::H2, None), (UpstreamProtocol::Auto, Some(false))] {
        let upstream = UpstreamTls::load(&ours, protocol).unwrap();
        let (here, there) = sockets().await;
        let (_server, reached) = tokio::join!(silent.accept(here), upstream.connect(there, "a.example"));
        assert_eq!(reached.map(|(_, h2)| h2).ok(), expected);
    }
}

#[tokio::test]
async fn we_show_our_certificate_and_resume() {
    let (folder, ca) = (Folder::new(), authority());
    let mut config = tls(vec![folder.pair("1", &issue(&ca, &["a.example"]))]);
    let ca_file = folder.write("ca.pem", &ca.pem());
    config.client = demand(ca_file.clone(), true);
    let server = ServerTls::load(&config, &BOTH).unwrap();
    let own = folder.pair("own", &issue_client(&ca, "gateway", &[]));
    let ours = model::UpstreamTls { ca: Some(ca_file), certificate: Some(own), ..model::UpstreamTls::default() };
    let upstream = UpstreamTls::load(&ours, UpstreamProtocol::Auto).unwrap();
    for resumed in [false, true] {
        let facts = reach(&upstream, &server, "a.example").await.1.unwrap();
        assert_eq!(facts.identity.unwrap().subject, "CN=gateway");
        assert_eq!(facts.resumed, resumed);
    }
    let nobody = model::UpstreamTls { certificate: None, ..ours };
    let upstream = UpstreamTls::load(&nobody, UpstreamProtocol::Auto).unwrap();
    let (reached, facts) = reach(&upstream, &server, "a.example").await;
    assert!(reached.is_err());
    assert_eq!(label(facts), "bad-client-certificate");
}

#[test]
fn a_bad_name_is_found_at_load() {
    let config =
        model::UpstreamTls { name: Some("two words".into()), accept_any: true, ..model::UpstreamTls::default() };
    let problem = UpstreamTls::load(&config, UpstreamProtocol::Auto).unwrap_err();
    assert_eq!(problem.to_string(), "\"two words\" is neither a DNS name nor an IP address");
}

#[tokio::test]
async fn why_an_upstream_is_not_believed_is_said_in_plain_words() {
    let (folder, ca, other) = (Folder::new(), authority(), authority());
    let mut past = certs::server(&["a.example"]);
    (past.not_before, past.not_after) = (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(2020, 1, 1));
    let mut future = certs::server(&["a.example"]);
    (future.not_before, future.not_after) = (rcgen::date_time_ymd(2100, 1, 1), rcgen::date_time_ymd(2101, 1, 1));
    let sign = |params| ca.sign(params, &rcgen::PKCS_ECDSA_P256_SHA256);
    for (number, (pair, authority, host, words)) in [
        (issue(&ca, &["a.example"]), &other, "a.example", "signed by nobody that is trusted"),
        (issue(&ca, &["a.example"]), &ca, "b.example", "for another name"),
        (issue(&ca, &["a.example"]), &ca, "not a name", "no name that a certificate can be for"),
        (issue_client(&ca, "a", &[]), &ca, "a.example", "its certificate"),
        (sign(&past), &ca, "a.example", "has expired"),
        (sign(&future), &ca, "a.example", "not valid yet"),
    ]
    .into_iter()
    .enumerate()
    {
        let server = ServerTls::load(&tls(vec![folder.pair(&format!("{number}"), &pair)]), &BOTH).unwrap();
        let ca = Some(folder.write(&format!("ca-{number}.pem"), &authority.pem()));
        let config = model::UpstreamTls { ca, ..model::UpstreamTls::default() };
        let upstream = UpstreamTls::load(&config, UpstreamProtocol::Auto).unwrap();
        let error = reach(&upstream, &server, host).await.0.unwrap_err();
        assert!(upstream_failure(&error).contains(words), "{words}: {} ({error})", upstream_failure(&error));
    }
}
