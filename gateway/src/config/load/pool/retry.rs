//! `retry = { … }` of a pool or route: when a request is sent again.

use super::{At, Reader, file, value};
use crate::config::file::Size;
use crate::config::model::{Retry, RetryBudget, RetryOn};

impl Reader<'_, '_> {
    pub(in super::super) fn retry(&mut self, at: &At<file::Retry>) -> Retry {
        let retry = &at.value;
        let pause = self.time(retry.pause.as_ref()).unwrap_or(Retry::PAUSE);
        let pause_most = self.time(retry.pause_most.as_ref());
        if let (Some(most), Some(written)) = (pause_most, &retry.pause_most)
            && most < pause
        {
            self.report.at(&written.span, "is below \"pause\"");
        }
        let share = retry.budget.as_ref().and_then(|share| self.text(share, value::share));
        let buffer = retry.buffer.as_ref().and_then(|buffer| self.buffer(buffer));
        if retry.any_method == Some(true) {
            self.report.warn(&at.span, "with \"any_method\" a POST may take effect twice");
        }
        Retry {
            on: retry.on.clone().unwrap_or_else(|| vec![RetryOn::Connect]),
            statuses: retry.status.clone().unwrap_or_default(),
            grpc_statuses: retry.grpc_status.clone().unwrap_or_default(),
            tries: retry.tries.as_ref().map_or(Retry::TRIES, |tries| tries.value),
            try_time: self.time(retry.try_time.as_ref()),
            pause: Some((pause, pause_most.unwrap_or(Retry::PAUSE_MOST).max(pause))),
            budget: Some(RetryBudget {
                share: share.unwrap_or(Retry::BUDGET.share),
                least: retry.budget_least.unwrap_or(Retry::BUDGET.least),
            }),
            buffer: buffer.unwrap_or(0),
            any_method: retry.any_method.unwrap_or(false),
        }
    }

    /// What may be kept of a body.
    pub(in super::super) fn buffer(&mut self, at: &At<Size>) -> Option<u64> {
        let bytes = match &at.value {
            Size::Bytes(bytes) => Ok(*bytes),
            Size::Text(text) => value::size(text),
        };
        let bounded = |bytes: u64| {
            (bytes <= Retry::BUFFER_MOST).then_some(bytes).ok_or_else(|| "takes at most \"64MiB\"".to_owned())
        };
        self.read(&at.span, bytes.and_then(bounded))
    }
}
