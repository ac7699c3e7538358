//! How long to wait before the next attempt: longer each time, and never the same for two who failed together.

use std::time::Duration;

/// Time between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// From `least`, doubling, to `most`.
    pub fn new(least: Duration, most: Duration) -> Backoff {
        Backoff { least, most, next: least }
    }

    /// It went well: the next wait is a short one again.
    pub fn reset(&mut self) {
        self.next = self.least;
    }

    /// How long to wait now; `share` is drawn from 0 to 1.
    pub fn wait(&mut self, share: f64) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.most);
        now.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0)
    }

    /// Waits.
    pub async fn pause(&mut self) {
        let time = self.wait(fastrand::f64());
        tokio::time::sleep(time).await;
    }
}

impl Default for Backoff {
    /// For servers that were asked in vain.
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew_after_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(300));
        let waits: Vec<_> = [1.0, 1.0, 1.0, 0.0].into_iter().map(|share| backoff.wait(share)).collect();
        assert_eq!(waits, [ms(100), ms(200), ms(300), ms(150)]);
        backoff.reset();
        assert_eq!(backoff.wait(0.5), ms(75));
    }
}
