//! Metrics of a plugin's own: `gatewright_plugin_NAME_metric`, with a label if you like.
//!
//! Make them in `configure` and keep them; using one is a call of a few nanoseconds. A plugin has up to 128 series. One that
//! the gateway does not take, because there are too many or its name is none, does nothing and is logged.

use gatewright_abi::metric;

use crate::sys;

/// Something that only grows, and is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counter(i32);

/// Something that goes up and down.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(i32);

/// A distribution, say of times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Histogram(i32);

fn series(kind: u32, name: &str, label: &str, value: &str) -> i32 {
    let number = sys::metric(kind, name.as_bytes(), label.as_bytes(), value.as_bytes());
    crate::request::taken("metric", name, number);
    number
}

impl Counter {
    /// The counter of this name: letters, digits and underscores.
    pub fn new(name: &str) -> Counter {
        Counter(series(metric::COUNTER, name, "", ""))
    }

    /// The one of its name where the label has this value.
    pub fn labelled(name: &str, label: &str, value: &str) -> Counter {
        Counter(series(metric::COUNTER, name, label, value))
    }

    /// One more.
    pub fn increment(self) {
        self.add(1.0);
    }

    /// So many more.
    pub fn add(self, by: f64) {
        if self.0 >= 0 {
            sys::metric_add(self.0, by);
        }
    }
}

impl Gauge {
    /// The gauge of this name: letters, digits and underscores.
    pub fn new(name: &str) -> Gauge {
        Gauge(series(metric::GAUGE, name, "", ""))
    }

    /// The one of its name where the label has this value.
    pub fn labelled(name: &str, label: &str, value: &str) -> Gauge {
        Gauge(series(metric::GAUGE, name, label, value))
    }

    /// It is this now.
    pub fn set(self, value: f64) {
        if self.0 >= 0 {
            sys::metric_set(self.0, value);
        }
    }

    /// So much more, or less.
    pub fn add(self, by: f64) {
        if self.0 >= 0 {
            sys::metric_add(self.0, by);
        }
    }
}

impl Histogram {
    /// The histogram of this name: letters, digits and underscores.
    pub fn new(name: &str) -> Histogram {
        Histogram(series(metric::HISTOGRAM, name, "", ""))
    }

    /// The one of its name where the label has this value.
    pub fn labelled(name: &str, label: &str, value: &str) -> Histogram {
        Histogram(series(metric::HISTOGRAM, name, label, value))
    }

    /// This was seen once more.
    pub fn record(self, value: f64) {
        if self.0 >= 0 {
            sys::metric_record(self.0, value);
        }
    }
}
