//! Endpoints for tests.

use gatewright_abi::{Column, flag};

use super::record::Facts;

/// An endpoint as the plugin sees it. Live values can be changed between picks: [`Mock::endpoint`](super::Mock::endpoint).
#[derive(Clone, Debug)]
pub struct MockEndpoint(pub(super) Facts);

/// A healthy endpoint with weight 1 of which nothing is known yet.
pub fn endpoint(address: &str) -> MockEndpoint {
    let mut endpoint = MockEndpoint(Facts {
        address: address.into(),
        zone: String::new(),
        metadata: Vec::new(),
        id: crate::hash::bytes(address, 0),
        weight: 1,
        priority: 0,
        words: [0; Column::ALL.len()],
    });
    endpoint.word(Column::Flags, flag::HEALTHY);
    endpoint.word(Column::Load, f32::NAN.to_bits());
    endpoint.word(Column::Warmth, 1f32.to_bits());
    endpoint
}

impl MockEndpoint {
    fn word(&mut self, column: Column, word: u32) {
        if let Some(place) = self.0.words.get_mut(column.number()) {
            *place = word;
        }
    }

    fn flag(&mut self, flag: u32, is_set: bool) {
        if let Some(flags) = self.0.words.get_mut(Column::Flags.number()) {
            *flags = if is_set { *flags | flag } else { *flags & !flag };
        }
    }
}

/// Fixed values, for endpoints that are being made.
impl MockEndpoint {
    /// With this id; otherwise it is made of the address.
    #[must_use]
    pub fn id(mut self, id: u64) -> MockEndpoint {
        self.0.id = id;
        self
    }

    /// With this weight.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> MockEndpoint {
        self.0.weight = weight;
        self
    }

    /// With this priority.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> MockEndpoint {
        self.0.priority = priority;
        self
    }

    /// In this zone.
    #[must_use]
    pub fn zone(mut self, zone: &str) -> MockEndpoint {
        self.0.zone = zone.into();
        self
    }

    /// With this in its metadata.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: &str) -> MockEndpoint {
        self.0.metadata.push((name.into(), value.into()));
        self
    }
}

macro_rules! live {
    ($($(#[doc = $doc:literal])* $name:ident($value:ident: $type:ty) |$endpoint:ident| $set:expr;)*) => {
        /// Live values, for endpoints that are being made.
        impl MockEndpoint {
            $($(#[doc = $doc])* #[must_use] pub fn $name(mut self, $value: $type) -> MockEndpoint {
                let $endpoint = &mut self;
                $set;
                self
            })*
        }

        /// Live values of an endpoint that is there. They are seen from the next pick on.
        impl LiveEndpoint<'_> {
            $($(#[doc = $doc])* pub fn $name(&mut self, $value: $type) -> &mut Self {
                if let Some($endpoint) = self.endpoints.get_mut(self.index) {
                    $set;
                }
                self
            })*
        }
    };
}

live! {
    /// Whether its checks pass.
    healthy(is: bool) |endpoint| endpoint.flag(flag::HEALTHY, is);
    /// Whether it is well while requests are for others.
    standby(is: bool) |endpoint| {
        endpoint.flag(flag::STANDBY, is);
        endpoint.flag(flag::HEALTHY, !is);
    };
    /// Whether it does less well.
    degraded(is: bool) |endpoint| endpoint.flag(flag::DEGRADED, is);
    /// Whether it was taken out for a while.
    ejected(is: bool) |endpoint| endpoint.flag(flag::EJECTED, is);
    /// Whether it is being taken out for good.
    draining(is: bool) |endpoint| endpoint.flag(flag::DRAINING, is);
    /// Whether the request was sent to it before.
    tried(is: bool) |endpoint| endpoint.flag(flag::TRIED, is);
    /// How much of its share it should get; below 1 it is warming.
    warmth(warmth: f32) |endpoint| {
        endpoint.flag(flag::WARMING, warmth < 1.0);
        endpoint.word(Column::Warmth, warmth.to_bits());
    };
    /// Requests under way to it.
    active(active: u32) |endpoint| endpoint.word(Column::Active, active);
    /// Its latency in microseconds.
    latency_us(micros: u32) |endpoint| endpoint.word(Column::Latency, micros);
    /// Its peak latency in microseconds.
    peak_latency_us(micros: u32) |endpoint| endpoint.word(Column::PeakLatency, micros);
    /// The share of its requests that failed.
    error_rate(share: f32) |endpoint| endpoint.word(Column::Errors, share.to_bits());
    /// Its requests in a second.
    request_rate(rate: f32) |endpoint| endpoint.word(Column::Rate, rate.to_bits());
    /// The load that it reports.
    load(load: f32) |endpoint| endpoint.word(Column::Load, load.to_bits());
}

/// An endpoint whose live values can be changed.
#[derive(Debug)]
pub struct LiveEndpoint<'a> {
    pub(super) endpoints: std::cell::RefMut<'a, Vec<MockEndpoint>>,
    pub(super) index: usize,
}
