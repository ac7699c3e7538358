//! Where a request was sent in vain, and where it need not be sent again.
//!
//! In: which endpoint failed it, and how. Out: what the next pick has to know. Pure.

use smallvec::SmallVec;

use crate::error::{Error, Kind, Retry};

/// The endpoints that failed a request.
#[derive(Clone, Default, Debug)]
pub struct Tried {
    all: SmallVec<[usize; 4]>,
    spent: SmallVec<[usize; 4]>,
}

impl Tried {
    /// All of them.
    pub fn all(&self) -> &[usize] {
        &self.all
    }

    /// Those that would fail it again.
    pub(super) fn spent(&self) -> &[usize] {
        &self.spent
    }

    /// Only this one, which has not failed yet.
    pub fn asked(index: usize) -> Tried {
        Tried { all: SmallVec::from_slice(&[index]), spent: SmallVec::new() }
    }

    /// Notes one that another is to be asked instead of.
    pub fn note(&mut self, index: usize) {
        self.all.push(index);
    }

    /// Notes a failure. False when that says nothing against the endpoint, but against a connection that was kept.
    pub fn failed(&mut self, index: usize, error: Error) -> bool {
        match error.retry {
            Retry::Elsewhere => self.spent.push(index),
            // Whoever refuses a connection twice means it.
            Retry::Safe if matches!(error.kind, Kind::Connect | Kind::Tls) && self.all.contains(&index) => {
                self.spent.push(index);
            }
            Retry::Safe => {}
            Retry::Idempotent | Retry::Never => return false,
        }
        self.all.push(index);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_spent_at_once_or_with_its_second_refusal() {
        let mut tried = Tried::default();
        assert!(tried.failed(0, Error::upstream(Kind::Connect, Retry::Safe)));
        assert!(tried.failed(1, Error::upstream(Kind::Tls, Retry::Elsewhere)));
        assert_eq!((tried.all(), tried.spent()), (&[0, 1][..], &[1][..]));
        assert!(tried.failed(0, Error::upstream(Kind::Connect, Retry::Safe)));
        assert_eq!(tried.spent(), [1, 0]);
        assert!(!tried.failed(2, Error::upstream(Kind::Closed, Retry::Idempotent)));
        assert_eq!(tried.all(), [0, 1, 0]);
    }
}
