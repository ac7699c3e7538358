//! Questions and answers of DNS as bytes (RFC 1035 section 4).
//!
//! Pure. In: a name and a type, or what a server sent. Out: the bytes of a question, or the records of an answer. Names are followed
//! over [`JUMPS`] pointers at the most, which only lead backwards; whatever does not fit is an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Pointers in one name.
const JUMPS: usize = 64;
/// Letters of a name, dots included.
const NAME: usize = 255;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Data {
    Address(IpAddr),
    Alias(String),
    Service { priority: u16, weight: u16, port: u16, target: String },
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// In lower case.
    pub(super) name: String,
    /// Seconds.
    pub(super) ttl: u32,
    pub(super) data: Data,
}

/// What a server answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    /// There is more than fits.
    pub(super) cut: bool,
    /// 0: well; 3: no such name.
    pub(super) code: u8,
    /// Those of the answer and, for targets of services, of what comes with it.
    pub(super) records: Vec<Record>,
    /// How long "there is none" holds, when it is said.
    pub(super) none_ttl: Option<u32>,
}

/// A question; `None` when the name cannot be asked for.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Recursion desired; one question, and one record of EDNS.
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() > 12 + NAME {
        return None;
    }
    bytes.extend_from_slice(&[0, kind as u8, 0, 1]);
    // RFC 6891: answers of up to 1232 bytes, which no network cuts into pieces.
    bytes.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    Some(bytes)
}

/// The answer to that question; an error when it is none.
pub(super) fn reply(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Result<Reply, &'static str> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.word()? != id {
        return Err("it answers another question");
    }
    let flags = reader.word()?;
    let mut counts = [0; 4];
    for count in &mut counts {
        *count = reader.word()?;
    }
    let [questions, answers, authorities, additionals] = counts;
    if flags & 0x8000 == 0 || questions != 1 {
        return Err("it is no answer");
    }
    let asked = reader.name()?;
    if asked != name.trim_end_matches('.').to_ascii_lowercase() || reader.word()? != kind as u16 || reader.word()? != 1
    {
        return Err("it answers another question");
    }
    let (cut, code) = (flags & 0x0200 != 0, (flags & 15) as u8);
    let mut reply = Reply { cut, code, records: Vec::new(), none_ttl: None };
    // What was cut is asked for again.
    if cut {
        return Ok(reply);
    }
    for at in 0..u32::from(answers) + u32::from(authorities) + u32::from(additionals) {
        let authority = (u32::from(answers)..u32::from(answers) + u32::from(authorities)).contains(&at);
        if let Some(record) = reader.record(authority, &mut reply.none_ttl)?
            && !authority
        {
            reply.records.push(record);
        }
    }
    Ok(reply)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

