//! What the tests are made of.
//!
//! A [`Gateway`] from a few lines of configuration; an [`Origin`] that speaks HTTP properly or a [`RawOrigin`] whose every
//! byte the test sends itself; a [`Client`] that speaks HTTP properly, [`Raw`] bytes, or raw HTTP/2 [`Frames`].

mod body;
pub(crate) mod certs;
mod client;
pub(crate) mod etcd;
mod frames;
mod gateway;
pub(crate) mod guests;
pub(crate) mod log;
pub(crate) mod modules;
pub(crate) mod moody;
mod origin;
mod raw;
pub(crate) mod shelf;
pub(crate) mod tls;
pub(crate) mod zookeeper;

use std::time::Duration;

pub(crate) use body::{Body, empty, full, stream, with_trailers};
pub(crate) use client::{Client, Reply, collect};
pub(crate) use frames::{Frames, GET, Outcome, block, flag, frame, kind};
pub(crate) use gateway::Gateway;
pub(crate) use origin::{Origin, RawOrigin, echo};
pub(crate) use raw::{End, Message, Raw};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    H1,
    H1Tls,
    H2,
    H2Tls,
}

impl Wire {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Wire::H1Tls | Wire::H2Tls)
    }

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Wire::H2 | Wire::H2Tls)
    }

    /// The name in ALPN.
    pub(crate) fn alpn(self) -> &'static str {
        if self.is_h2() { "h2" } else { "http/1.1" }
    }
}

/// Waits for what must happen soon.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

/// A bound for a whole test of which the parts have none.
pub(crate) async fn within_a_minute(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test to end");
}

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, asking).await;
}

/// The harness is held against itself, without a gateway, so that a failure elsewhere is the gateway's.
mod itself {
    use super::*;

    #[tokio::test]
    async fn clients_and_origins_understand_each_other() {
        for wire in [Wire::H1, Wire::H1Tls, Wire::H2, Wire::H2Tls] {
            let origin = Origin::start(wire, echo).await;
            let mut client = Client::connect(origin.to_string().parse().unwrap(), wire).await;
            let request = client.request("POST", "/a?b").header("trailer", "x-sum");
            let request = request.body(with_trailers("data", &[("x-sum", "1")])).unwrap();
            let seen = client.exchange(request).await.unwrap().seen();
            assert_eq!((&seen["target"], &seen["body"]), (&"/a?b".into(), &"data".into()), "{wire:?}");
            assert_eq!(seen["trailers"]["x-sum"], "1", "{wire:?}");
        }
    }

    #[tokio::test]
    async fn frames_reach_a_proper_origin_and_come_back() {
        let origin = Origin::start(Wire::H2, echo).await;
        let mut client = Frames::connect(Raw::connect(origin.to_string().parse().unwrap()).await).await;
        client.get(1, "/x").await;
        let Outcome::Response(_, 200, body) = client.outcome(1).await else { panic!("no response") };
        assert!(String::from_utf8_lossy(&body).contains("\"target\":\"/x\""));
    }

    #[tokio::test]
    async fn a_response_that_is_cut_short_is_not_taken_for_whole() {
        let origin = RawOrigin::start().await;
        let mut client = Raw::connect(origin.to_string().parse().unwrap()).await;
        let mut server = origin.accept().await;
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npart").await;
        drop(server);
        assert_eq!(client.try_response().await.err(), Some(End::Closed));
        origin.is_untouched();
    }
}
