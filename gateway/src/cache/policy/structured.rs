//! Dictionaries of structured fields (RFC 9651 section 3.2), as far as caching needs them.
//!
//! In: the lines of a field. Out: the last value of each key, or nothing when anything of it is malformed.

/// A member's value without its parameters.
#[derive(Clone, PartialEq, Debug)]
pub enum Bare {
    /// An integer.
    Integer(i64),
    /// A string.
    String(String),
    /// `?1`, `?0`, or a key alone.
    Boolean(bool),
    /// A value of a kind that no directive takes: decimals, tokens, bytes, dates, inner lists.
    Other,
}

/// Section 4.2.2.
pub fn dictionary<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(String, Bare)>> {
    // Section 4.2: lines are joined with a comma.
    let joined = lines.collect::<Vec<_>>().join(&b", "[..]);
    let mut rest = Rest(&joined);
    let mut members: Vec<(String, Bare)> = Vec::new();
    rest.skip(b" ");
    while !rest.0.is_empty() {
        let key = rest.key()?;
        let value = if rest.take(b'=') { rest.value()? } else { Bare::Boolean(true) };
        rest.parameters()?;
        members.retain(|(known, _)| *known != key);
        members.push((key, value));
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return Some(members);
        }
        if !rest.take(b',') {
            return None;
        }
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        found
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.run(|byte| bytes.contains(&byte));
    }

    /// As much as is of a kind.
    fn run(&mut self, kind: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !kind(byte)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at_checked(end).unwrap_or_default();
        self.0 = rest;
        run
    }

    fn key(&mut self) -> Option<String> {
        if !self.peek()?.is_ascii_lowercase() && self.peek() != Some(b'*') {
            return None;
        }
        let key = self.run(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte));
        String::from_utf8(key.to_vec()).ok()
    }

    /// An item or an inner list, without the parameters behind it.
    fn value(&mut self) -> Option<Bare> {
        if !self.take(b'(') {
            return self.bare();
        }
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(Bare::Other);
            }
            self.bare()?;
            self.parameters()?;
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare()?;
            }
        }
        Some(())
    }

    fn bare(&mut self) -> Option<Bare> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Bare::String),
            b'?' => {
                self.take(b'?');
                let yes = self.take(b'1');
                (yes || self.take(b'0')).then_some(Bare::Boolean(yes))
            }
            b':' => {
                self.take(b':');
                self.run(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.take(b':').then_some(Bare::Other)
            }
            b'@' => {
                self.take(b'@');
                matches!(self.number()?, Bare::Integer(_)).then_some(Bare::Other)
            }
            b'%' => {
                self.take(b'%');
                self.string().map(|_| Bare::Other)
            }
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                self.run(|byte| crate::http::fields::is_token(&[byte]) || b":/".contains(&byte));
                Some(Bare::Other)
            }
            _ => None,
        }
    }

    /// At most 15 digits; a decimal has at most 12 before its point and 1 to 3 behind.
    fn number(&mut self) -> Option<Bare> {
        let negative = self.take(b'-');
        let digits = self.run(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.take(b'.') {
            let behind = self.run(|byte| byte.is_ascii_digit()).len();
            return ((1..=3).contains(&behind) && digits.len() <= 12).then_some(Bare::Other);
        }
        let number = digits.iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some(Bare::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"').then_some(())?;
        let mut text = String::new();
        loop {
            let byte = self.peek()?;
            self.take(byte);
            match byte {
                b'"' => return Some(text),
                b'\\' => {
                    let escaped = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'))?;
                    self.take(escaped);
                    text.push(char::from(escaped));
                }
                b' '..=b'~' => text.push(char::from(byte)),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_values_of_kinds() {
        let read = |text: &str| dictionary([text.as_bytes()].into_iter());
        let one = |value: Bare| Some(vec![("a".to_owned(), value)]);
        for (text, value) in [
            ("a=1", Bare::Integer(1)),
            ("a=-15", Bare::Integer(-15)),
            ("a", Bare::Boolean(true)),
            ("a;b=1", Bare::Boolean(true)),
            ("a=?0", Bare::Boolean(false)),
            ("a=\"x\\\"y\"", Bare::String("x\"y".to_owned())),
            ("a=1.5", Bare::Other),
            ("a=tok/en", Bare::Other),
            ("a=:YWE=:", Bare::Other),
            ("a=(1 \"b\";c);d", Bare::Other),
            ("a=@17", Bare::Other),
            ("a=1, a=2", Bare::Integer(2)),
            ("  a=3", Bare::Integer(3)),
        ] {
            assert_eq!(read(text), one(value), "{text}");
        }
        for malformed in [
            "A=1",
            "a=",
            "a=1,",
            "a=1 b=2",
            "a=\"x",
            "a=1.",
            "a=1.2345",
            "a=(1",
            "a=?2",
            "a=1234567890123456",
            "a; =1",
            "=1",
        ] {
            assert_eq!(read(malformed), None, "{malformed}");
        }
        assert_eq!(read(""), Some(Vec::new()));
    }
}
