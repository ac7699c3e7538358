//! How many requests there may be at the same time, in the pool and at each of its endpoints.
//!
//! In: a request, and where it is to go. Out: the right to be there, at once or after a wait that is bounded in number and time;
//! or that there was none.

use super::attempts::{Aim, Destination};
use super::exchange::Exchange;
use super::shown::Shown;
use crate::balance::{Admitted, Concurrency, Room, Shed, Stay};
use crate::clock::Deadline;
use crate::error::{Error, Kind, Phase, Side};
use crate::plugin::Picked;
use crate::upstream::{Tried, Waiter};

use std::sync::Arc;

/// Endpoints that are looked at, when one after the other has no room.
const MOST_LOOKS: usize = 8;

impl Destination<'_> {
    /// The right to be in the pool; `None` when it takes any number.
    pub(super) async fn enter_pool(&self, x: &mut Exchange<'_>) -> Result<Option<Stay>, Error> {
        let Some(most) = self.pool.state.model.max_pool_requests else { return Ok(None) };
        self.enter(x, &self.pool.state.room, most, "max_pool_requests").await.map(Some)
    }

    /// The right to go on to an endpoint, until the first byte of the answer; `None` where the pool does not find out by itself how
    /// many there may be, and for what is to become a tunnel.
    pub(super) async fn enter_adaptive(&self, x: &mut Exchange<'_>) -> Result<Option<Admitted>, Error> {
        let Some(adaptive) = &self.pool.state.adaptive else { return Ok(None) };
        if x.request.upgrade.is_some() {
            return Ok(None);
        }
        match adaptive.try_enter() {
            Some(admitted) => Ok(Some(admitted)),
            // Boxed: few get here, and all would have to have room for it.
            None => Box::pin(self.wait_for_probe(x, adaptive)).await.map(Some),
        }
    }

    async fn wait_for_probe(&self, x: &mut Exchange<'_>, adaptive: &Arc<Concurrency>) -> Result<Admitted, Error> {
        let deadline = Deadline::after(self.times.queue, Phase::Queue, Side::Gateway).or(self.deadline);
        let shed = |shed| {
            self.metrics.upstream_shed(self.id, if shed == Shed::Silence { "silence" } else { "queue" });
            Error::gateway(Kind::Shed)
        };
        let entering = async { adaptive.enter().await.map_err(shed) };
        let entered = Waiter::new(&mut x.responder).within(x.watchdog, deadline, entering).await;
        if entered.as_ref().is_err_and(|error| error.kind == Kind::Timeout(Phase::Queue)) {
            self.metrics.upstream_shed(self.id, "probe");
        }
        entered
    }

    /// Takes the right to be at the endpoint.
    pub(super) async fn enter_endpoint(&self, x: &mut Exchange<'_>, aim: &mut Aim) -> Result<(), Error> {
        if let Some(most) = self.pool.state.model.max_requests {
            let room = aim.site.endpoint.room.clone();
            aim.stay = Some(self.enter(x, &room, most, "max_requests").await?);
        }
        Ok(())
    }

    /// The same, if that needs no wait.
    pub(super) fn try_enter_endpoint(&self, mut aim: Aim) -> Option<Aim> {
        if let Some(most) = self.pool.state.model.max_requests {
            aim.stay = Some(aim.site.endpoint.room.try_enter(most)?);
        }
        Some(aim)
    }

    async fn enter(
        &self,
        x: &mut Exchange<'_>,
        room: &Arc<Room>,
        most: u32,
        limit: &'static str,
    ) -> Result<Stay, Error> {
        if let Some(stay) = room.try_enter(most) {
            return Ok(stay);
        }
        self.metrics.upstream_full(self.id, limit);
        let deadline = Deadline::after(self.times.queue, Phase::Queue, Side::Gateway).or(self.deadline);
        let waiting = self.pool.state.model.max_waiting;
        let entering = async { room.enter(most, waiting).await.ok_or(Error::gateway(Kind::Overloaded)) };
        let entered = Waiter::new(&mut x.responder).within(x.watchdog, deadline, entering).await;
        if entered.as_ref().is_err_and(|error| error.side == Side::Gateway) {
            self.metrics.upstream_refused(self.id, limit);
        }
        entered
    }

    /// Whether the endpoint with this index takes one more now.
    pub(super) fn has_room(&self, index: usize) -> bool {
        let Some(most) = self.pool.state.model.max_requests else { return true };
        self.pool.state.candidates.get(index).is_some_and(|candidate| !candidate.endpoint.room.is_full(most))
    }

    /// An endpoint that has room, as the balancer says when this one and others that have none were tried; this one when there is
    /// none.
    pub(super) fn roomier(&self, index: usize, shown: &Shown<'_>, tried: &Tried, number: u32) -> usize {
        let mut full = tried.clone();
        let mut next = index;
        for _ in 0..MOST_LOOKS {
            full.note(next);
            match self.pool.pick(shown, &full, number) {
                Picked::Endpoint(other) if !full.all().contains(&other) => next = other,
                _ => break,
            }
            if self.has_room(next) {
                return next;
            }
        }
        index
    }

    /// The first of those listed that has room; else the first.
    pub(super) fn next_of(&self, listed: &[usize]) -> usize {
        listed.iter().position(|index| self.has_room(*index)).unwrap_or(0)
    }
}
