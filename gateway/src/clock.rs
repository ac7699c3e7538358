//! Time: the deadline timer of an exchange, and the text of the current date.
//!
//! Deadlines move forward many times a second and almost never pass. A [`Watchdog`] therefore leaves the runtime's timer
//! where it is while the deadline moves away from it, and looks again when that timer fires.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::Sleep;

use crate::error::{Error, Kind, Phase, Side};

/// A deadline that is cheap to move forward.
#[derive(Default)]
pub struct Watchdog {
    sleep: Option<Pin<Box<Sleep>>>,
    armed_for: Option<Instant>,
    /// Whom the timer wakes.
    wakes: Option<Waker>,
}

/// A time that may run out: when, which time it is, and whose fault that would be.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// Which time.
    pub phase: Phase,
    /// Whose fault.
    pub side: Side,
}

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration, phase: Phase, side: Side) -> Deadline {
        Deadline::from(coarse(), time, phase, side)
    }

    /// So long from then.
    pub fn from(then: Instant, time: Duration, phase: Phase, side: Side) -> Deadline {
        let at = then.checked_add(time).unwrap_or_else(|| then + Duration::from_secs(86_400 * 365));
        Deadline { at, phase, side }
    }

    /// Whichever comes first.
    pub fn or(self, other: Option<Deadline>) -> Deadline {
        match other {
            Some(other) if other.at < self.at => other,
            _ => self,
        }
    }

    /// What happened when it has passed.
    pub fn error(&self) -> Error {
        let retry = match self.phase {
            Phase::Connect => crate::error::Retry::Elsewhere,
            _ => crate::error::Retry::Never,
        };
        Error { kind: Kind::Timeout(self.phase), side: self.side, retry }
    }
}

/// More than the coarse clock lags behind the exact one.
const GRAIN: Duration = Duration::from_millis(20);

impl Watchdog {
    /// Ready when the instant has passed. Wakes the task at that time, or now and then before it.
    pub fn poll_passed(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // The timer runs, ahead of the deadline, and wakes this task: nothing to do until it does.
        let runs = self.armed_for.is_some_and(|armed| armed <= at && coarse() + GRAIN < armed);
        if runs && self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.wakes = Some(cx.waker().clone());
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        if self.armed_for.is_none_or(|armed| armed > at) {
            sleep.as_mut().reset(at.into());
            self.armed_for = Some(at);
        }
        loop {
            match sleep.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if Instant::now() >= at => {
                    self.armed_for = None;
                    return Poll::Ready(());
                }
                Poll::Ready(()) => {
                    sleep.as_mut().reset(at.into());
                    self.armed_for = Some(at);
                }
            }
        }
    }

    /// Waits for the future, but not beyond the deadline.
    pub async fn within<T>(
        &mut self,
        deadline: Deadline,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_passed(deadline.at, cx).map(|()| Err(deadline.error())),
        })
        .await
    }
}

/// The time to within a few milliseconds, at a fraction of what the exact time costs. For deadlines, not for durations.
#[cfg(target_os = "linux")]
pub fn coarse() -> Instant {
    use rustix::time::{ClockId, clock_gettime};
    let read = || {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    thread_local! {
        static BASE: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }
    let now = read();
    let (instant, then) = BASE.get().unwrap_or_else(|| {
        let base = (Instant::now(), now);
        BASE.set(Some(base));
        base
    });
    instant + now.saturating_sub(then)
}

/// The time to within a few milliseconds.
#[cfg(not(target_os = "linux"))]
pub fn coarse() -> Instant {
    Instant::now()
}

/// The time since some moment before the first call, as [`coarse`] tells it: the same for all threads.
pub fn coarse_uptime() -> Duration {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    coarse().saturating_duration_since(*BEGAN.get_or_init(coarse))
}

/// The Unix time in seconds.
pub fn second() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        u64::try_from(time.tv_sec).unwrap_or(0)
    }
    #[cfg(not(target_os = "linux"))]
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

thread_local! {
    static DATE: RefCell<(u64, [u8; 29])> = const { RefCell::new((u64::MAX, [0; 29])) };
}

/// Hands the current date in the form of RFC 9110 section 5.6.7 to the function. Made once a second.
pub fn with_date<T>(use_it: impl FnOnce(&[u8]) -> T) -> T {
    let second = second();
    DATE.with_borrow_mut(|(made_for, text)| {
        if *made_for != second {
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(bytes) = <[u8; 29]>::try_from(date.as_bytes()) {
                *text = bytes;
                *made_for = second;
            }
        }
        use_it(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_moved_forward_passes_late_and_moved_back_passes_early() {
        let mut watchdog = Watchdog::default();
        let far = Instant::now() + Duration::from_secs(3600);
        assert!(poll_fn(|cx| Poll::Ready(watchdog.poll_passed(far, cx).is_pending())).await);
        let near = Instant::now() + Duration::from_millis(20);
        poll_fn(|cx| watchdog.poll_passed(near, cx)).await;
        assert!(Instant::now() >= near);
        assert!(poll_fn(|cx| Poll::Ready(watchdog.poll_passed(far, cx).is_pending())).await);
    }

    #[tokio::test]
    async fn a_future_that_takes_too_long_becomes_an_error_with_its_phase() {
        let mut watchdog = Watchdog::default();
        let deadline = Deadline::after(Duration::from_millis(5), Phase::FirstByte, Side::Upstream);
        let result: Result<(), Error> = watchdog.within(deadline, std::future::pending()).await;
        assert_eq!(result.unwrap_err().kind, Kind::Timeout(Phase::FirstByte));
        let deadline = Deadline::after(Duration::from_secs(60), Phase::FirstByte, Side::Upstream);
        assert_eq!(watchdog.within(deadline, async { Ok(7) }).await, Ok(7));
    }

    #[test]
    fn the_date_has_the_form_of_rfc_9110() {
        with_date(|date| {
            assert_eq!(date.len(), 29);
            assert!(date.ends_with(b" GMT"));
        });
    }
}
