//! A message body out of the bytes of a connection: by length, by chunks, or to the end of the connection.
//!
//! In: what was read. Out: data and trailers, and whether the body is complete. Chunk heads follow RFC 9112 section 7.1
//! to the byte; extensions are bounded, checked and dropped.

use bytes::{Buf, Bytes, BytesMut};

use super::framing::Framing;
use super::lines::{Scan, parse_fields};
use crate::error::{Error, Kind, Retry, Side};
use crate::http::{Fields, hygiene};
use crate::limits::Limits;

/// How far a body has come.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    side: Side,
}

#[derive(Debug)]
enum State {
    Length(u64),
    ChunkHead,
    ChunkData(u64),
    /// The CRLF behind the data of a chunk.
    ChunkEnd,
    Trailers(Scan),
    UntilClose,
    Done,
}

/// What the next bytes gave.
#[derive(Debug)]
pub enum Decoded {
    /// A piece of the body; not empty.
    Data(Bytes),
    /// Trailers; the body is complete.
    Trailers(Fields),
    /// The body is complete.
    End,
    /// More bytes are needed.
    More,
}

impl Decoder {
    /// A decoder for a body that this side sends.
    pub fn new(framing: Framing, side: Side) -> Decoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkHead,
            Framing::UntilClose => State::UntilClose,
        };
        Decoder { state, side }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many bytes are still to come, when that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Takes what it can from the front of the bytes.
    pub fn decode(&mut self, bytes: &mut BytesMut, limits: &Limits) -> Result<Decoded, Error> {
        loop {
            match &mut self.state {
                State::Done => return Ok(Decoded::End),
                State::UntilClose => return Ok(take(bytes, u64::MAX).map_or(Decoded::More, Decoded::Data)),
                State::Length(left) => {
                    let Some(data) = take(bytes, *left) else { return Ok(Decoded::More) };
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Decoded::Data(data));
                }
                State::ChunkHead => match chunk_head(bytes, limits).map_err(|kind| self.error(kind))? {
                    None => return Ok(Decoded::More),
                    Some(0) => self.state = State::Trailers(Scan::default()),
                    Some(size) => self.state = State::ChunkData(size),
                },
                State::ChunkData(left) => {
                    let Some(data) = take(bytes, *left) else { return Ok(Decoded::More) };
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                State::ChunkEnd => match bytes.as_ref() {
                    [b'\r', b'\n', ..] => {
                        bytes.advance(2);
                        self.state = State::ChunkHead;
                    }
                    [] | [b'\r'] => return Ok(Decoded::More),
                    _ => return Err(self.malformed("chunk data is not followed by CRLF")),
                },
                State::Trailers(scan) => {
                    let Some(end) = scan.trailers(bytes, limits, self.side)? else { return Ok(Decoded::More) };
                    let mut trailers = parse_fields(&bytes[..end.end], self.side)?;
                    bytes.advance(end.end);
                    self.state = State::Done;
                    hygiene::strip_trailers(&mut trailers);
                    return Ok(if trailers.is_empty() { Decoded::End } else { Decoded::Trailers(trailers) });
                }
            }
        }
    }

    /// What the end of the connection means here.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Error { kind: Kind::Truncated, side: self.side, retry: Retry::Idempotent }),
        }
    }

    fn malformed(&self, what: &'static str) -> Error {
        self.error(Kind::Malformed(what))
    }

    fn error(&self, kind: Kind) -> Error {
        Error { kind, side: self.side, retry: Retry::Never }
    }
}

fn take(bytes: &mut BytesMut, most: u64) -> Option<Bytes> {
    let size = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    (size > 0).then(|| bytes.split_to(size).freeze())
}

/// The size of the next chunk; `None`: its line is not complete.
fn chunk_head(bytes: &mut BytesMut, limits: &Limits) -> Result<Option<u64>, Kind> {
    let most = usize::try_from(limits.chunk_header_size).unwrap_or(usize::MAX);
    let window = bytes.get(..most.min(bytes.len())).unwrap_or_default();
    let Some(feed) = memchr::memchr(b'\n', window) else {
        return match bytes.len() >= most {
            true => Err(Kind::ChunkHeadTooLarge),
            false => check_start(window).map(|()| None).map_err(Kind::Malformed),
        };
    };
    let Some(line) = window.get(..feed).and_then(|line| line.strip_suffix(b"\r")) else {
        return Err(Kind::Malformed("chunk head ends with a bare LF"));
    };
    let size = chunk_size(line).map_err(Kind::Malformed)?;
    bytes.advance(feed + 1);
    Ok(Some(size))
}

/// An incomplete line that already cannot become a chunk head.
fn check_start(line: &[u8]) -> Result<(), &'static str> {
    match line.first() {
        Some(digit) if !digit.is_ascii_hexdigit() => Err("chunk size is not a number"),
        _ => Ok(()),
    }
}

