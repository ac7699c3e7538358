//! From checks to a verdict. Pure.

/// What the checks of one endpoint have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `None` until the first one has ended.
    healthy: Option<bool>,
    /// Checks in a row that say otherwise.
    against: u32,
}

impl Verdict {
    /// What they come to; `None` until the first one has ended.
    pub(super) fn healthy(&self) -> Option<bool> {
        self.healthy
    }

    /// Takes a check in; whether that changed the verdict. The first one decides alone, later ones by their number in a row:
    /// `rise` good ones, `fall` bad ones.
    pub(super) fn take(&mut self, good: bool, rise: u32, fall: u32) -> bool {
        if self.healthy == Some(good) {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = match self.healthy {
            None => 1,
            Some(_) if good => rise,
            Some(_) => fall,
        };
        if self.against < needed {
            return false;
        }
        *self = Verdict { healthy: Some(good), against: 0 };
        true
    }

    /// Begins to count anew, with what is known.
    pub(super) fn restart(&mut self) {
        self.against = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(checks: &str, rise: u32, fall: u32) -> String {
        let mut verdict = Verdict::default();
        let told = |good: char| match (verdict.take(good == '+', rise, fall), verdict.healthy()) {
            (true, Some(true)) => 'U',
            (true, _) => 'D',
            (false, _) => '.',
        };
        checks.chars().map(told).collect()
    }

    #[test]
    fn the_first_check_decides_alone() {
        assert_eq!(changes("+", 5, 5), "U");
        assert_eq!(changes("-", 5, 5), "D");
    }

    #[test]
    fn later_ones_decide_by_their_number_in_a_row() {
        assert_eq!(changes("+---", 2, 3), "U..D");
        assert_eq!(changes("+--+--+---", 2, 3), "U........D");
        assert_eq!(changes("-+-++", 2, 3), "D...U");
        assert_eq!(changes("+-+-", 1, 1), "UDUD");
    }

    #[test]
    fn a_restart_forgets_the_row_and_keeps_the_verdict() {
        let mut verdict = Verdict::default();
        assert!(verdict.take(true, 2, 2) && !verdict.take(false, 2, 2));
        verdict.restart();
        assert!(!verdict.take(false, 2, 2));
        assert_eq!(verdict.healthy(), Some(true));
        assert!(verdict.take(false, 2, 2));
    }
}
