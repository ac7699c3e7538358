//! The endpoint table in an instance's memory.
//!
//! In: the endpoints of a pool. Out: columns at addresses that the plugin gave, written whole when endpoints come or go, the
//! live ones kept up before each pick. Invariant: an address is checked once, when it is given; memory never shrinks, and writing
//! looks at it again anyway.

use std::cell::Cell;
use std::ops::Range;

use gatewright_abi::{COLUMNS, Column, Element, Header};

use super::check::size_of;
use super::fault::Fault;
use super::upkeep::{self, Upkeep};
use crate::balance::{Candidate, Turn};

/// Where the columns are.
pub(super) struct Table {
    header: usize,
    count: usize,
    generation: u32,
    /// Columns that are kept up, and their words in the room.
    live: Vec<(Column, Range<usize>)>,
    /// Where those lie.
    room: Range<usize>,
    upkeep: Upkeep,
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
            room: 0..0,
            upkeep: Upkeep::default(),
            owned: None,
        }
    }

    /// How many endpoints it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Puts a plan in its place: columns begin at `at`. The addresses of columns.
    pub(super) fn place(
        &mut self,
        plan: &Plan,
        at: u32,
        endpoints: &[Candidate],
        memory: &mut [u8],
    ) -> Result<[u32; COLUMNS], Fault> {
        let mut header = Header { generation: self.generation.wrapping_add(1), ..Header::default() };
        header.count = u32::try_from(plan.count).map_err(|_| Fault::Memory)?;
        // Without endpoints nothing is there, whatever was answered for the room of nothing.
        let at = if plan.count == 0 { 0 } else { at };
        for (column, offset) in plan.columns.iter().filter(|_| plan.count > 0) {
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
        let begin = live.clone().map(|(_, offset)| *offset).min().unwrap_or(0);
        let words = |offset: usize| (offset - begin) / 4..(offset - begin) / 4 + plan.count;
        self.live = live.map(|(column, offset)| (*column, words(*offset))).collect();
        let size = self.live.iter().map(|(_, words)| words.end * 4).max().unwrap_or(0);
        self.room = at as usize + begin..at as usize + begin + size;
        self.upkeep = self.upkeep.anew(endpoints);
        Ok(header.columns)
    }

    /// Whose turn it is at the next refresh.
    #[inline]
    pub(super) fn set_turn(&mut self, turn: Turn) {
        self.upkeep.turn = turn;
    }

    /// Writes what has changed to the live columns.
    #[inline]
    pub(super) fn refresh(&self, memory: &mut [u8], endpoints: &[Candidate]) -> Result<(), Fault> {
        let cells = self.cells(memory)?;
        let column = |(column, range): &(Column, Range<usize>)| (*column, cells.get(range.clone()).unwrap_or_default());
        self.upkeep.refresh(endpoints, self.live.iter().map(column));
        Ok(())
    }

    /// Shows which endpoints the request was sent to before; or, when it has been decided about, no longer.
    #[cold]
    pub(super) fn show_tried(
        &self,
        memory: &mut [u8],
        endpoints: &[Candidate],
        tried: &[usize],
        shown: bool,
    ) -> Result<(), Fault> {
        let cells = self.cells(memory)?;
        if let Some((_, range)) = self.live.iter().find(|(column, _)| *column == Column::Flags) {
            let flags = cells.get(range.clone()).unwrap_or_default();
            upkeep::show_tried(flags, self.upkeep.turn, endpoints, tried, shown);
        }
        Ok(())
    }

    /// The words from the first live column to the end of the last.
    #[inline]
    fn cells<'a>(&self, memory: &'a mut [u8]) -> Result<&'a [Cell<[u8; 4]>], Fault> {
        let room = memory.get_mut(self.room.clone()).ok_or(Fault::Pointer)?;
        Ok(Cell::from_mut(room.as_chunks_mut::<4>().0).as_slice_of_cells())
    }
}

fn number(column: Column, candidate: &Candidate) -> u64 {
    match column {
        Column::Weight => candidate.weight.into(),
        Column::Priority => candidate.priority.into(),
        Column::Id => candidate.endpoint.id,
        live => upkeep::word(live, Turn::default(), candidate).into(),
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
