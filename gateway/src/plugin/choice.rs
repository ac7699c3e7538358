//! Where a request goes: as a pool's plugin says; or else as the built-in behind it. The one place that knows in which order.
//!
//! In: a request, the endpoints, those that it was sent to in vain. Out: endpoints, a refusal, or nowhere; and who said so.

use std::cell::RefCell;
use std::time::Duration;

use smallvec::SmallVec;

use super::crew::Seat;
use super::decision::Decision;
use super::native::Native;
use super::request::Head;
use crate::balance::{Candidate, Turn};

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The request.
    pub head: &'a dyn Head,
    /// The endpoints of the pool.
    pub endpoints: &'a [Candidate],
    /// Those of them that it was sent to in vain.
    pub tried: &'a [usize],
    /// Those of these that would fail it again.
    pub spent: &'a [usize],
    /// How often it was sent before.
    pub attempt: u32,
    /// Which endpoints it is for.
    pub turn: Turn,
}

/// Where a request is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Picked {
    /// To the endpoint with this index.
    Endpoint(usize),
    /// To these, one after the other.
    List(SmallVec<[usize; 4]>),
    /// To the first; and to the second too when there is no answer after this time.
    Hedge(usize, usize, Duration),
    /// Nowhere: the plugin refuses it with this status.
    Refused(u16),
    /// There is no endpoint.
    Nowhere,
}

/// Who said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The plugin.
    Plugin,
    /// The built-in, as the plugin left it to it.
    Fallback,
    /// The built-in, as there is no plugin, or it failed.
    BuiltIn,
}

impl Question<'_> {
    /// As the plugin says, when there is one that does, and the request need not be sent where it says; else as the built-in says.
    pub fn ask(&self, plugin: Option<&mut Seat>, own: &RefCell<Option<Native>>) -> (Picked, By) {
        let Some(seat) = plugin else { return (self.ask_own(own), By::BuiltIn) };
        seat.set_turn(self.turn);
        let picked = match seat.pick(self.head, self.endpoints, self.tried, self.attempt) {
            Ok(Decision::Endpoint(index)) if self.spent.contains(&index) => return (self.ask_own(own), By::Fallback),
            Ok(Decision::Endpoint(index)) => Picked::Endpoint(index),
            Ok(Decision::List(list)) => Picked::List(list),
            Ok(Decision::Hedge(first, second, after)) => Picked::Hedge(first, second, after),
            Ok(Decision::Refuse(status)) => Picked::Refused(status),
            Ok(_) => return (self.ask_own(own), By::Fallback),
            Err(_) => return (self.ask_own(own), By::BuiltIn),
        };
        (picked, By::Plugin)
    }

    /// As the built-in says: none of those tried, unless all were, and never one that is spent.
    fn ask_own(&self, own: &RefCell<Option<Native>>) -> Picked {
        if let [only] = self.endpoints {
            let fits = self.spent.is_empty() && self.turn.offers(only);
            return if fits { Picked::Endpoint(0) } else { Picked::Nowhere };
        }
        let mut own = own.borrow_mut();
        let Some(own) = own.as_mut() else { return Picked::Nowhere };
        own.set_turn(self.turn);
        for passed in [self.tried, self.spent] {
            if let Ok(Decision::Endpoint(index)) = own.pick(self.head, self.endpoints, passed, self.attempt) {
                return Picked::Endpoint(index);
            }
        }
        Picked::Nowhere
    }
}
