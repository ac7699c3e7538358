//! The PROXY protocol, versions 1 and 2: who the client of a connection is, told by a proxy before us or to one behind.
//!
//! In: the first bytes of a connection, as many as have come; or two addresses. Out: what the header says and how long
//! it is; or its bytes. Nothing behind the header is looked at. Limits: [`MAX_V1`] and [`MAX_V2`] bytes, so that a
//! caller who reads on while more is needed never holds more than that.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>; section numbers below are those of that document.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smallvec::SmallVec;

use crate::config::model::ProxyVersion;

/// The longest header of version 1, line end included (section 2.1).
pub const MAX_V1: usize = 107;
/// The longest header of version 2 that is taken. The format allows 64 KiB; addresses and the usual extensions fit many
/// times over.
pub const MAX_V2: usize = 4096 + FIXED;

/// What opens version 2 (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// The extension that holds a checksum of the header (section 2.2.3).
const CRC32C: u8 = 0x03;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The beginning of a header.
    NeedMore,
    /// A header.
    Header {
        /// The client; `None`: the connection speaks for itself (`LOCAL`, `UNKNOWN`, or a family without IP addresses).
        source: Option<SocketAddr>,
        /// Where the client connected to.
        destination: Option<SocketAddr>,
        /// How many bytes the header takes.
        consumed: usize,
    },
}

/// Why bytes that do not even begin like a header are none.
pub const NONE: &str = "the first bytes are something else";

/// The bytes are no PROXY header, for this reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed PROXY header: {0}")]
pub struct Malformed(pub &'static str);

/// A header's bytes.
pub type Header = SmallVec<[u8; MAX_V1 + 1]>;

/// Reads a header of either version.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if opens_with(bytes, SIGNATURE) {
        parse_v2(bytes)
    } else if opens_with(bytes, b"PROXY ") {
        parse_v1(bytes)
    } else {
        Err(Malformed(NONE))
    }
}

/// Whether the bytes begin with the text, or are the beginning of it.
fn opens_with(bytes: &[u8], text: &[u8]) -> bool {
    bytes.iter().zip(text).all(|(one, other)| one == other)
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let window = bytes.get(..MAX_V1).unwrap_or(bytes);
    let end = window.windows(2).position(|pair| pair == b"\r\n");
    // A CR at the end may be the first half of the line end.
    let line = end.map_or(window.strip_suffix(b"\r").unwrap_or(window), |end| window.get(..end).unwrap_or(window));
    if line.iter().any(|b| !b.is_ascii() || b.is_ascii_control()) {
        return Err(Malformed("forbidden character"));
    }
    let Some(end) = end else {
        return if window.len() == MAX_V1 { Err(Malformed("line is too long")) } else { Ok(Parsed::NeedMore) };
    };
    let line = std::str::from_utf8(line).map_err(|_| Malformed("forbidden character"))?;
    let mut words = line.split(' ').skip(1);
    let header = |source, destination| Ok(Parsed::Header { source, destination, consumed: end + 2 });
    let v4 = match words.next() {
        // Whatever follows is ignored.
        Some("UNKNOWN") => return header(None, None),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(Malformed("unknown family")),
    };
    let mut address = || {
        let word = words.next()?;
        if v4 { word.parse().ok().map(IpAddr::V4) } else { word.parse().ok().map(IpAddr::V6) }
    };
    let (source, destination) = address().zip(address()).ok_or(Malformed("bad address"))?;
    let mut port = || {
        let word = words.next()?;
        let plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse::<u16>().ok().filter(|_| plain)
    };
    let (source_port, destination_port) = port().zip(port()).ok_or(Malformed("bad port"))?;
    if words.next().is_some() {
        return Err(Malformed("too many words"));
    }
    header(Some(SocketAddr::new(source, source_port)), Some(SocketAddr::new(destination, destination_port)))
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    match bytes.get(12) {
        Some(0x20 | 0x21) | None => {}
        Some(command) if command >> 4 == 2 => return Err(Malformed("unknown command")),
        Some(_) => return Err(Malformed("unknown version")),
    }
    let Some(&[.., command, family, high, low]) = bytes.first_chunk::<FIXED>() else { return Ok(Parsed::NeedMore) };
    let consumed = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if consumed > MAX_V2 {
        return Err(Malformed("header is too long"));
    }
    let Some(header) = bytes.get(..consumed) else { return Ok(Parsed::NeedMore) };
    let rest = header.get(FIXED..).unwrap_or_default();
    let local = Parsed::Header { source: None, destination: None, consumed };
    if command == 0x20 {
        return Ok(local); // LOCAL: what follows is to be ignored (section 2.2).
    }
    let short = Malformed("addresses are cut short");
    let (source, destination, extensions) = match family {
        // TCP over IPv4 and IPv6; for all others the connection's own addresses stand.
        0x11 => {
            let (a, rest) = rest.split_first_chunk::<12>().ok_or(short)?;
            let [s0, s1, s2, s3, d0, d1, d2, d3, sp0, sp1, dp0, dp1] = *a;
            let address =
                |octets: [u8; 4], port| SocketAddr::new(Ipv4Addr::from(octets).into(), u16::from_be_bytes(port));
            (address([s0, s1, s2, s3], [sp0, sp1]), address([d0, d1, d2, d3], [dp0, dp1]), rest)
        }
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let (&[sp0, sp1, dp0, dp1], rest) = rest.split_first_chunk::<4>().ok_or(short)?;
            let address =
                |octets: [u8; 16], port| SocketAddr::new(Ipv6Addr::from(octets).into(), u16::from_be_bytes(port));
            (address(*source, [sp0, sp1]), address(*destination, [dp0, dp1]), rest)
        }
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Ok(local),
        _ => return Err(Malformed("unknown family")),
    };
    check_extensions(header, consumed - extensions.len())?;
    Ok(Parsed::Header { source: Some(source), destination: Some(destination), consumed })
}

