//! The endpoint table in an instance's memory.
//!
//! In: the endpoints of a pool. Out: columns at addresses that the plugin gave, written whole when endpoints come or go, the
//! live ones before each pick. Invariant: an address is checked once, when it is given; memory never shrinks, and writing
//! looks at it again anyway.

use std::cell::Cell;

use gatewright_abi::{COLUMNS, Column, Element, Header, flag};

use super::check::size_of;
use super::fault::Fault;
use crate::balance::{Candidate, Turn, flag_changes};

/// Where the columns are.
pub(super) struct Table {
    header: usize,
    count: usize,
    generation: u32,
    /// Columns that are written before each pick, and where.
    live: Vec<(Column, usize)>,
    /// Whose turn it is.
    pub(super) turn: Turn,
    /// What [`flag_changes`] said when flags were last written, and for whose turn; `None` when they have to be written again.
    flags_of: Cell<Option<(u64, Turn)>>,
    /// All of what was allocated: address and size.
    pub(super) owned: Option<(u32, u32)>,
}

/// What a table needs in the plugin's memory: columns first, texts behind them.
pub(super) struct Plan {
    bytes: Vec<u8>,
    /// Column and offset.
    columns: Vec<(Column, usize)>,
    count: usize,
}

impl Plan {
    /// Lays out these columns for these endpoints. Texts are told by their offsets until the address is known.
    pub(super) fn new(columns: &[Column], endpoints: &[Candidate]) -> Plan {
        let mut offset = 0usize;
        let mut places = Vec::new();
        for column in columns {
            offset = offset.next_multiple_of(8);
            places.push((*column, offset));
            offset += size_of(*column) * endpoints.len();
        }
        Plan { bytes: vec![0; offset], columns: places, count: endpoints.len() }
    }

    /// Bytes of the columns and texts.
    pub(super) fn size(&self, endpoints: &[Candidate]) -> usize {
        let texts = |column: &Column| -> usize { endpoints.iter().map(|endpoint| text(*column, endpoint).len()).sum() };
        let of_text = |(column, _): &&(Column, usize)| column.element() == Element::Text;
        self.bytes.len() + self.columns.iter().filter(of_text).map(|(column, _)| texts(column)).sum::<usize>()
    }

    /// Fills everything in, for a place in the plugin's memory.
    pub(super) fn fill(&mut self, at: u32, endpoints: &[Candidate]) -> &[u8] {
        for (column, offset) in &self.columns {
            for (index, endpoint) in endpoints.iter().enumerate() {
                let place = offset + index * size_of(*column);
                let value = match column.element() {
                    Element::Text => {
                        let text = text(*column, endpoint);
                        let start = at as usize + self.bytes.len();
                        self.bytes.extend_from_slice(&text);
                        (text.len() as u64) << 32 | start as u64
                    }
                    _ => number(*column, endpoint),
                };
                if let Some(cell) = self.bytes.get_mut(place..place + size_of(*column)) {
                    cell.copy_from_slice(value.to_le_bytes().get(..cell.len()).unwrap_or_default());
                }
            }
        }
        &self.bytes
    }
}

impl Table {
    /// With its header at this address, empty.
    pub(super) fn new(header: u32) -> Table {
        Table {
            header: header as usize,
            count: 0,
            generation: 0,
            live: Vec::new(),
            turn: Turn::default(),
            flags_of: Cell::new(None),
            owned: None,
        }
    }

    /// How many endpoints it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Puts a plan in its place: columns begin at `at`. The addresses of columns.
    pub(super) fn place(&mut self, plan: &Plan, at: u32, memory: &mut [u8]) -> Result<[u32; COLUMNS], Fault> {
        let mut header = Header { generation: self.generation.wrapping_add(1), ..Header::default() };
        header.count = u32::try_from(plan.count).map_err(|_| Fault::Memory)?;
        for (column, offset) in &plan.columns {
            if let Some(slot) = header.columns.get_mut(column.number()) {
                *slot = at + u32::try_from(*offset).map_err(|_| Fault::Memory)?;
            }
        }
        let room = memory.get_mut(self.header..).ok_or(Fault::Pointer)?;
        let words = [header.count, header.generation].into_iter().chain(header.columns);
        let mut cells = room.as_chunks_mut::<4>().0.iter_mut();
        for word in words {
            *cells.next().ok_or(Fault::Pointer)? = word.to_le_bytes();
        }
        self.count = plan.count;
        self.generation = header.generation;
        let live = plan.columns.iter().filter(|(column, _)| column.is_live());
        self.flags_of.set(None);
        self.live = live.map(|(column, offset)| (*column, at as usize + offset)).collect();
        Ok(header.columns)
    }

