//! Text from outside, made safe for where it is written: HTML, JSON, a log line, a link.
//!
//! In: any bytes. Out: ASCII or UTF-8 that cannot end the string, the element or the line it stands in. Each function
//! adds at most `room` bytes, where it takes one, and says by a mark that it left something out.

/// What stands at the end of text that was cut short.
pub const MARK: &str = "...";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Adds text to HTML, as content or inside a quoted attribute.
pub fn html(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\'' => out.extend_from_slice(b"&#39;"),
            c => push(out, c),
        }
    }
}

/// Adds text to a JSON string, without the quotes. Bytes that are not UTF-8 become the characters U+0080 to U+00FF;
/// control characters are escaped, also those above U+007F and those that turn the direction of writing, so that a
/// terminal that shows the line is not steered by it.
pub fn json(out: &mut Vec<u8>, text: &[u8], room: usize) {
    let limit = out.len() + room;
    // Almost all text is plain: it is copied at once.
    if text.len() <= room && text.iter().all(|&b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let before = out.len();
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                c if c.is_control() || steers(c) => unit(out, c as u32),
                c => push(out, c),
            }
            if cut(out, before, limit) {
                return;
            }
        }
        for &byte in chunk.invalid() {
            let before = out.len();
            unit(out, u32::from(byte));
            if cut(out, before, limit) {
                return;
            }
        }
    }
}

/// Adds text to a line of a combined log: quotes, backslashes and all that is not printable ASCII become `\xHH`.
pub fn log(out: &mut Vec<u8>, text: &[u8], room: usize) {
    let limit = out.len() + room;
    for &byte in text {
        let before = out.len();
        match byte {
            b'"' | b'\\' | ..0x20 | 0x7f.. => {
                out.extend_from_slice(b"\\x");
                hex(out, byte);
            }
            _ => out.push(byte),
        }
        if cut(out, before, limit) {
            return;
        }
    }
}

/// Adds one segment of a path to a link: what is not unreserved (RFC 3986 section 2.3) becomes `%HH`.
pub fn segment(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => {
                out.push(b'%');
                hex(out, byte);
            }
        }
    }
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 15)]);
}

/// All that need this are below U+10000.
fn unit(out: &mut Vec<u8>, code: u32) {
    out.extend_from_slice(b"\\u");
    hex(out, (code >> 8) as u8);
    hex(out, code as u8);
}

/// Marks, overrides and isolates of writing direction, and the line separators that JavaScript takes for new lines.
fn steers(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether what was added since `before` goes beyond the limit; then it is taken back and the mark put there.
fn cut(out: &mut Vec<u8>, before: usize, limit: usize) -> bool {
    // The mark needs room too, and which character is the last one is not known here: it is given up with little left.
    if out.len() + MARK.len() <= limit {
        return false;
    }
    out.truncate(before);
    out.extend_from_slice(MARK.as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_place_has_its_own_spelling() {
        let text = "a\"<b>\\\n&'\u{7f}é";
        assert_eq!(made(|out| html(out, text)), "a&quot;&lt;b&gt;\\\n&amp;&#39;\u{7f}é");
        assert_eq!(made(|out| json(out, text.as_bytes(), 100)), "a\\\"<b>\\\\\\n&'\\u007fé");
        assert_eq!(made(|out| log(out, text.as_bytes(), 100)), "a\\x22<b>\\x5c\\x0a&'\\x7f\\xc3\\xa9");
        assert_eq!(made(|out| segment(out, b"a b/%\xff")), "a%20b%2f%25%ff");
        assert_eq!(made(|out| json(out, b"\xff\xc3\xa9\xc2\x9b", 100)), "\\u00ffé\\u009b");
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        assert_eq!(made(|out| json(out, b"0123456789", 10)), "0123456789");
        assert_eq!(made(|out| json(out, b"0123456789a", 10)), "0123456...");
        assert_eq!(made(|out| log(out, b"0123456789a", 10)), "0123456...");
    }

    proptest! {
        #[test]
        fn json_gives_the_text_back_and_keeps_to_its_room(text: String, room in 3usize..64) {
            let whole = made(|out| json(out, text.as_bytes(), usize::MAX / 2));
            prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{whole}\"")).unwrap(), text.clone());
            let part = made(|out| json(out, text.as_bytes(), room));
            prop_assert!(part.len() <= room);
            let quoted = format!("\"{part}\"");
            prop_assert!(serde_json::from_str::<String>(&quoted).is_ok());
        }

        #[test]
        fn a_log_line_stays_one_quoted_line(text: Vec<u8>, room in 3usize..64) {
            let line = made(|out| log(out, &text, room));
            prop_assert!(line.len() <= room);
            prop_assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"'));
        }

        #[test]
        fn any_bytes_become_valid_json(text: Vec<u8>) {
            let line = made(|out| json(out, &text, usize::MAX / 2));
            let quoted = format!("\"{line}\"");
            prop_assert!(serde_json::from_str::<String>(&quoted).is_ok());
            prop_assert!(!line.contains('\n'));
        }
    }
}
