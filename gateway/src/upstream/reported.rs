//! What endpoints say of their load, taken in: from a header field of their responses, which clients do not get to see, or from
//! what they answer when they are asked.

use super::pool::PoolState;
use crate::balance::{Endpoint, Report};
use crate::clock;
use crate::http::ResponseHead;

/// The fields of ORCA; the second one is binary, and not read.
const FIELDS: [&str; 2] = ["endpoint-load-metrics", "endpoint-load-metrics-bin"];

/// Reads what a response says of its endpoint's load, and takes it out.
#[inline]
pub fn take_report(pool: &PoolState, endpoint: &Endpoint, head: &mut ResponseHead) {
    if pool.model.selection.load.as_ref().is_some_and(|load| load.headers) {
        read(pool, endpoint, head);
    }
}

fn read(pool: &PoolState, endpoint: &Endpoint, head: &mut ResponseHead) {
    let [text, _] = FIELDS;
    // One of a kind; of several the last, which is that of the endpoint nearest to us.
    if let Some(value) = head.fields.values(text).last() {
        report(pool, endpoint, value);
    }
    for field in FIELDS {
        head.fields.remove(field);
    }
}

/// Takes in what was said. Whether it tells a load.
pub fn report(pool: &PoolState, endpoint: &Endpoint, text: &[u8]) -> bool {
    let metric = pool.model.selection.load.as_ref().and_then(|load| load.metric.as_deref());
    let report = Report::read(text, metric);
    pool.watch.reports.note(report.is_some());
    if let Some(report) = report {
        endpoint.reports(report, clock::coarse_uptime());
    }
    report.is_some()
}
