//! What compression counts: by encoding, and whether it was put on or taken off.

use std::time::Duration;

use super::cells::Counter;
use super::families as family;
use super::render::Text;
use super::{Metrics, Worker};
use crate::http::encoding::Coding;

/// A body that was compressed or decompressed, to its end or as far as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recoding {
    /// How it was coded, or is now.
    pub coding: Coding,
    /// Whether that was taken off.
    pub is_decoding: bool,
    /// What went in.
    pub bytes_in: u64,
    /// What came out.
    pub bytes_out: u64,
    /// What the worker spent on it.
    pub time: Duration,
}

/// The counts of one worker.
#[derive(Default)]
pub(super) struct RecodingCells {
    /// By coding, put on and taken off.
    cells: [[Cells; 2]; Coding::ALL.len()],
    /// Of the worker's time, in thousandths.
    busy: Counter,
}

#[derive(Default)]
struct Cells {
    responses: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    nanos: Counter,
}

/// One number of them.
type Count = fn(&Cells) -> &Counter;

const ACTIONS: [&str; 2] = ["compress", "decompress"];

impl Recoding {
    /// Nothing yet.
    pub fn begin(coding: Coding, is_decoding: bool) -> Recoding {
        Recoding { coding, is_decoding, bytes_in: 0, bytes_out: 0, time: Duration::ZERO }
    }
}

impl Worker {
    /// A body was compressed or decompressed.
    pub fn recoded(&self, recoding: &Recoding) {
        let cells = self.shard.recoding.cells.get(recoding.coding as usize);
        let Some(cells) = cells.and_then(|cells| cells.get(usize::from(recoding.is_decoding))) else { return };
        cells.responses.add(1);
        cells.bytes_in.add(recoding.bytes_in);
        cells.bytes_out.add(recoding.bytes_out);
        cells.nanos.add(u64::try_from(recoding.time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// So many thousandths of its time this worker works just now.
    pub fn busy(&self, thousandths: u16) {
        self.shard.recoding.busy.set(thousandths.into());
    }
}

impl Metrics {
    pub(super) fn recoding(&self, text: &mut Text) {
        let families: [(_, Count); 4] = [
            (family::COMPRESSION, |cells| &cells.responses),
            (family::COMPRESSION_IN, |cells| &cells.bytes_in),
            (family::COMPRESSION_OUT, |cells| &cells.bytes_out),
            (family::COMPRESSION_TIME, |cells| &cells.nanos),
        ];
        for (row, count) in families {
            text.family(&row);
            for coding in Coding::ALL {
                for (which, action) in ACTIONS.into_iter().enumerate() {
                    let sum = |count: Count| {
                        let cells = |shard: &super::Shard| {
                            Some(count(shard.recoding.cells.get(coding as usize)?.get(which)?).value())
                        };
                        self.sum(|shard| cells(shard).unwrap_or(0))
                    };
                    if sum(|cells| &cells.responses) == 0 {
                        continue;
                    }
                    let labels = [("encoding", coding.text()), ("action", action)];
                    if row.name == family::COMPRESSION_TIME.name {
                        text.number(row.name, &labels, None, sum(count) as f64 / 1e9);
                    } else {
                        text.line(row.name, &labels, sum(count));
                    }
                }
            }
        }
        text.family(&family::BUSY);
        for (number, shard) in self.shards.iter().enumerate() {
            let share = shard.recoding.busy.value() as f64 / 1000.0;
            text.number(family::BUSY.name, &[("worker", &number.to_string())], None, share);
        }
    }
}
