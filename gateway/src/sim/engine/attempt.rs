//! The way of one request, as the gateway goes it (`proxy::forward`, `proxy::attempts`): pick, send, to two endpoints side by side where a plugin says so, and
//! send again where that is safe.

use std::time::Duration;

use smallvec::SmallVec;

use super::{BYTES, Event, Flight, Key, Leg, MOST_ATTEMPTS, REFUSAL, Run};
use crate::plugin::{Outcome, Picked};
use crate::sim::backend::{Job, Offered};
use crate::sim::tally::End;

impl Run<'_> {
    /// Picks an endpoint and sends the request there.
    pub(super) fn send(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(key.slot) else { return };
        if !flight.listed.is_empty() {
            let endpoint = flight.listed.remove(0);
            return self.offer(key, endpoint);
        }
        let (number, request, attempt) = (flight.gateway, flight.request, flight.attempt);
        let (tried, spent) = (flight.tried.clone(), flight.spent.clone());
        let twice = !flight.hedged;
        let picked = self.with_gateway(number, |gateway| gateway.pick(&request, &tried, &spent, attempt));
        let is_new = |index: &usize| !tried.contains(index);
        match picked {
            Some(Picked::Endpoint(index)) => self.offer(key, index),
            Some(Picked::Hedge(first, second, after))
                if twice && first != second && is_new(&first) && is_new(&second) =>
            {
                let first = self.offer_with_second(key, first, second);
                let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
                if let Some(key) = first {
                    self.events.plan(self.now.saturating_add(after), Event::Second(key));
                }
            }
            Some(Picked::Hedge(first, second, _)) => {
                self.go_through(key, [first, second].into_iter().filter(is_new).collect())
            }
            Some(Picked::List(list)) => self.go_through(key, list.into_iter().filter(is_new).collect()),
            Some(Picked::Refused(_)) => self.end(key, End::Refused),
            Some(Picked::Nowhere) | None => self.end(key, End::Nowhere),
        }
    }

    /// Sends it to the first of these; the others are for when that fails.
    fn go_through(&mut self, key: Key, mut list: SmallVec<[usize; 4]>) {
        if list.is_empty() {
            return self.end(key, End::Nowhere);
        }
        let first = list.remove(0);
        if let Some(flight) = self.flights.get_mut(key.slot) {
            flight.listed = list;
        }
        self.offer(key, first);
    }

    /// Sends it to the first, and notes who may get it too. The attempt, if that is still under way.
    fn offer_with_second(&mut self, key: Key, first: usize, second: usize) -> Option<Key> {
        let flight = self.flights.get_mut(key.slot)?;
        flight.second = Some(second);
        let key = Key { leg: flight.begun, ..key };
        self.offer(key, first);
        self.flight(key).map(|_| key)
    }

    /// The time of the first is over: the second has the request too, unless it was answered or goes elsewhere by now.
    pub(super) fn second(&mut self, key: Key) {
        let Some(second) = self.flight(key).and_then(|flight| flight.second.take()) else { return };
        if let Some(flight) = self.flight(key) {
            flight.hedged = true;
        }
        self.tally.hedges += 1;
        self.offer(key, second);
    }

    fn offer(&mut self, key: Key, endpoint: usize) {
        let Some(flight) = self.flights.get_mut(key.slot) else { return };
        let key = Key { leg: flight.begun, ..key };
        flight.begun += 1;
        let active = self.gateways.get(flight.gateway).and_then(|gateway| gateway.begin(endpoint));
        flight.legs.push(Leg { number: key.leg, endpoint, sent: self.now, _active: active });
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

    /// The backend has answered. Whoever has the request beside it is told that nobody waits any more, and does the work nonetheless.
    pub(super) fn answered(&mut self, key: Key, status: u16, end: End) {
        let Some(flight) = self.flight(key) else { return };
        let others: SmallVec<[u32; 2]> =
            flight.legs.iter().map(|leg| leg.number).filter(|leg| *leg != key.leg).collect();
        self.tell(key, status);
        for leg in others {
            self.tell(Key { leg, ..key }, gatewright_abi::CANCELLED);
        }
        self.end(key, end);
    }

    /// The backend did not take the connection: that is safe to send again.
    pub(super) fn unconnected(&mut self, key: Key) {
        let Some((endpoint, flight)) = self.fails(key) else { return };
        if flight.tried.contains(&endpoint) {
            flight.spent.push(endpoint);
        }
        flight.tried.push(endpoint);
        self.again(key, End::Unconnected);
    }

    /// The backend went away. The requests are GETs on kept connections, and such a one may go again once.
    pub(super) fn broken(&mut self, key: Key) {
        let Some((_, flight)) = self.fails(key) else { return };
        if std::mem::replace(&mut flight.reused, false) {
            self.again(key, End::Broken);
        } else {
            self.end(key, End::Broken);
        }
    }

    /// An attempt has failed, which is told: where it was, and the request, if that is nowhere else now.
    pub(super) fn fails(&mut self, key: Key) -> Option<(usize, &mut Flight)> {
        let endpoint = self.tell(key, 0)?;
        let flight = self.flights.get_mut(key.slot)?;
        if !flight.legs.is_empty() {
            // The other has it.
            flight.tried.push(endpoint);
            return None;
        }
        // Whoever would have got it too is the next to get it.
        flight.listed.extend(flight.second.take());
        Some((endpoint, flight))
    }

    /// Ends an attempt, and tells the gateway what became of it. Where it was, if it was under way.
    fn tell(&mut self, key: Key, status: u16) -> Option<usize> {
        let now = self.now;
        let flight = self.flight(key)?;
        let at = flight.legs.iter().position(|leg| leg.number == key.leg)?;
        let leg = flight.legs.remove(at);
        let outcome = Outcome {
            endpoint: u32::try_from(leg.endpoint).unwrap_or(u32::MAX),
            status,
            attempt: flight.attempt,
            latency: Duration::from_nanos(now - leg.sent),
            bytes: if status == 200 { BYTES } else { 0 },
        };
        let (number, endpoint) = (flight.gateway, leg.endpoint);
        // It is no longer under way when the plugin hears of it.
        drop(leg);
        self.with_gateway(number, |gateway| gateway.outcome(&outcome, now));
        Some(endpoint)
    }

    fn again(&mut self, key: Key, end: End) {
        let Some(flight) = self.flights.get_mut(key.slot) else { return };
        if flight.attempt + 1 >= MOST_ATTEMPTS {
            self.end(key, end);
            return;
        }
        flight.attempt += 1;
        self.tally.retries += 1;
        self.send(key);
    }

    pub(super) fn end(&mut self, key: Key, end: End) {
        let Some(flight) = self.flights.try_remove(key.slot) else { return };
        let came = flight.came as f64 / self.plan.length.max(1) as f64;
        self.tally.end(end, came, self.now - flight.came);
    }
}