/// chunk-size [ chunk-ext ] (RFC 9112 sections 7.1 and 7.1.1), without white space where the grammar has none.
fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 {
        return Err("chunk size is not a number");
    }
    if digits > 15 {
        return Err("chunk size is too large");
    }
    let (size, extension) = line.split_at(digits);
    let bad_extension = |b: &u8| (*b < 0x20 && *b != b'\t') || *b == 0x7f;
    let extension_start = crate::http::fields::trim(extension);
    if !extension.is_empty() && (!extension_start.starts_with(b";") || extension.iter().any(bad_extension)) {
        return Err("chunk size is not a number");
    }
    let digit = |b: &u8| u64::from((*b as char).to_digit(16).unwrap_or(0));
    Ok(size.iter().fold(0, |sum, b| sum * 16 + digit(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Body, trailers and what is left, from input that arrives in two pieces.
    fn decode(framing: Framing, input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, Vec<u8>), Error> {
        let limits = Limits::default();
        let mut decoder = Decoder::new(framing, Side::Client);
        let mut bytes = BytesMut::from(&input[..cut]);
        let mut rest = Some(&input[cut..]);
        let (mut body, mut trailers) = (Vec::new(), 0);
        loop {
            match decoder.decode(&mut bytes, &limits)? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(fields) => trailers = fields.len(),
                Decoded::End => {
                    bytes.extend_from_slice(rest.take().unwrap_or_default());
                    return Ok((body, trailers, bytes.to_vec()));
                }
                Decoded::More => match rest.take() {
                    Some(more) => bytes.extend_from_slice(more),
                    None => {
                        decoder.end_of_input()?;
                        return Ok((body, trailers, bytes.to_vec()));
                    }
                },
            }
        }
    }

    #[test]
    fn chunks_are_decoded_wherever_they_are_cut() {
        let input = b"4;a=\"b\"\r\nWiki\r\n00005\r\npedia\r\nA \t;x\r\n0123456789\r\n0\r\nx: y\r\nhost: z\r\n\r\nGET";
        for cut in 0..input.len() {
            let (body, trailers, rest) = decode(Framing::Chunked, input, cut).unwrap();
            assert_eq!((&body[..], trailers, &rest[..]), (&b"Wikipedia0123456789"[..], 1, &b"GET"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused_wherever_they_are_cut() {
        for input in [
            &b"4\nWiki\r\n0\r\n\r\n"[..],
            b"4\r\nWikiX\r\n0\r\n\r\n",
            b"4\r\nWiki\n0\r\n\r\n",
            b"4\r\nWiki\r0\r\n\r\n",
            b" 4\r\nWiki\r\n0\r\n\r\n",
            b"+4\r\nWiki\r\n0\r\n\r\n",
            b"-4\r\nWiki\r\n0\r\n\r\n",
            b"0x4\r\nWiki\r\n0\r\n\r\n",
            b"4 4\r\nWiki\r\n0\r\n\r\n",
            b"4g\r\nWiki\r\n0\r\n\r\n",
            b"\r\nWiki\r\n0\r\n\r\n",
            b"4;a\rb\r\nWiki\r\n0\r\n\r\n",
            b"4;a\0\r\nWiki\r\n0\r\n\r\n",
            b"10000000000000004\r\nWiki\r\n0\r\n\r\n",
            b"0\r\nx : y\r\n\r\n",
            b"0\r\nx: y\n\r\n",
            b"0\r\n x: y\r\n\r\n",
        ] {
            for cut in 0..input.len() {
                let result = decode(Framing::Chunked, input, cut);
                assert!(
                    matches!(result, Err(Error { kind: Kind::Malformed(_), .. })),
                    "{} at {cut}",
                    input.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_body_that_ends_early_is_truncated() {
        for (framing, input) in [
            (Framing::Length(5), &b"1234"[..]),
            (Framing::Chunked, b"4\r\nWiki\r\n"),
            (Framing::Chunked, b"4\r\nWi"),
            (Framing::Chunked, b"0\r\n"),
            (Framing::Chunked, b"0\r\nx: y\r\n"),
        ] {
            assert_eq!(decode(framing, input, 0).unwrap_err().kind, Kind::Truncated, "{}", input.escape_ascii());
        }
        assert_eq!(decode(Framing::UntilClose, b"abc", 1).unwrap().0, b"abc");
    }

    #[test]
    fn an_endless_extension_is_refused() {
        let mut input = b"4;".to_vec();
        input.resize(100_000, b'a');
        assert!(decode(Framing::Chunked, &input, 10).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(input in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let cut = cut.min(input.len());
            let _ = decode(Framing::Chunked, &input, cut);
        }

        #[test]
        fn length_takes_exactly_so_much(input in proptest::collection::vec(any::<u8>(), 1..200), length in 1u64..100) {
            prop_assume!(length as usize <= input.len());
            let (body, _, rest) = decode(Framing::Length(length), &input, 0).unwrap();
            prop_assert_eq!(&body[..], &input[..length as usize]);
            prop_assert_eq!(&rest[..], &input[length as usize..]);
        }
    }
}
