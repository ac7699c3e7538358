//! Header blocks to fields (RFC 7541 section 6).
//!
//! In: one whole block. Out: its fields, one after the other, into a [`Sink`]. Invariant: the dynamic table follows
//! the peer's, so a block that is not wanted is decoded all the same, into a sink that keeps nothing. Bounds: the
//! table by our setting; what is decoded by the sink; table size updates by their place at the start of a block.

use super::huffman;
use super::table::{Label, STATIC, Table};

/// The most table size updates at the start of a block that mean anything (RFC 7541 section 4.2).
const SIZE_UPDATES: usize = 2;

/// Takes decoded fields.
pub(in crate::http::h2) trait Sink {
    /// One field.
    fn field(&mut self, label: Label<'_>, value: &[u8]);
}

/// The block cannot be decoded: COMPRESSION_ERROR (RFC 9113 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http::h2) struct Broken(pub(in crate::http::h2) &'static str);

/// One connection's decoder.
pub(in crate::http::h2) struct Decoder {
    table: Table,
    /// What our settings let the peer use.
    allowed: usize,
    /// The setting shrank below the table: the next block must begin with an update (RFC 7541 section 4.2).
    shrink_due: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// A decoder with the table size that holds before any settings.
    pub(in crate::http::h2) fn new() -> Decoder {
        let allowed = super::INITIAL_TABLE_SIZE;
        Decoder { table: Table::new(allowed), allowed, shrink_due: false, name: Vec::new(), value: Vec::new() }
    }

    /// Our setting, once the peer has acknowledged it.
    pub(in crate::http::h2) fn allow(&mut self, size: usize) {
        self.allowed = size;
        self.shrink_due = self.table.bound() > size;
    }

    /// Decodes a block.
    pub(in crate::http::h2) fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<(), Broken> {
        let mut input = block;
        let mut updates = 0;
        let mut fields = false;
        while let Some(&first) = input.first() {
            if first & 0xe0 == 0x20 {
                // RFC 7541 section 4.2: only at the beginning, and never more than we allow (section 6.3).
                updates += 1;
                if fields || updates > SIZE_UPDATES {
                    return Err(Broken("table size update out of place"));
                }
                let size = integer(&mut input, 5)?;
                if size > self.allowed {
                    return Err(Broken("table size update above the setting"));
                }
                self.table.set_bound(size);
                self.shrink_due = false;
                continue;
            }
            if self.shrink_due {
                return Err(Broken("table size update missing"));
            }
            fields = true;
            if first & 0x80 != 0 {
                let index = integer(&mut input, 7)?;
                let (label, value) = entry(&self.table, index)?;
                sink.field(label, value);
            } else {
                self.literal(first, &mut input, sink)?;
            }
        }
        Ok(())
    }

    /// Gives the memory of scratch buffers back.
    pub(in crate::http::h2) fn shrink(&mut self) {
        self.name = Vec::new();
        self.value = Vec::new();
    }

    fn literal(&mut self, first: u8, input: &mut &[u8], sink: &mut impl Sink) -> Result<(), Broken> {
        let Decoder { table, name, value, .. } = self;
        if first & 0xc0 != 0x40 {
            let label = match integer(input, 4)? {
                0 => Label::of(string(input, name)?),
                index => entry(table, index)?.0,
            };
            sink.field(label, string(input, value)?);
            return Ok(());
        }
        let label = match integer(input, 6)? {
            0 => Label::of(string(input, name)?),
            index => match STATIC.get(index - 1) {
                Some(&(label, _)) => label,
                None => {
                    // RFC 7541 section 4.4: the entry that gives the name may be evicted by the one that uses it.
                    name.clear();
                    name.extend_from_slice(entry(table, index)?.0.bytes());
                    Label::of(name)
                }
            },
        };
        let value = string(input, value)?;
        sink.field(label, value);
        table.insert(label, value);
        Ok(())
    }
}

fn entry(table: &Table, index: usize) -> Result<(Label<'_>, &[u8]), Broken> {
    // RFC 7541 section 2.3.3: the static table first, then the dynamic one; 0 is not used.
    let found = match index.checked_sub(1) {
        None => None,
        Some(at) => match STATIC.get(at) {
            Some(&(label, value)) => Some((label, value)),
            None => table.entry(at - STATIC.len()),
        },
    };
    found.ok_or(Broken("index out of range"))
}

/// RFC 7541 section 5.1. Four bytes after the prefix are more than any size or index that is of use.
fn integer(input: &mut &[u8], prefix: u32) -> Result<usize, Broken> {
    let (&first, mut rest) = input.split_first().ok_or(Broken("block ends in an integer"))?;
    let mask = (1usize << prefix) - 1;
    let mut value = first as usize & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first().ok_or(Broken("block ends in an integer"))?;
            rest = after;
            value += (byte as usize & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(Broken("integer too large"));
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// RFC 7541 section 5.2; `scratch` holds what had to be decoded.
fn string<'o, 'i: 'o>(input: &mut &'i [u8], scratch: &'o mut Vec<u8>) -> Result<&'o [u8], Broken> {
    let huffman = input.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(input, 7)?;
    let (text, rest) = input.split_at_checked(length).ok_or(Broken("block ends in a string"))?;
    *input = rest;
    if !huffman {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch).map_err(|_| Broken("invalid Huffman string"))?;
    Ok(scratch)
}
