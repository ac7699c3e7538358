//! TLS towards clients: certificates by name, versions, resumption, client certificates, and files that change.

use std::fmt::Display;

use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::tls::{self, pki};
use crate::harness::{Client, Frames, Gateway, Message, Origin, Raw, RawOrigin, Wire, certs, eventually, within};

/// A TLS listener with these keys, before this origin.
async fn listening(keys: &str, origin: impl Display) -> Gateway {
    Gateway::to(origin).and(&format!("[[listener]]\naddress = '127.0.0.1:0'\n{keys}")).start().await
}

const ONE: &str = "tls = [{ certificate = 'server.pem', key = 'server.key' }]";

async fn get(raw: &mut Raw, fields: &str) -> Message {
    raw.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
    raw.response().await
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM").to_vec()
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let certificates = [["a.example"].as_slice(), &["*.b.example"], &["c.b.example", "d.example"]];
    let certificates = certificates.map(|names| certs::issue(&pki().ca, names));
    let text = "
        [[listener]]
        address = '127.0.0.1:0'
        tls = [
            { certificate = '0.pem', key = '0.key' },
            { certificate = '1.pem', key = '1.key' },
            { certificate = '2.pem', key = '2.key' },
        ]
        [[route]]
        respond = 'hi'";
    let mut gateway = Gateway::of(text);
    for (number, (certificate, key)) in certificates.iter().enumerate() {
        gateway = gateway.file(&format!("{number}.pem"), certificate).file(&format!("{number}.key"), key);
    }
    let gateway = gateway.start().await;
    for (name, number) in [("a.example", 0), ("x.b.example", 1), ("c.b.example", 2), ("d.example", 2)] {
        let (_, facts) = Raw::connect_tls_with(gateway.address(), tls::client(&[]), name).await.expect("a handshake");
        assert_eq!(facts.certificate, der(&certificates[number].0), "{name}");
    }
    // The first is the default, which a client that asks for another name does not take.
    let unknown = Raw::connect_tls_with(gateway.address(), tls::client(&[]), "unknown.example").await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn the_protocol_is_agreed_on_by_alpn() {
    let origin = Origin::echo().await;
    let gateway = listening(ONE, &origin).await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2")),
        (&[], None),
    ] {
        let connecting = Raw::connect_tls_with(gateway.address(), tls::client(offered), tls::NAME).await;
        assert_eq!(connecting.expect("a handshake").1.alpn.as_deref(), chosen);
    }
    let strange = Raw::connect_tls_with(gateway.address(), tls::client(&["spdy/3"]), tls::NAME).await;
    assert!(strange.is_err());
}

#[tokio::test]
async fn old_versions_are_refused_as_configured() {
    let origin = Origin::echo().await;
    let mut old = tls::client_of(&[&rustls::version::TLS12]);
    old.alpn_protocols = Vec::new();
    let gateway = listening(ONE, &origin).await;
    let (_, facts) = Raw::connect_tls_with(gateway.address(), old.clone(), tls::NAME).await.expect("a handshake");
    assert_eq!(facts.version, ProtocolVersion::TLSv1_2);
    let strict = "tls = { certificates = [{ certificate = 'server.pem', key = 'server.key' }], minimum = '1.3' }";
    let gateway = listening(strict, &origin).await;
    assert!(Raw::connect_tls_with(gateway.address(), old, tls::NAME).await.is_err());
    let (_, facts) = Raw::connect_tls_with(gateway.address(), tls::client(&[]), tls::NAME).await.expect("a handshake");
    assert_eq!(facts.version, ProtocolVersion::TLSv1_3);
}

#[tokio::test]
async fn sessions_are_resumed_by_whichever_worker() {
    let origin = Origin::echo().await;
    let text = format!("[[listener]]\naddress = '127.0.0.1:0'\n{ONE}\n[admin]\naddress = '127.0.0.1:0'");
    let text = format!("workers = 2\n[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\n{text}");
    let gateway = Gateway::of(&text).with("origin", &origin).start().await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let config = std::sync::Arc::new(tls::client_of(versions));
        for number in 0..6 {
            let connecting = Raw::connect_tls_with(gateway.address(), config.clone(), tls::NAME).await;
            let (mut raw, facts) = connecting.expect("a handshake");
            assert_eq!(facts.resumed, number > 0, "{versions:?}, connection {number}");
            // Tickets come with the first answer.
            assert_eq!(get(&mut raw, "").await.status(), 200);
        }
    }
    assert_eq!(gateway.metric("gatewright_tls_handshakes_total{result=\"resumed\"").await, 10.0);
}

