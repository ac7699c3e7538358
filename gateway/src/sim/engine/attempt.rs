//! The way of one request, as the gateway goes it (`proxy::forward`): pick, send, and send again where that is safe.

use std::time::Duration;

use smallvec::SmallVec;

use super::{BYTES, Event, Key, MOST_ATTEMPTS, REFUSAL, Run};
use crate::plugin::Outcome;
use crate::sim::backend::{Job, Offered};
use crate::sim::gateway::Picked;
use crate::sim::tally::End;

impl Run<'_> {
    /// Picks an endpoint and sends the request there.
    pub(super) fn send(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(key.slot) else { return };
        let endpoint = match flight.listed.is_empty() {
            false => Ok(flight.listed.remove(0)),
            true => {
                let (number, request) = (flight.gateway, flight.request);
                let tried = flight.tried.clone();
                let picked = self.with_gateway(number, |gateway| gateway.pick(&request, &tried, key.attempt));
                match picked {
                    Some(Picked::One(index)) => Ok(index),
                    Some(Picked::List(list)) => self.listed(key, list),
                    Some(Picked::Refused) => Err(End::Refused),
                    Some(Picked::Nowhere) | None => Err(End::Nowhere),
                }
            }
        };
        match endpoint {
            Ok(endpoint) => self.offer(key, endpoint),
            Err(end) => self.end(key, end),
        }
    }

    fn listed(&mut self, key: Key, mut list: SmallVec<[usize; 4]>) -> Result<usize, End> {
        let flight = self.flights.get_mut(key.slot).ok_or(End::Nowhere)?;
        list.retain(|index| !flight.tried.contains(index));
        if list.is_empty() {
            return Err(End::Nowhere);
        }
        let first = list.remove(0);
        flight.listed = list;
        Ok(first)
    }

    fn offer(&mut self, key: Key, endpoint: usize) {
        let Some(flight) = self.flights.get_mut(key.slot) else { return };
        flight.endpoint = endpoint;
        flight.sent = self.now;
        flight.active = self.gateways.get(flight.gateway).and_then(|gateway| gateway.begin(endpoint));
        if let Some(worked) = self.tally.backends.get_mut(endpoint) {
            worked.sent += 1;
        }
        let job = Job { request: key, work: flight.work, luck: flight.luck };
        let rules = self.plan.backends.get(endpoint).and_then(|place| self.plan.rules.get(place.group));
        let (Some(backend), Some(rules)) = (self.backends.get_mut(endpoint), rules) else { return };
        match backend.offer(job, self.now, rules) {
            Offered::Begun(begun) => {
                let life = backend.lives;
                self.begun(endpoint, life, key, begun);
            }
            Offered::Waits => {}
            Offered::Full => self.events.plan(self.now + REFUSAL, Event::Full(key)),
            Offered::Down => self.events.plan(self.now + REFUSAL, Event::Unconnected(key)),
        }
        if self.plan.first_byte < self.plan.client_timeout {
            self.attempts.push_back((self.now.saturating_add(self.plan.first_byte), key));
        }
    }

    /// The backend has answered.
    pub(super) fn answered(&mut self, key: Key, status: u16, end: End) {
        if self.flight(key).is_some() {
            self.tell(key, status);
            self.end(key, end);
        }
    }

    /// The backend did not take the connection: that is safe to send again.
    pub(super) fn unconnected(&mut self, key: Key) {
        self.tell(key, 0);
        if let Some(flight) = self.flight(key) {
            let endpoint = flight.endpoint;
            flight.tried.push(endpoint);
            self.again(key, End::Unconnected);
        }
    }

    /// The backend went away. The requests are GETs on kept connections, and such a one may go again once.
    pub(super) fn broken(&mut self, key: Key) {
        self.tell(key, 0);
        let Some(flight) = self.flight(key) else { return };
        if std::mem::replace(&mut flight.reused, false) {
            self.again(key, End::Broken);
        } else {
            self.end(key, End::Broken);
        }
    }

    /// Tells the gateway what became of the attempt.
    pub(super) fn tell(&mut self, key: Key, status: u16) {
        let now = self.now;
        let Some(flight) = self.flight(key) else { return };
        flight.active = None;
        let outcome = Outcome {
            endpoint: u32::try_from(flight.endpoint).unwrap_or(u32::MAX),
            status,
            attempt: key.attempt,
            latency: Duration::from_nanos(now - flight.sent),
            bytes: if status == 200 { BYTES } else { 0 },
        };
        let number = flight.gateway;
        self.with_gateway(number, |gateway| gateway.outcome(&outcome, now));
    }

    fn again(&mut self, key: Key, end: End) {
        if key.attempt + 1 >= MOST_ATTEMPTS {
            self.end(key, end);
            return;
        }
        let Some(flight) = self.flight(key) else { return };
        flight.key.attempt += 1;
        let key = flight.key;
        self.tally.retries += 1;
        self.send(key);
    }

    pub(super) fn end(&mut self, key: Key, end: End) {
        let Some(flight) = self.flights.try_remove(key.slot) else { return };
        let came = flight.came as f64 / self.plan.length.max(1) as f64;
        self.tally.end(end, came, self.now - flight.came);
    }
}
