//! The pool of probes: which endpoints were drawn of late.

use std::time::Duration;

use gatewright_sdk::Micros;
use gatewright_sdk::clock::Instant;

/// Probes, oldest first. Never more than there is room for from the begin.
pub(crate) struct Probes {
    list: Vec<Probe>,
    room: usize,
    /// Whether the next that is removed is the worst, or the oldest.
    worst_next: bool,
}

#[derive(Clone, Copy)]
struct Probe {
    index: usize,
    taken: Instant,
    uses: u32,
}

impl Probes {
    pub(crate) fn new(room: usize) -> Probes {
        Probes { list: Vec::with_capacity(room), room, worst_next: false }
    }

    /// Indices mean others now.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Throws away what is too old.
    pub(crate) fn forget(&mut self, now: Instant, age: Duration) {
        let age = Micros::from(age);
        self.list.retain(|probe| now - probe.taken <= age);
    }

    /// Adds one; the oldest goes if there is no room. An endpoint that is drawn often has several.
    pub(crate) fn add(&mut self, index: usize, taken: Instant, uses: u32) {
        if self.list.len() >= self.room {
            self.list.remove(0);
        }
        self.list.push(Probe { index, taken, uses });
    }

    /// The endpoints in it, each as often as it has probes.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        self.list.iter().map(|probe| probe.index)
    }

    /// Counts a decision for an endpoint, against its oldest probe.
    pub(crate) fn used(&mut self, index: usize) {
        if let Some(place) = self.list.iter().position(|probe| probe.index == index)
            && let Some(probe) = self.list.get_mut(place)
        {
            probe.uses = probe.uses.saturating_sub(1);
            if probe.uses == 0 {
                self.list.remove(place);
            }
        }
    }

    /// Removes one when there is little room left: in turns the oldest and that of the busiest endpoint.
    pub(crate) fn remove_one(&mut self, heat: impl Fn(usize) -> f64) {
        if self.list.len() < self.room.div_ceil(2) {
            return;
        }
        self.worst_next = !self.worst_next;
        let worst = || {
            let hotter = |(_, one): &(usize, &Probe), (_, other): &(usize, &Probe)| {
                heat(one.index).total_cmp(&heat(other.index))
            };
            self.list.iter().enumerate().max_by(hotter).map(|(place, _)| place)
        };
        let place = if self.worst_next { worst() } else { Some(0) };
        if let Some(place) = place.filter(|place| *place < self.list.len()) {
            self.list.remove(place);
        }
    }
}