    /// Writes the live columns. `tried`: endpoints that this request was sent to before.
    #[inline]
    pub(super) fn refresh(&self, memory: &mut [u8], endpoints: &[Candidate], tried: &[usize]) -> Result<(), Fault> {
        for (column, at) in &self.live {
            if *column == Column::Flags && tried.is_empty() {
                // They change seldom.
                let changes = Some((flag_changes(), self.turn));
                if self.flags_of.replace(changes) == changes {
                    continue;
                }
            }
            let cells = memory.get_mut(*at..*at + 4 * self.count).ok_or(Fault::Pointer)?.as_chunks_mut::<4>().0;
            each_live(*column, self.turn, endpoints, cells.iter_mut(), |cell, word| *cell = word.to_le_bytes());
            if *column == Column::Flags && !tried.is_empty() {
                self.flags_of.set(None);
                for index in tried {
                    if let Some([first, ..]) = cells.get_mut(*index) {
                        *first |= flag::TRIED.to_le_bytes()[0];
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes the words of a live column to its cells.
#[inline]
pub(super) fn each_live<C>(
    column: Column,
    turn: Turn,
    endpoints: &[Candidate],
    cells: impl Iterator<Item = C>,
    write: impl Fn(C, u32),
) {
    let pairs = cells.zip(endpoints);
    // One loop for each column, so that each is a tight one.
    macro_rules! each {
        ($stats:ident => $word:expr) => {
            pairs.for_each(|(cell, one)| {
                let $stats = &one.endpoint.stats;
                write(cell, $word);
            })
        };
    }
    match column {
        Column::Flags => pairs.for_each(|(cell, one)| write(cell, turn.flags(one))),
        Column::Active => each!(stats => stats.active()),
        Column::Latency => each!(stats => stats.latency()),
        Column::PeakLatency => each!(stats => stats.peak()),
        Column::Errors => each!(stats => stats.errors().to_bits()),
        Column::Rate => each!(stats => stats.rate().to_bits()),
        Column::Load => each!(stats => stats.load().to_bits()),
        Column::Warmth => each!(stats => stats.warmth().to_bits()),
        // The others change with the endpoints.
        Column::Weight | Column::Priority | Column::Id | Column::Address | Column::Zone | Column::Metadata => {}
    }
}

fn number(column: Column, candidate: &Candidate) -> u64 {
    let stats = &candidate.endpoint.stats;
    match column {
        Column::Flags => stats.flags().into(),
        Column::Active => candidate.endpoint.active().into(),
        Column::Latency => stats.latency().into(),
        Column::PeakLatency => stats.peak().into(),
        Column::Errors => stats.errors().to_bits().into(),
        Column::Rate => stats.rate().to_bits().into(),
        Column::Load => stats.load().to_bits().into(),
        Column::Warmth => stats.warmth().to_bits().into(),
        Column::Weight => candidate.weight.into(),
        Column::Priority => candidate.priority.into(),
        Column::Id => candidate.endpoint.id,
        Column::Address | Column::Zone | Column::Metadata => 0,
    }
}

fn text(column: Column, candidate: &Candidate) -> std::borrow::Cow<'_, [u8]> {
    match column {
        Column::Address => candidate.endpoint.address.as_bytes().into(),
        Column::Zone => candidate.zone.as_bytes().into(),
        Column::Metadata => {
            let mut list = Vec::new();
            for part in candidate.metadata.iter().flat_map(|(name, value)| [name, value]) {
                list.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_le_bytes());
                list.extend_from_slice(part.as_bytes());
            }
            list.into()
        }
        _ => (&[][..]).into(),
    }
}
