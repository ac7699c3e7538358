//! Which media types a client likes (RFC 9110 section 12.5.1).
//!
//! Pure. In: the `Accept` of a request. Out: how much a type is liked, and by how precise a range. A weight that is none counts as
//! none.

use super::fields::{Fields, name};

/// How much a type is liked, and by how precise a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Liked {
    /// In thousandths; 0: not at all, or nothing is said.
    pub quality: u16,
    precision: u8,
}

impl Liked {
    /// Takes one range of [`ranges`] in: of several that cover the type the most precise one says how much it is liked. `family`
    /// is the type's own, such as `text/*`; it may be empty.
    pub fn consider(&mut self, (range, quality): (&[u8], u16), whole: &[u8], family: &[u8]) {
        let precision = if range.eq_ignore_ascii_case(whole) {
            3
        } else if !family.is_empty() && range.eq_ignore_ascii_case(family) {
            2
        } else if range == b"*/*" {
            1
        } else {
            return;
        };
        if (precision, quality) > (self.precision, self.quality) {
            (self.precision, self.quality) = (precision, quality);
        }
    }

    /// Whether the type itself stands there.
    pub fn is_named(&self) -> bool {
        self.precision == 3
    }
}

/// The media ranges and their weights in thousandths.
pub fn ranges(request: &Fields) -> impl Iterator<Item = (&[u8], u16)> {
    request.members(name::ACCEPT).map(|member| {
        let mut parts = member.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let range = parts.next().unwrap_or_default();
        let is_weight = |part: &[u8]| matches!(part, [b'q' | b'Q', b'=', ..]);
        let weight = parts.find_map(|part| is_weight(part).then(|| quality(part.get(2..)?))?);
        (range, weight.unwrap_or(1000))
    })
}

/// In thousandths (RFC 9110 section 12.4.2); nothing for what is no quality.
fn quality(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut value = u16::from(whole - b'0') * 1000;
    for (digit, weight) in fraction.iter().zip([100, 10, 1]) {
        value += u16::from(char::from(*digit).to_digit(10)? as u8) * weight;
    }
    Some(value.min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities_are_thousandths() {
        assert_eq!(quality(b"1"), Some(1000));
        assert_eq!(quality(b"0.25"), Some(250));
        assert_eq!(quality(b"1.9"), Some(1000));
        assert_eq!((quality(b"2"), quality(b"0.1234"), quality(b"0.x"), quality(b"")), (None, None, None, None));
    }

    #[test]
    fn the_most_precise_range_says_how_much_a_type_is_liked() {
        let mut fields = Fields::new();
        fields
            .append(name::ACCEPT, b"*/*;q=0.1, text/*;q=0.2, TEXT/html;level=1;q=0.3, text/html;q=nonsense;x")
            .unwrap();
        let mut liked = (Liked::default(), Liked::default(), Liked::default());
        for range in ranges(&fields) {
            liked.0.consider(range, b"text/html", b"text/*");
            liked.1.consider(range, b"text/plain", b"text/*");
            liked.2.consider(range, b"image/png", b"");
        }
        assert_eq!((liked.0.quality, liked.1.quality, liked.2.quality), (1000, 200, 100));
        assert!(liked.0.is_named() && !liked.1.is_named() && !liked.2.is_named());
    }
}
