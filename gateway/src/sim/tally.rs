//! What came of a run: how long clients waited, what went wrong, who did the work.

use std::time::Duration;

use super::histogram::Histogram;

/// Pieces that a run is cut into, to show how it went over time.
pub const PIECES: usize = 48;

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Well.
    Answered,
    /// The backend answered 500.
    Failed,
    /// The backend answered 503, since its queue was full.
    Full,
    /// The backend went away with it.
    Broken,
    /// No backend took the connection.
    Unconnected,
    /// The client did not wait any longer.
    ClientTimeout,
    /// The gateway did not wait any longer.
    FirstByte,
    /// The plugin refused it.
    Refused,
    /// There was nowhere to send it.
    Nowhere,
}

impl End {
    /// All that are errors.
    pub const ERRORS: [End; 8] = [
        End::Failed,
        End::Full,
        End::Broken,
        End::Unconnected,
        End::ClientTimeout,
        End::FirstByte,
        End::Refused,
        End::Nowhere,
    ];

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            End::Answered => "answered",
            End::Failed => "status-500",
            End::Full => "queue-full",
            End::Broken => "broken",
            End::Unconnected => "connect",
            End::ClientTimeout => "client-timeout",
            End::FirstByte => "first-byte",
            End::Refused => "refused",
            End::Nowhere => "nowhere",
        }
    }
}

/// One backend.
#[derive(Clone, Debug, Default)]
pub struct Worked {
    /// Its address.
    pub address: String,
    /// The name of its group.
    pub group: String,
    /// Its weight.
    pub weight: u16,
    /// Requests that it can work on at the same time.
    pub servers: u32,
    /// Requests that were sent to it.
    pub sent: u64,
    /// Most requests that it had at once.
    pub peak: u32,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How long clients waited that were answered well, or until they gave up. Nanoseconds.
    pub waited: Histogram,
    /// The same, by the piece of the run in which they came.
    pub pieces: Vec<Histogram>,
    ends: [u64; End::ERRORS.len() + 1],
    /// Attempts beyond the first ones.
    pub retries: u64,
    /// Requests that a second endpoint got beside the first.
    pub hedges: u64,
    /// All backends.
    pub backends: Vec<Worked>,
    /// Picks that the plugin left to the fallback.
    pub fallbacks: u64,
    /// Picks that the fallback took since the plugin failed or was not there.
    pub without_plugin: u64,
    /// Faults of the plugin, by kind, those that happened.
    pub faults: Vec<(&'static str, u64)>,
    /// Gateways that do not call the plugin any more, and when the first of them stopped.
    pub quarantined: Option<(u32, Duration)>,
    /// How long it took, by the simulated clock.
    pub length: Duration,
}

impl Tally {
    /// Of a run that has not begun, over these backends.
    pub fn new(backends: Vec<Worked>) -> Tally {
        Tally {
            waited: Histogram::default(),
            pieces: vec![Histogram::default(); PIECES],
            ends: Default::default(),
            retries: 0,
            hedges: 0,
            backends,
            fallbacks: 0,
            without_plugin: 0,
            faults: Vec::new(),
            quarantined: None,
            length: Duration::ZERO,
        }
    }

    /// A request ended that came at this share of the run and took so long.
    pub fn end(&mut self, end: End, came: f64, took: u64) {
        if let Some(count) = self.ends.get_mut(place(end)) {
            *count += 1;
        }
        // What fails at once would make whoever fails look fast; who gave up waited as long as that.
        if matches!(end, End::Answered | End::ClientTimeout | End::FirstByte) {
            self.waited.record(took);
            let piece = ((came * PIECES as f64) as usize).min(PIECES - 1);
            if let Some(piece) = self.pieces.get_mut(piece) {
                piece.record(took);
            }
        }
    }

    /// How many requests ended like this.
    pub fn ended(&self, end: End) -> u64 {
        self.ends.get(place(end)).copied().unwrap_or(0)
    }

    /// How many requests ended.
    pub fn requests(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// The share of requests that ended in an error.
    pub fn error_rate(&self) -> f64 {
        let errors = self.requests() - self.ended(End::Answered);
        errors as f64 / self.requests().max(1) as f64
    }

    /// The share of all requests that a backend was sent.
    pub fn share(&self, backend: &Worked) -> f64 {
        let all: u64 = self.backends.iter().map(|backend| backend.sent).sum();
        backend.sent as f64 / all.max(1) as f64
    }

    /// What decides who is best: errors to a tenth of a per cent, then the wait of the slowest hundredth to one per cent.
    pub fn standing(&self) -> (u64, f64) {
        ((self.error_rate() * 1000.0).round() as u64, self.waited.quantile(0.99) as f64)
    }
}

/// Which of these are best. Those that are hardly worse count too.
pub fn best<'t>(tallies: impl Iterator<Item = Option<&'t Tally>>) -> Vec<bool> {
    let standings: Vec<Option<(u64, f64)>> = tallies.map(|tally| tally.map(Tally::standing)).collect();
    let order = |one: &&(u64, f64), other: &&(u64, f64)| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1));
    let first = standings.iter().flatten().min_by(order).copied();
    let is_best = |standing: &Option<(u64, f64)>| match (standing, first) {
        (Some((errors, wait)), Some((fewest, shortest))) => *errors == fewest && *wait <= shortest * 1.01,
        _ => false,
    };
    standings.iter().map(is_best).collect()
}

fn place(end: End) -> usize {
    End::ERRORS.iter().position(|error| *error == end).map_or(0, |error| error + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(waits: &[(End, u64)]) -> Tally {
        let mut tally = Tally::new(Vec::new());
        waits.iter().for_each(|(end, took)| tally.end(*end, 0.5, *took));
        tally
    }

    #[test]
    fn what_fails_at_once_does_not_count_as_fast() {
        let tally = tally(&[(End::Answered, 1000), (End::Full, 1), (End::ClientTimeout, 5000), (End::Answered, 1000)]);
        assert_eq!((tally.waited.count(), tally.ended(End::Full), tally.requests()), (3, 1, 4));
        assert_eq!(tally.error_rate(), 0.5);
        assert_eq!(tally.pieces[PIECES / 2].count(), 3);
    }

    #[test]
    fn fewer_errors_go_before_shorter_waits() {
        let (fast, sound) = (tally(&[(End::Answered, 10), (End::Failed, 1)]), tally(&[(End::Answered, 1000)]));
        let (like, slow) = (tally(&[(End::Answered, 1009)]), tally(&[(End::Answered, 1030)]));
        let all = [Some(&fast), Some(&sound), None, Some(&like), Some(&slow)];
        assert_eq!(best(all.into_iter()), [false, true, false, true, false]);
        assert_eq!(best([None].into_iter()), [false]);
    }
}