/// Walks over the extensions, which begin at `at`, and checks the checksum if there is one. The others are ignored.
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    while at < header.len() {
        let cut = Malformed("extension is cut short");
        let (&[kind, high, low], rest) = header.get(at..).and_then(|rest| rest.split_first_chunk::<3>()).ok_or(cut)?;
        let value = rest.get(..usize::from(u16::from_be_bytes([high, low]))).ok_or(cut)?;
        at += 3;
        if kind == CRC32C {
            let sum = u32::from_be_bytes(*value.as_array::<4>().ok_or(Malformed("bad checksum"))?);
            // Computed over the whole header with zeroes in place of the checksum.
            let zeroed = header.iter().enumerate().map(|(n, &b)| if (at..at + 4).contains(&n) { 0 } else { b });
            if crc32c(zeroed) != sum {
                return Err(Malformed("bad checksum"));
            }
        }
        at += value.len();
    }
    Ok(())
}

/// CRC-32C (RFC 9260 appendix A), a bit at a time: headers are short and the extension is rare.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

/// The header that says who the client is. When only one of the addresses is IPv4, both are written as IPv6.
pub fn encode(version: ProxyVersion, source: SocketAddr, destination: SocketAddr) -> Header {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let mut out = Header::new();
    match version {
        ProxyVersion::V1 => {
            let line = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => format!("TCP4 {from} {to}"),
                _ => format!("TCP6 {} {}", wide(from), wide(to)),
            };
            out.extend_from_slice(format!("PROXY {line} {} {}\r\n", source.port(), destination.port()).as_bytes());
        }
        ProxyVersion::V2 => {
            out.extend_from_slice(SIGNATURE);
            match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    out.extend_from_slice(&[0x21, 0x11, 0, 12]);
                    out.extend_from_slice(&from.octets());
                    out.extend_from_slice(&to.octets());
                }
                _ => {
                    out.extend_from_slice(&[0x21, 0x21, 0, 36]);
                    out.extend_from_slice(&wide(from).octets());
                    out.extend_from_slice(&wide(to).octets());
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
    }
    out
}

