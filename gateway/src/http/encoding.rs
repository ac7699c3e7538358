//! Content codings: which of them a client takes, which one it is to get, and which a response has (RFC 9110 sections 8.4 and
//! 12.5.3).
//!
//! Pure. In: fields. Out: a choice. A member that cannot be read counts as not said; one that is said twice counts with the lower
//! weight. What nobody can be given as it wants, it is given as it is: a client that refuses even `identity` and takes
//! nothing that there is has no use for an error either (section 12.4.1 leaves both open).

use super::fields::{Fields, name, trim};

/// A content coding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with windows of at most 8 MiB (RFC 9659).
    Zstd,
    /// RFC 1950; some senders mean RFC 1951 by it.
    Deflate,
}

/// What a request says in `Accept-Encoding`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accepted {
    /// By [`Coding`], in thousandths.
    weights: [Option<u16>; Coding::ALL.len()],
    /// `*`
    others: Option<u16>,
    identity: Option<u16>,
    /// Whether there is such a field at all; it may be empty.
    is_said: bool,
}

/// How the content of a response is coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coded {
    /// Not at all.
    Plain,
    /// So.
    Once(Coding),
    /// In a way that is not known here, or in several.
    Otherwise,
}

impl Coding {
    /// All of them.
    pub const ALL: [Coding; 4] = [Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Deflate];

    /// As it stands in fields.
    pub fn text(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Deflate => "deflate",
        }
    }

    /// By its name, in any case. RFC 9110 section 8.4.1.3: `x-gzip` is `gzip`.
    pub fn named(token: &[u8]) -> Option<Coding> {
        let token = if token.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { token };
        Coding::ALL.into_iter().find(|coding| token.eq_ignore_ascii_case(coding.text().as_bytes()))
    }
}

impl Accepted {
    /// What these fields of a request say, in one line or several.
    pub fn of(request: &Fields) -> Accepted {
        let mut accepted = Accepted { is_said: request.contains(name::ACCEPT_ENCODING), ..Accepted::default() };
        for member in request.members(name::ACCEPT_ENCODING) {
            let Some((token, weight)) = weighted(member) else { continue };
            let place = match Coding::named(token) {
                Some(coding) => accepted.weights.get_mut(coding as usize),
                None if token == b"*" => Some(&mut accepted.others),
                None if token.eq_ignore_ascii_case(b"identity") => Some(&mut accepted.identity),
                None => None,
            };
            if let Some(place) = place {
                *place = Some(place.map_or(weight, |known| known.min(weight)));
            }
        }
        accepted
    }

    /// Whether a response that is coded so can be passed on. A client that says nothing takes everything (section 12.5.3).
    pub fn takes(&self, coding: Coding) -> bool {
        !self.is_said || self.weight(coding) > 0
    }

    /// The best of what is offered, which stands in our order of preference; `None`: as it is, for the client would rather have
    /// that, takes nothing else, or says nothing, as clients do that cannot decode. `identity` comes last unless it is named.
    pub fn choose(&self, offered: &[Coding]) -> Option<Coding> {
        let mut best: Option<(u16, Coding)> = None;
        for &coding in offered {
            let weight = self.weight(coding);
            if weight > best.map_or(0, |(best, _)| best) {
                best = Some((weight, coding));
            }
        }
        best.filter(|(weight, _)| self.identity.is_none_or(|identity| *weight >= identity)).map(|(_, coding)| coding)
    }

    /// In thousandths; 0: not wanted, or not said.
    fn weight(&self, coding: Coding) -> u16 {
        self.weights.get(coding as usize).copied().flatten().or(self.others).unwrap_or(0)
    }
}

/// How a response is coded.
pub fn coded(response: &Fields) -> Coded {
    let mut codings =
        response.members(name::CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let Some(coding) = codings.next() else { return Coded::Plain };
    match (Coding::named(coding), codings.next()) {
        (Some(coding), None) => Coded::Once(coding),
        _ => Coded::Otherwise,
    }
}

/// A member of a weighted list; `None` for what is none. Parameters other than the weight mean nothing here.
fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = member.split(|&byte| byte == b';').map(trim);
    let token = parts.next()?;
    let mut weight = None;
    for part in parts {
        if let [b'q' | b'Q', b'=', value @ ..] = part {
            // Twice is once too often.
            if weight.replace(quality(value)?).is_some() {
                return None;
            }
        }
    }
    Some((token, weight.unwrap_or(1000)))
}

