//! What those who judge endpoints are told by requests, where endpoints of the pool may be ejected: atomics only. When so much
//! went wrong in a row that one is to be ejected, they are woken; whether it is, they decide.

use std::time::Duration;

use super::PoolState;
use crate::balance::{Endpoint, Row};

impl PoolState {
    /// A request has ended at an endpoint.
    pub(super) fn note_outcome(&self, endpoint: &Endpoint, latency: Option<Duration>, failed: bool) {
        let Some(eject) = &self.model.eject else { return };
        self.wake_at(eject.failures, endpoint.outcomes.note(latency, failed));
    }

    /// A request was given up at an endpoint, since another had answered; `is_slow`: that took longer than its answers do.
    pub(super) fn note_given_up(&self, endpoint: &Endpoint, waited: Duration, is_slow: bool) {
        if self.model.eject.is_some() && is_slow {
            endpoint.outcomes.note_given_up(waited);
        }
    }

    /// A connection to an endpoint has come about, or has not.
    pub(super) fn note_connection(&self, endpoint: &Endpoint, failed: bool) {
        let Some(eject) = &self.model.eject else { return };
        self.wake_at(eject.connects, endpoint.outcomes.note_connection(failed));
    }

    fn wake_at(&self, most: Option<u32>, in_a_row: Row) {
        if most.is_some_and(|most| in_a_row.is_due(most)) {
            self.alarm.notify_one();
        }
    }
}
