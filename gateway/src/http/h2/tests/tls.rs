//! The same over TLS, whose writes are not the socket's.

use std::sync::Arc;

use bytes::BytesMut;
use rustls::pki_types::{PrivateKeyDer, ServerName};

use super::interop::{echo, pattern};
use super::{pair, run, serve};
use crate::http::Stream;
use crate::http::Tcp;
use crate::http::h2::client;
use crate::http::h2::server::Connection;
use crate::http::head::Scheme;
use crate::limits::Limits;

fn configs() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

#[test]
fn bodies_of_all_sizes_pass_through_tls() {
    run(async {
        let (near, far) = pair().await;
        let (server, client) = configs();
        let accept = tokio_rustls::TlsAcceptor::from(server).accept(Tcp::new(far));
        let name = ServerName::try_from("localhost").unwrap();
        let connect = tokio_rustls::TlsConnector::from(client).connect(name, Tcp::new(near));
        let (far, near) = tokio::join!(accept, connect);
        let far = Stream::TlsServer(Box::new(far.unwrap()));
        let limits = Limits::default();
        tokio::task::spawn_local(serve(Connection::new(far, BytesMut::new(), Scheme::Https, &limits)));
        let (handle, driver) = client::start(Stream::TlsClient(Box::new(near.unwrap())), BytesMut::new(), &limits);
        let driver = tokio::task::spawn_local(driver);
        for size in [0, 1, 5000, 100_000, 5_000_000] {
            echo(&handle, pattern(size)).await;
        }
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let handle = handle.clone();
                tokio::task::spawn_local(async move { echo(&handle, pattern(number * 2000)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        drop(handle);
        driver.await.unwrap();
    });
}
