//! How a connection ends: by a fault, a flood, a failed transport, or in order (RFC 9113 sections 5.4 and 6.8).

use super::core::{Core, Ended, GRACE, Phase};
use super::fault::{Fault, Scope};
use super::flood::Event;
use super::frame::{self, Code, kind};
use super::settings::{self, Role};
use crate::error::{Error, Kind, Retry};

impl Core {
    /// Acts on a breach of the protocol.
    pub(super) fn fault(&mut self, fault: Fault) {
        // One frame may break more than one rule: what ended the connection is what it ended by.
        if matches!(self.phase, Phase::Closing | Phase::Over) {
            return;
        }
        tracing::debug!(what = fault.what, code = fault.code.0, scope = ?fault.scope, "HTTP/2 violation");
        self.violation = Some(fault.what);
        if let Some(limit) = fault.limit() {
            self.hits.add(limit);
        }
        match fault.scope {
            Scope::Connection => self.fail(fault.code, self.peer_error(Kind::Malformed(fault.what), Retry::Idempotent)),
            Scope::Stream(id) => {
                match self.find(id) {
                    Some(key) => {
                        let error = self.peer_error(Kind::Malformed(fault.what), Retry::Idempotent);
                        self.reset(key, fault.code, error);
                    }
                    None => {
                        self.write_reset(id, fault.code);
                        self.remember(id, Ended::ByUs);
                    }
                }
                // Resets that a client provokes cost as much as those that it sends.
                if self.role == Role::Server {
                    self.count(Event::Reset);
                }
            }
        }
    }

    /// Counts what may become a flood, and ends the connection when it has.
    pub(super) fn count(&mut self, event: Event) {
        if let Some(label) = self.flood.count(event, self.now) {
            self.flooded(label);
        }
    }

    pub(super) fn flooded(&mut self, label: &'static str) {
        let fault = Fault::connection(Code::ENHANCE_YOUR_CALM, label);
        if self.role == Role::Server {
            return self.fault(fault);
        }
        // The requests on it are those of clients who did nothing wrong: they are finished, and no more are sent.
        if self.violation != Some(label) {
            self.violation = Some(label);
            if let Some(limit) = fault.limit() {
                self.hits.add(limit);
            }
        }
        self.leave();
    }

    /// The connection is given no more requests, and closes when those under way are finished.
    pub(super) fn leave(&mut self) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        for waker in self.openers.drain(..) {
            waker.wake();
        }
        self.notify();
    }

    /// GOAWAY and the end of every stream (RFC 9113 section 5.4.1).
    pub(super) fn fail(&mut self, code: Code, error: Error) {
        if matches!(self.phase, Phase::Closing | Phase::Over) {
            return;
        }
        self.goaway(self.processed_id, code);
        self.close(error);
    }

    /// Ends every stream and begins to close.
    pub(super) fn close(&mut self, error: Error) {
        if matches!(self.phase, Phase::Closing | Phase::Over) {
            return;
        }
        self.phase = Phase::Closing;
        self.error = Some(error);
        // What one stream did wrong, or nobody's stream, is not the fault of all: to their exchanges the client is gone.
        let error = match (self.role, error.kind) {
            (Role::Server, Kind::Malformed(_)) => self.peer_error(Kind::Closed, Retry::Never),
            _ => error,
        };
        self.block = None;
        self.incoming = None;
        self.ready.clear();
        self.lingering.clear();
        for (_, key) in std::mem::take(&mut self.open) {
            self.cut(key, error, Ended::Forgotten);
            self.release(key);
        }
        for waker in self.openers.drain(..) {
            waker.wake();
        }
        self.notify();
    }

    /// Reading or writing failed, or the peer is gone: nothing more can be said.
    pub(super) fn broken(&mut self, error: Error) {
        self.close(error);
        self.out.clear();
        self.phase = Phase::Over;
    }

    pub(super) fn goaway(&mut self, last: u32, code: Code) {
        self.out.write(|out| {
            let mut payload = [0; 8];
            payload[..4].copy_from_slice(&last.to_be_bytes());
            payload[4..].copy_from_slice(&code.0.to_be_bytes());
            frame::write(kind::GOAWAY, 0, 0, &payload, out);
        });
        self.notify();
    }

    /// RFC 9113 section 6.8: first a warning, then, a round trip later, the truth.
    pub(super) fn shut_down(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Warned;
        self.goaway(settings::MAX_WINDOW, Code::NO_ERROR);
        self.out.write(|out| frame::write(kind::PING, 0, 0, &GRACE, out));
    }

    /// The round trip is over.
    pub(super) fn warned(&mut self) {
        self.phase = Phase::Draining;
        self.goaway(self.last_id, Code::NO_ERROR);
    }

    /// Begins to close when nothing is left to do.
    pub(super) fn close_if_done(&mut self) {
        if !self.open.is_empty() || self.incoming.is_some() || matches!(self.phase, Phase::Closing | Phase::Over) {
            return;
        }
        let nobody = self.role == Role::Client && self.handles == 0;
        if self.phase == Phase::Draining || self.leaving || nobody {
            if self.phase != Phase::Draining {
                self.goaway(self.processed_id, Code::NO_ERROR);
            }
            self.close(self.peer_error(Kind::Closed, Retry::Safe));
        }
    }
}