/// RFC 9110 section 12.4.2, in thousandths: `0` or `1`, with up to three digits behind the point.
fn quality(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0') * 1000;
    for (digit, worth) in digits.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * worth;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use Coding::{Brotli, Deflate, Gzip, Zstd};

    fn accepted(lines: &[&str]) -> Accepted {
        let mut fields = Fields::new();
        lines.iter().for_each(|line| fields.append(name::ACCEPT_ENCODING, line.as_bytes()).unwrap());
        Accepted::of(&fields)
    }

    const OURS: &[Coding] = &[Zstd, Brotli, Gzip];

    #[test]
    fn the_best_of_what_both_know_is_chosen() {
        for (lines, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["GZip;Q=0.5"], Some(Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "br"], Some(Brotli)),
            (&["gzip;q=1.0, br;q=0.9"], Some(Gzip)),
            (&["gzip;q=0.001, br;q=0.000"], Some(Gzip)),
            (&["*"], Some(Zstd)),
            (&["*;q=0.1, zstd;q=0"], Some(Brotli)),
            (&["gzip;q=0.5, *;q=0.4"], Some(Gzip)),
            (&["gzip;q=0.5, *;q=0"], Some(Gzip)),
            (&["*;q=0"], None),
            (&["identity"], None),
            (&["identity;q=0"], None),
            (&["identity, gzip"], Some(Gzip)),
            (&["identity;q=0.5, gzip;q=0.4"], None),
            (&["identity;q=0, gzip;q=0.4"], Some(Gzip)),
            (&["gzip;q=0, gzip"], None),
            (&["deflate, compress, exi, pack200-gzip"], None),
        ] {
            assert_eq!(accepted(lines).choose(OURS), expected, "{lines:?}");
        }
        assert_eq!(accepted(&["br, gzip"]).choose(&[Gzip, Brotli]), Some(Gzip), "in our order");
        assert_eq!(accepted(&["br, gzip"]).choose(&[]), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_said() {
        for member in [
            "gzip;q=",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=.5",
            "gzip;q=-1",
            "gzip;q=0,5",
            "gzip;q=1;q=1",
            "gzip;q=0.x",
            "gz ip",
            "\"gzip\"",
            "gzip=1",
            ";q=1",
        ] {
            assert_eq!(accepted(&[member]).choose(OURS), None, "{member}");
        }
        assert_eq!(accepted(&["gzip;q=x, br"]).choose(OURS), Some(Brotli));
        assert_eq!(accepted(&[" ,, gzip ; q=0.3 ;a=b ,"]).choose(OURS), Some(Gzip));
    }

    #[test]
    fn clients_that_say_nothing_take_what_there_is() {
        assert!(accepted(&[]).takes(Brotli));
        assert!(!accepted(&[""]).takes(Brotli));
        assert!(!accepted(&["gzip"]).takes(Brotli));
        assert!(accepted(&["gzip"]).takes(Gzip));
        assert!(accepted(&["*"]).takes(Deflate));
        assert!(!accepted(&["br;q=0, *"]).takes(Brotli));
    }

    #[test]
    fn how_a_response_is_coded_is_read() {
        for (lines, expected) in [
            (&[][..], Coded::Plain),
            (&["identity"], Coded::Plain),
            (&[""], Coded::Plain),
            (&["X-GZIP"], Coded::Once(Gzip)),
            (&["identity, br"], Coded::Once(Brotli)),
            (&["gzip, br"], Coded::Otherwise),
            (&["gzip", "gzip"], Coded::Otherwise),
            (&["aes128gcm"], Coded::Otherwise),
        ] {
            let mut fields = Fields::new();
            lines.iter().for_each(|line| fields.append(name::CONTENT_ENCODING, line.as_bytes()).unwrap());
            assert_eq!(coded(&fields), expected, "{lines:?}");
        }
    }

    /// The same, slowly: every sentence of section 12.5.3 by itself.
    fn reference(said: &[(String, u16)], offered: &[Coding]) -> Option<Coding> {
        let lowest = |name: &str| said.iter().filter(|(token, _)| token == name).map(|(_, weight)| *weight).min();
        let mut candidates: Vec<(u16, Option<Coding>)> = Vec::new();
        for &coding in offered {
            let weight = lowest(coding.text()).or(lowest("*")).unwrap_or(0);
            if weight > 0 {
                candidates.push((weight, Some(coding)));
            }
        }
        candidates.push((lowest("identity").unwrap_or(0), None));
        let best = candidates.iter().map(|(weight, _)| *weight).max()?;
        candidates.into_iter().find(|(weight, _)| *weight == best)?.1
    }

    proptest! {
        #[test]
        fn choices_are_those_of_the_reference(
            said in proptest::collection::vec((
                prop::sample::select(vec!["gzip", "br", "zstd", "deflate", "*", "identity", "compress"]),
                prop_oneof![Just(0u16), Just(1000), 0u16..=1000],
            ), 0..6),
            offered in proptest::sample::subsequence(vec![Zstd, Brotli, Gzip, Deflate], 0..=4).prop_shuffle(),
            lines in 1usize..3,
        ) {
            let said: Vec<(String, u16)> = said.into_iter().map(|(token, weight)| (token.to_owned(), weight)).collect();
            let members: Vec<String> =
                said.iter().map(|(token, weight)| format!("{token};q={}.{:03}", weight / 1000, weight % 1000)).collect();
            let lines: Vec<String> = members.chunks(lines).map(|line| line.join(", ")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(accepted(&lines).choose(&offered), reference(&said, &offered));
        }

        #[test]
        fn nothing_that_a_client_sends_is_too_much(line in "[ -~]{0,60}") {
            let told = accepted(&[&line]);
            if let Some(coding) = told.choose(OURS) {
                prop_assert!(told.takes(coding));
            }
        }
    }
}
