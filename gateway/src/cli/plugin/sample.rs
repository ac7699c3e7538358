//! What a module is tried with: endpoints that nobody sends to, and a request that nobody made.

use std::sync::Arc;

use gatewright_abi::{Column, text};

use crate::balance::{Candidate, Endpoint};
use crate::config::model;
use crate::plugin::request::{Edit, Head, Side, What};

/// So many endpoints, each as busy and as fast as chance would have it, but always the same.
pub(super) fn endpoints(count: u16) -> Vec<Candidate> {
    let endpoint = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let model = model::Endpoint { address: format!("192.0.{}.{}:80", 2 + high, low), weight: 1 };
        let endpoint = Arc::new(Endpoint::new(&model, None));
        // A stride without a common divisor, so that neighbours differ.
        let pace = u32::from(number) * 7919;
        endpoint.stats.pretend(Column::Active, pace % 13);
        endpoint.stats.pretend(Column::Latency, 500 + pace % 4_001);
        endpoint.stats.pretend(Column::PeakLatency, 900 + pace % 9_001);
        endpoint.stats.pretend(Column::Rate, ((pace % 101) as f32).to_bits());
        Candidate::of(endpoint)
    };
    (1..=count).map(endpoint).collect()
}

/// The fields of the sample, as a browser sends them.
const FIELDS: &[(&str, &str)] = &[
    ("host", "shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("referer", "https://shop.example/"),
    ("cookie", "session=7f3a9c; theme=dark; user=alice"),
];

const RESPONSE: &[(&str, &str)] =
    &[("content-type", "text/html; charset=utf-8"), ("server", "app"), ("cache-control", "max-age=60")];

/// A request, and its response when that is the matter.
pub(super) struct Sample {
    pub(super) answered: bool,
}

impl Sample {
    fn fields(&self, side: Side) -> Option<&'static [(&'static str, &'static str)]> {
        match side {
            Side::Request => Some(FIELDS),
            Side::Response => self.answered.then_some(RESPONSE),
        }
    }
}

impl Head for Sample {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let value = match what {
            What::Text(text::METHOD) => "GET",
            What::Text(text::SCHEME) => "https",
            What::Text(text::AUTHORITY) => "shop.example",
            What::Text(text::PATH) => "/cart/items",
            What::Text(text::QUERY) => "page=2",
            What::Text(text::PROTOCOL) => "HTTP/2",
            What::Text(text::CLIENT) => "192.0.2.100",
            What::Text(text::REQUEST_ID) => "sample",
            What::Cookie(b"user") => "alice",
            What::Cookie(b"session") => "7f3a9c",
            What::Query(b"page") => "2",
            What::Header(side, name) => {
                let fields = self.fields(side).unwrap_or_default();
                let found = fields.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
                let Some((_, value)) = found else { return false };
                value
            }
            _ => return false,
        };
        reader(value.as_bytes());
        true
    }

    fn each_header(&self, side: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        let fields = self.fields(side);
        fields.into_iter().flatten().for_each(|(name, value)| reader(name.as_bytes(), value.as_bytes()));
        fields.is_some()
    }

    fn status(&self) -> Option<u16> {
        self.answered.then_some(200)
    }

    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}