const SHORT: &str = "it ends in the middle";

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let taken = self.bytes.get(self.at..self.at + count).ok_or(SHORT)?;
        self.at += count;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u16, &'static str> {
        let bytes = self.take(2)?.try_into().map_err(|_| SHORT)?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn long(&mut self) -> Result<u32, &'static str> {
        let bytes = self.take(4)?.try_into().map_err(|_| SHORT)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// In lower case, without a dot at the end.
    fn name(&mut self) -> Result<String, &'static str> {
        let mut name = String::new();
        let mut at = self.at;
        let mut end = None;
        for _ in 0..JUMPS + NAME {
            let length = usize::from(*self.bytes.get(at).ok_or(SHORT)?);
            match length >> 6 {
                0 if length == 0 => {
                    self.at = end.unwrap_or(at + 1);
                    return Ok(name);
                }
                0 => {
                    let label = self.bytes.get(at + 1..at + 1 + length).ok_or(SHORT)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                    if name.len() > NAME {
                        return Err("a name is too long");
                    }
                    at += 1 + length;
                }
                3 => {
                    let low = usize::from(*self.bytes.get(at + 1).ok_or(SHORT)?);
                    let to = (length & 63) << 8 | low;
                    if to >= at {
                        return Err("a name leads forward");
                    }
                    end.get_or_insert(at + 2);
                    at = to;
                }
                _ => return Err("a name is none"),
            }
        }
        Err("a name is too long")
    }

    /// `None` for what is not wanted.
    fn record(&mut self, authority: bool, none_ttl: &mut Option<u32>) -> Result<Option<Record>, &'static str> {
        let name = self.name()?;
        let (kind, class, ttl) = (self.word()?, self.word()?, self.long()?);
        let length = usize::from(self.word()?);
        let start = self.at;
        self.take(length)?;
        let next = self.at;
        self.at = start;
        let data = match (kind, class) {
            (1, 1) => {
                let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| SHORT)?;
                Some(Data::Address(Ipv4Addr::from(bytes).into()))
            }
            (28, 1) => {
                let bytes: [u8; 16] = self.take(16)?.try_into().map_err(|_| SHORT)?;
                Some(Data::Address(Ipv6Addr::from(bytes).into()))
            }
            (5, 1) => Some(Data::Alias(self.name()?)),
            (33, 1) => {
                let (priority, weight, port) = (self.word()?, self.word()?, self.word()?);
                Some(Data::Service { priority, weight, port, target: self.name()? })
            }
            (6, 1) if authority => {
                // RFC 2308 section 5: the smaller of the record's own time and its last number.
                self.name()?;
                self.name()?;
                self.take(16)?;
                *none_ttl = Some(self.long()?.min(ttl));
                None
            }
            _ => {
                self.at = next;
                None
            }
        };
        if self.at != next {
            return Err("a record has another length than it says");
        }
        // RFC 2181 section 8: a time with the first bit set is none.
        let ttl = if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl };
        Ok(data.map(|data| Record { name, ttl, data }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer with one service and an address for its target, names pointing back.
    fn answer() -> Vec<u8> {
        let mut bytes = question(7, "_api._tcp.x", Kind::Srv).unwrap();
        bytes.truncate(bytes.len() - 11);
        bytes[2] = 0x81;
        bytes[7] = 1;
        bytes[11] = 1;
        // The name of the question, SRV, IN, 30 s, 10 bytes: priority 1, weight 2, port 80, "b.x" by a pointer to "x".
        bytes.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 30, 0, 10, 0, 1, 0, 2, 0, 80, 1, b'B', 0xc0, 22]);
        let target = bytes.len() as u8 - 4;
        bytes.extend_from_slice(&[0xc0, target, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
        bytes
    }

    #[test]
    fn services_and_their_addresses_are_read() {
        let reply = reply(&answer(), 7, "_API._tcp.x.", Kind::Srv).unwrap();
        let service = Data::Service { priority: 1, weight: 2, port: 80, target: "b.x".into() };
        let address = Data::Address([10, 0, 0, 1].into());
        assert_eq!(
            reply.records,
            [
                Record { name: "_api._tcp.x".into(), ttl: 30, data: service },
                Record { name: "b.x".into(), ttl: 9, data: address },
            ]
        );
        assert_eq!((reply.cut, reply.code), (false, 0));
    }

    #[test]
    fn what_was_not_asked_is_no_answer() {
        assert!(reply(&answer(), 8, "_api._tcp.x", Kind::Srv).is_err());
        assert!(reply(&answer(), 7, "_api._tcp.y", Kind::Srv).is_err());
        assert!(reply(&answer(), 7, "_api._tcp.x", Kind::A).is_err());
        let question = question(7, "_api._tcp.x", Kind::Srv).unwrap();
        assert!(reply(&question, 7, "_api._tcp.x", Kind::Srv).is_err());
        for end in 0..answer().len() {
            assert!(reply(&answer()[..end], 7, "_api._tcp.x", Kind::Srv).is_err(), "{end}");
        }
    }

    #[test]
    fn names_that_cannot_be_asked_for_are_told() {
        let long = "a".repeat(64);
        let many = "a.".repeat(200);
        for name in ["", "a..b", &long, &many] {
            assert!(question(1, name, Kind::A).is_none(), "{name}");
        }
    }

    #[test]
    fn a_name_that_leads_to_itself_is_an_error() {
        let mut bytes = answer();
        let at = question(7, "_api._tcp.x", Kind::Srv).unwrap().len() - 11;
        bytes[at + 1] = at as u8;
        assert!(reply(&bytes, 7, "_api._tcp.x", Kind::Srv).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(change in proptest::collection::vec((0usize..80, any::<u8>()), 0..6), end in 0usize..80) {
            let mut bytes = answer();
            for (at, byte) in change {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            bytes.truncate(end.max(12));
            let _ = reply(&bytes, 7, "_api._tcp.x", Kind::Srv);
        }
    }
}