/// The header of a connection that speaks for itself (`UNKNOWN`, `LOCAL`): a check of the server's health (section 2).
pub fn encode_own(version: ProxyVersion) -> Header {
    let mut out = Header::new();
    match version {
        ProxyVersion::V1 => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        ProxyVersion::V2 => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x20, 0, 0, 0]);
        }
    }
    out
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&[command, family]);
        out.extend_from_slice(&(rest.len() as u16).to_be_bytes());
        out.extend_from_slice(rest);
        out
    }

    /// The header of a connection that a proxy opens for itself, as a health check does.
    fn encode_local(version: ProxyVersion) -> Header {
        match version {
            ProxyVersion::V1 => Header::from_slice(b"PROXY UNKNOWN\r\n"),
            ProxyVersion::V2 => {
                let mut out = Header::from_slice(SIGNATURE);
                out.extend_from_slice(&[0x20, 0, 0, 0]);
                out
            }
        }
    }

    fn addresses(parsed: Result<Parsed, Malformed>) -> Option<(String, String)> {
        match parsed {
            Ok(Parsed::Header { source: Some(source), destination: Some(destination), .. }) => {
                Some((source.to_string(), destination.to_string()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_line_names_the_client_and_what_follows_is_left_alone() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\nGET / HTTP/1.1\r\n";
        let (source, destination) = ("192.0.2.1:1234".parse().ok(), "198.51.100.2:443".parse().ok());
        assert_eq!(parse(line), Ok(Parsed::Header { source, destination, consumed: 44 }));
        let line = b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
        assert_eq!(addresses(parse(line)), Some(("[2001:db8::1]:0".into(), "[::1]:65535".into())));
        let unknown = Parsed::Header { source: None, destination: None, consumed: 20 };
        assert_eq!(parse(b"PROXY UNKNOWN ff::\r\n"), Ok(unknown));
    }

    #[test]
    fn odd_lines_are_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4",
            "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 +5\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 01 5\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.1.1.1 ::1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\nGET / HTTP/1.1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r1",
            "PROXY UNKNOWN \t\r\n",
            "PROXY UNKNOWN \u{fc}\r\n",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line:?}");
        }
        assert!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat()).is_err());
        assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92]].concat()), Ok(Parsed::NeedMore));
    }

    #[test]
    fn binary_headers_without_ip_addresses_leave_the_connection_its_own() {
        for bytes in [
            v2(0x20, 0, b""),
            v2(0x20, 0x11, b"junk"),
            v2(0x21, 0, b"xyz"),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x12, &[0; 12]),
        ] {
            let consumed = bytes.len();
            assert_eq!(parse(&bytes), Ok(Parsed::Header { source: None, destination: None, consumed }));
        }
    }

    #[test]
    fn odd_binary_headers_are_refused() {
        for bytes in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x13, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x11, &[[0; 12].as_slice(), &[1, 0]].concat()),
            v2(0x21, 0x11, &[[0; 12].as_slice(), &[1, 0, 2, 7]].concat()),
            v2(0x21, 0x11, &[0; 4097]),
        ] {
            assert!(parse(&bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_checksum_must_fit() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        let body = [&[192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 1, 187][..], &[4, 0, 1, 9, CRC32C, 0, 4, 0, 0, 0, 0, 2, 0, 0]]
            .concat();
        let mut header = v2(0x21, 0x11, &body);
        let sum = crc32c(header.iter().copied());
        let at = header.len() - 7;
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(addresses(parse(&header)), Some(("192.0.2.1:80".into(), "192.0.2.2:443".into())));
        header[18] ^= 1;
        assert_eq!(parse(&header), Err(Malformed("bad checksum")));
    }

    #[test]
    fn mixed_families_are_written_as_ipv6() {
        let (v4, v6): (SocketAddr, SocketAddr) = ("192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:1".parse().unwrap();
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let written = addresses(parse(&encode(version, v4, v6)));
            assert_eq!(written, Some((mapped.to_string(), v6.to_string())));
            let written = addresses(parse(&encode(version, mapped, v4)));
            assert_eq!(written, Some((v4.to_string(), v4.to_string())));
            assert!(matches!(parse(&encode_local(version)), Ok(Parsed::Header { source: None, .. })));
        }
        let longest: SocketAddr = SocketAddr::new([0xffff; 8].into(), 65535);
        assert!(encode(ProxyVersion::V1, longest, longest).len() <= MAX_V1);
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u16; 8]>().prop_map(IpAddr::from)];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_each_part_of_it_needs_more(
            source in any_address(),
            destination in any_address(),
            binary in any::<bool>(),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let version = if binary { ProxyVersion::V2 } else { ProxyVersion::V1 };
            let mut bytes = encode(version, source, destination).to_vec();
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(parse(&bytes[..cut]), Ok(Parsed::NeedMore));
            }
            bytes.extend(behind);
            let Ok(Parsed::Header { source: Some(from), destination: Some(to), consumed }) = parse(&bytes) else {
                return Err(TestCaseError::fail("not read"));
            };
            prop_assert_eq!(consumed, length);
            prop_assert_eq!((from.ip().to_canonical(), from.port()), (source.ip().to_canonical(), source.port()));
            prop_assert_eq!((to.ip().to_canonical(), to.port()), (destination.ip().to_canonical(), destination.port()));
        }

        #[test]
        fn any_bytes_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "[ A-Z0-9.:\r\n]{0,120}",
        ) {
            let _ = parse(&bytes);
            let _ = parse(format!("PROXY {text}").as_bytes());
            let header = [SIGNATURE.as_slice(), &[0x21, 0x11, 0], &bytes].concat();
            if let Ok(Parsed::Header { consumed, .. }) = parse(&header) {
                prop_assert!(consumed <= header.len() && consumed <= MAX_V2);
            }
        }
    }
}
