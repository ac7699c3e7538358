//! The Huffman code of RFC 7541 appendix B, both ways.
//!
//! In: an encoded string; out: its bytes, or an error, and the other way round. The code is canonical: within one
//! length the codes follow each other in the order of the symbols, so the lengths alone make every table here, at
//! compile time. Decoding takes one look-up for each symbol of up to [`FAST_BITS`] bits, which all that occur in real
//! headers have, and a short search for the rest. The output is bounded by the input: at least five bits a byte.

/// How many bits each byte takes (RFC 7541 appendix B); the 257th symbol, EOS, takes 30.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
    28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
    8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
    13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
    28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
    22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
    22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
    25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const EOS: u16 = 256;
const LONGEST: usize = 30;
const FAST_BITS: usize = 10;

/// The string is not a valid Huffman string (RFC 7541 section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Invalid;

struct Tables {
    /// The code of each symbol, in its lowest bits.
    codes: [u32; 257],
    /// By the next [`FAST_BITS`] bits: symbol and length, or length 0 for a longer code.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// The symbols in the order of their codes.
    order: [u16; 257],
    /// By length: the first code, how many, and where they stand in `order`.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    place: [u16; LONGEST + 1],
}

static TABLES: Tables = build();

const fn build() -> Tables {
    let mut tables = Tables {
        codes: [0; 257],
        fast: [(0, 0); 1 << FAST_BITS],
        order: [0; 257],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        place: [0; LONGEST + 1],
    };
    let mut code = 0u32;
    let mut placed = 0;
    let mut length = 1;
    while length <= LONGEST {
        code <<= 1;
        tables.first[length] = code;
        tables.place[length] = placed as u16;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                tables.codes[symbol] = code;
                tables.order[placed] = symbol as u16;
                tables.count[length] += 1;
                if length <= FAST_BITS {
                    let spare = FAST_BITS - length;
                    let mut low = 0;
                    while low < 1 << spare {
                        tables.fast[((code as usize) << spare) | low] = (symbol as u8, length as u8);
                        low += 1;
                    }
                }
                code += 1;
                placed += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tables
}

/// Decodes a whole string to the end of `out`.
pub(super) fn decode(mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    out.reserve(input.len() * 8 / 5 + 1);
    // The lowest `held` bits of `bits` are read but not used.
    let mut bits = 0u64;
    let mut held = 0usize;
    loop {
        if held <= 32 {
            if let Some((word, rest)) = input.split_first_chunk::<4>() {
                bits = (bits << 32) | u64::from(u32::from_be_bytes(*word));
                held += 32;
                input = rest;
            } else {
                while let [byte, rest @ ..] = input {
                    bits = (bits << 8) | u64::from(*byte);
                    held += 8;
                    input = rest;
                }
            }
        }
        if held < FAST_BITS {
            return finish(bits, held, out);
        }
        let (symbol, length) = TABLES.fast[(bits >> (held - FAST_BITS)) as usize & ((1 << FAST_BITS) - 1)];
        if length > 0 {
            held -= length as usize;
            out.push(symbol);
        } else {
            let (symbol, length) = long(bits, held).ok_or(Invalid)?;
            held -= length;
            out.push(symbol);
        }
    }
}

/// A code of more than [`FAST_BITS`] bits.
fn long(bits: u64, held: usize) -> Option<(u8, usize)> {
    (FAST_BITS + 1..=LONGEST.min(held)).find_map(|length| {
        let code = (bits >> (held - length)) as u32 & ((1u32 << length) - 1);
        let above = code.checked_sub(TABLES.first[length])?;
        if above >= TABLES.count[length] {
            return None;
        }
        let symbol = *TABLES.order.get(TABLES.place[length] as usize + above as usize)?;
        // RFC 7541 section 5.2: EOS in the string is an error.
        (symbol != EOS).then_some((symbol as u8, length))
    })
}

/// The last bits: at most one short symbol or two, then less than eight bits of padding, all ones (RFC 7541
/// section 5.2).
fn finish(bits: u64, mut held: usize, out: &mut Vec<u8>) -> Result<(), Invalid> {
    loop {
        let rest = bits & ((1 << held) - 1);
        let ones = (1u64 << held) - 1;
        // The bits that are not there read as ones: no code is only ones, so padding never looks like a symbol.
        let index = ((rest << (FAST_BITS - held)) | ((1 << (FAST_BITS - held)) - 1)) as usize;
        let (symbol, length) = TABLES.fast[index];
        match length as usize {
            length if length > 0 && length <= held => {
                held -= length;
                out.push(symbol);
            }
            _ if held < 8 && rest == ones => return Ok(()),
            _ => return Err(Invalid),
        }
    }
}

/// How many bytes the encoded string takes.
pub(super) fn encoded_length(input: &[u8]) -> usize {
    input.iter().map(|&byte| LENGTHS[byte as usize] as usize).sum::<usize>().div_ceil(8)
}

/// Encodes to the end of `out`.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let mut bits = 0u64;
    let mut held = 0u32;
    for &byte in input {
        let length = u32::from(LENGTHS[byte as usize]);
        bits = (bits << length) | u64::from(TABLES.codes[byte as usize]);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        // RFC 7541 section 5.2: padded with the most significant bits of EOS, which are ones.
        out.push(((bits << (8 - held)) | ((1 << (8 - held)) - 1)) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    fn encoded(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(input, &mut out);
        assert_eq!(out.len(), encoded_length(input));
        out
    }

    #[test]
    fn the_code_is_the_one_of_the_rfc() {
        // Samples from RFC 7541 appendix B: the shortest, each edge of a length, EOS.
        for (symbol, code) in
            [(48, 0x0), (32, 0x14), (58, 0x5c), (38, 0xf8), (33, 0x3f8), (0, 0x1ff8), (255, 0x3ff_ffee)]
        {
            assert_eq!(TABLES.codes[symbol], code, "{symbol}");
        }
        assert_eq!(TABLES.codes[10], 0x3fff_fffc);
        assert_eq!(TABLES.codes[256], 0x3fff_ffff);
    }

    #[test]
    fn every_byte_comes_back_alone_and_among_others() {
        for byte in 0..=255u8 {
            assert_eq!(decoded(&encoded(&[byte])), Ok(vec![byte]));
            for filler in [b'0', b'x', 0xff] {
                let text = [filler, byte, byte, filler];
                assert_eq!(decoded(&encoded(&text)), Ok(text.to_vec()));
            }
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), Ok(all));
    }

    #[test]
    fn padding_is_less_than_a_byte_and_all_ones() {
        // RFC 7541 section C.4.1.
        let text = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&text), Ok(b"www.example.com".to_vec()));
        assert_eq!(decoded(&[&text[..], &[0xff]].concat()), Err(Invalid));
        assert_eq!(decoded(&[0xff]), Err(Invalid));
        assert_eq!(decoded(&[0xff; 4]), Err(Invalid));
        // `a` (00011) with zeros behind it.
        assert_eq!(decoded(&[0b0001_1000]), Err(Invalid));
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        assert_eq!(decoded(&[]), Ok(vec![]));
    }

    #[test]
    fn eos_inside_is_refused() {
        assert_eq!(decoded(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Invalid));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(Invalid));
    }

    proptest! {
        #[test]
        fn strings_come_back(text: Vec<u8>) {
            prop_assert_eq!(decoded(&encoded(&text)), Ok(text));
        }

        #[test]
        fn what_decodes_is_the_only_encoding(input: Vec<u8>) {
            if let Ok(text) = decoded(&input) {
                prop_assert_eq!(encoded(&text), input);
            }
        }
    }
}