const MUTUAL: &str = "
    [listener.tls]
    certificates = [{ certificate = 'server.pem', key = 'server.key' }]
    [listener.tls.client]
    ca = 'ca.pem'
    required = <required>
    subject_header = 'x-subject'
    san_header = 'x-names'
    fingerprint_header = 'x-fingerprint'";

const FORGED: &str = "X-Subject: CN=root\r\nX-Names: URI:root\r\nX-Fingerprint: 00\r\n";

#[tokio::test]
async fn a_clients_certificate_is_told_to_the_origin() {
    let origin = Origin::echo().await;
    let gateway = listening(&MUTUAL.replace("<required>", "true"), &origin).await;
    let config = tls::client_with(&pki().client, &[]);
    let (mut raw, _) = Raw::connect_tls_with(gateway.address(), config, tls::NAME).await.expect("a handshake");
    let seen = get(&mut raw, FORGED).await.seen();
    assert_eq!(seen["headers"]["x-subject"], "CN=tester");
    assert_eq!(seen["headers"]["x-names"], "URI:spiffe://test/tester");
    assert_eq!(seen["headers"]["x-fingerprint"].as_str().map(str::len), Some(64));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_or_nobody() {
    let origin = Origin::echo().await;
    let gateway = listening(&MUTUAL.replace("<required>", "true"), &origin).await;
    if let Ok((mut raw, _)) = Raw::connect_tls_with(gateway.address(), tls::client(&[]), tls::NAME).await {
        // In TLS 1.3 the client learns it only afterwards.
        let _ = raw.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.is_over().await;
    }
    assert_eq!(origin.requests(), 0);
    let gateway = listening(&MUTUAL.replace("<required>", "false"), &origin).await;
    let mut raw = Raw::connect_tls(gateway.address(), &[]).await;
    let seen = get(&mut raw, FORGED).await.seen();
    for name in ["x-subject", "x-names", "x-fingerprint"] {
        assert_eq!(seen["headers"][name], serde_json::Value::Null, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_asks_at_once_learns_that_it_needs_a_certificate() {
    let origin = Origin::echo().await;
    let gateway = listening(&MUTUAL.replace("<required>", "true"), &origin).await;
    for alpn in ["h2", "http/1.1"] {
        let connecting = Raw::connect_tls_with(gateway.address(), tls::client(&[alpn]), tls::NAME).await;
        let mut stream = connecting.expect("a handshake").0.into_stream();
        within("room to send", stream.write_all(&[b'x'; 50_000])).await.expect("to send");
        within("an answer", stream.tcp().readable()).await.expect("an answer");
        // What was refused may come on for a while: whoever fails to send does not read why.
        for _ in 0..20 {
            within("room to send", stream.write_all(&[b'x'; 5000])).await.expect("to send");
            stream.flush().await.expect("to send");
            tokio::task::yield_now().await;
        }
        let error = within("an alert", stream.read_u8()).await.expect_err("an alert");
        let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let required = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        assert_eq!(alert, Some(&required), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_turned_away() {
    let origin = Origin::echo().await;
    let gateway = listening(&MUTUAL.replace("<required>", "false"), &origin).await;
    let stranger = certs::issue_client(&certs::authority(), "stranger", &[]);
    if let Ok((mut raw, _)) =
        Raw::connect_tls_with(gateway.address(), tls::client_with(&stranger, &[]), tls::NAME).await
    {
        let _ = raw.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.is_over().await;
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn identity_fields_are_stripped_in_cleartext_too() {
    let origin = Origin::echo().await;
    let both = format!("[[listener]]\naddress = '127.0.0.1:0'\n{}", MUTUAL.replace("<required>", "true"));
    let gateway = Gateway::to(&origin).and(&format!("[[listener]]\naddress = '127.0.0.1:0'\n{both}")).start().await;
    let seen = gateway.get("localhost/", &[FORGED.trim_end()]).await.seen();
    for name in ["x-subject", "x-names", "x-fingerprint"] {
        assert_eq!(seen["headers"][name], serde_json::Value::Null, "{name}");
    }
}

#[tokio::test]
async fn an_identity_cannot_be_forged_by_spelling_or_in_trailers() {
    const FORGED: [(&str, &str); 4] = [
        ("x-client-subject", "CN=root"),
        ("x_client_subject", "CN=root"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-request-id", "mine"),
    ];
    let origin = RawOrigin::start().await;
    let keys = MUTUAL.replace("<required>", "false").replace("x-subject", "x-client-subject");
    let gateway = listening(&keys, &origin).await;
    let lines: String = FORGED.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut h1 = Raw::connect_tls(gateway.address(), &["http/1.1"]).await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nX_Client_Subject: CN=root\r\nTransfer-Encoding: chunked";
    h1.send(format!("{head}\r\n\r\n4\r\ndata\r\n0\r\n{lines}X-Kept: 1\r\n\r\n")).await;
    let mut h2 = Frames::connect(Raw::connect_tls(gateway.address(), &["h2"]).await).await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
    h2.headers(1, &[&head[..], &[("x_client_subject", "CN=root")]].concat(), false).await;
    h2.data(1, b"data", false).await;
    h2.headers(1, &[&FORGED[..], &[("x-kept", "1")]].concat(), true).await;
    for _ in 0..2 {
        let seen = origin.accept().await.request().await;
        assert_eq!(seen.text(), "data");
        for name in ["x-client-subject", "x_client_subject"] {
            assert_eq!(seen.field(name), None, "{seen:?}");
        }
        assert_eq!(seen.trailers, [("x-kept".to_owned(), "1".to_owned())]);
    }
}

#[tokio::test]
async fn changed_certificate_files_are_taken_without_a_dropped_connection() {
    let origin = Origin::echo().await;
    let text = format!("[[listener]]\naddress = '127.0.0.1:0'\n{ONE}");
    let gateway = Gateway::to(&origin).and(&text).start_file().await;
    let mut before = Raw::connect_tls(gateway.address(), &[]).await;
    assert_eq!(get(&mut before, "").await.status(), 200);
    let (certificate, key) = certs::issue(&pki().ca, &[tls::NAME]);
    std::fs::write(gateway.folder().join("server.key"), key).expect("a file");
    std::fs::write(gateway.folder().join("server.pem"), &certificate).expect("a file");
    eventually("the new certificate", async || {
        let connecting = Raw::connect_tls_with(gateway.address(), tls::client(&[]), tls::NAME).await;
        connecting.expect("a handshake").1.certificate == der(&certificate)
    })
    .await;
    assert_eq!(get(&mut before, "").await.status(), 200);
}

#[tokio::test]
async fn a_dev_certificate_is_made_at_the_start() {
    let origin = Origin::echo().await;
    let gateway = listening("tls = 'dev'", &origin).await;
    // Nobody has signed it, so a proper client refuses it; the handshake gets as far as that.
    let error = Raw::connect_tls_with(gateway.address(), tls::client(&[]), tls::NAME).await.err().expect("a refusal");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn cleartext_on_a_tls_port_is_no_request() {
    let origin = Origin::echo().await;
    let gateway = listening(ONE, &origin).await;
    let mut raw = gateway.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    raw.rest().await;
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn http_is_redirected_to_https() {
    let text = format!(
        "[[listener]]\naddress = '127.0.0.1:0'\n[[listener]]\naddress = '127.0.0.1:0'\n{ONE}
        [[route]]
        respond = 'safe'
        [[route]]
        match = {{ scheme = 'http' }}
        redirect = 'https://{{host}}{{uri}}'"
    );
    let gateway = Gateway::of(&text).start().await;
    let response = gateway.get("localhost/a?b", &[]).await;
    assert_eq!((response.status(), response.field("location").as_deref()), (308, Some("https://localhost/a?b")));
    let mut client = Client::connect(gateway.addresses()[1], Wire::H2Tls).await;
    assert_eq!(client.get("/a?b").await.text(), "safe");
}
