//! What a call takes of the processor, by the thread's own clock: others that keep the thread from running do not count.

use std::time::Duration;

/// What holds a worker up for longer than this is done elsewhere, where it can be.
const LONG: Duration = Duration::from_micros(250);

/// Calls. What came of it, and whether it took longer than a worker is to be held up.
pub fn took_long<T>(call: impl FnOnce() -> T) -> (T, bool) {
    let began = thread_time();
    let result = call();
    (result, thread_time().saturating_sub(began) > LONG)
}

/// What the current thread has used of a processor.
pub(super) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
