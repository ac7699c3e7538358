//! What must be the same whatever is spoken: every behaviour over HTTP/1.1 and HTTP/2, cleartext and TLS, on both sides.
//!
//! A behaviour is an `async fn(Sides)`; the macros below make a test of it for each pair, such as
//! `matrix::messages::a_small_get_is_answered::h2_tls_to_h1`.

mod interim;
mod messages;
mod streams;
mod tunnels;

use std::ops::{Deref, DerefMut};

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::harness::{Body, Client, Gateway, Origin, Wire};

/// What is spoken with the client and with the origin.
#[derive(Clone, Copy, Debug)]
struct Sides {
    client: Wire,
    upstream: Wire,
}

/// A client with the gateway and the origin that it talks to.
struct Through {
    client: Client,
    gateway: Gateway,
    origin: Origin,
}

impl Sides {
    /// An origin that answers so, a gateway before it, and a client.
    async fn start<F>(self, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Through
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let origin = Origin::start(self.upstream, answer).await;
        let gateway = Gateway::between(self.client, self.upstream, &origin).await;
        let client = gateway.client(self.client).await;
        Through { client, gateway, origin }
    }
}

impl Deref for Through {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Through {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Tests of these behaviours over every pair.
macro_rules! over_everything {
    ($($behaviour:ident)*) => { $(
        mod $behaviour {
            crate::matrix::pairs! { super::$behaviour;
                h1_to_h1: H1 H1, h1_to_h1_tls: H1 H1Tls, h1_to_h2: H1 H2, h1_to_h2_tls: H1 H2Tls,
                h1_tls_to_h1: H1Tls H1, h1_tls_to_h1_tls: H1Tls H1Tls, h1_tls_to_h2: H1Tls H2, h1_tls_to_h2_tls: H1Tls H2Tls,
                h2_to_h1: H2 H1, h2_to_h1_tls: H2 H1Tls, h2_to_h2: H2 H2, h2_to_h2_tls: H2 H2Tls,
                h2_tls_to_h1: H2Tls H1, h2_tls_to_h1_tls: H2Tls H1Tls, h2_tls_to_h2: H2Tls H2, h2_tls_to_h2_tls: H2Tls H2Tls,
            }
        }
    )* };
}

/// Tests of these behaviours over the pairs that are HTTP/2 all the way.
macro_rules! over_http2 {
    ($($behaviour:ident)*) => { $(
        mod $behaviour {
            crate::matrix::pairs! { super::$behaviour;
                h2_to_h2: H2 H2, h2_to_h2_tls: H2 H2Tls, h2_tls_to_h2: H2Tls H2, h2_tls_to_h2_tls: H2Tls H2Tls,
            }
        }
    )* };
}

macro_rules! pairs {
    ($behaviour:path; $($name:ident: $client:ident $upstream:ident,)*) => { $(
        #[tokio::test]
        async fn $name() {
            use crate::harness::Wire;
            let sides = crate::matrix::Sides { client: Wire::$client, upstream: Wire::$upstream };
            crate::harness::within_a_minute($behaviour(sides)).await;
        }
    )* };
}

use {over_everything, over_http2, pairs};
