//! Lists of names and values as they cross the boundary: for each pair the size of the name in 32 bits, the name, the size of
//! the value, the value. A list that is cut short ends where it is cut.

/// Adds a pair.
pub(crate) fn push(list: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        // What is larger than 4 GiB is no field.
        let size = u32::try_from(text.len()).unwrap_or(0);
        list.extend_from_slice(&size.to_le_bytes());
        list.extend_from_slice(text.get(..size as usize).unwrap_or_default());
    }
}

/// Pairs of names and values, in their order.
#[derive(Clone, Debug, Default)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    pub(crate) fn of(list: &'a [u8]) -> Pairs<'a> {
        Pairs { rest: list }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let (size, rest) = self.rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        let text = rest.get(..size)?;
        self.rest = rest.get(size..)?;
        Some(text)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, value) = (self.text()?, self.text()?);
            if let Ok(name) = str::from_utf8(name) {
                return Some((name, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_out_as_they_went_in() {
        let mut list = Vec::new();
        push(&mut list, b"a", b"");
        push(&mut list, b"\xff", b"no text");
        push(&mut list, b"content-type", b"text/plain");
        let pairs: Vec<_> = Pairs::of(&list).collect();
        assert_eq!(pairs, [("a", &b""[..]), ("content-type", b"text/plain")]);
        for end in 0..list.len() {
            assert!(Pairs::of(&list[..end]).count() < 2, "cut at {end}");
        }
        assert_eq!(Pairs::of(&[255; 9]).count(), 0);
    }
}
