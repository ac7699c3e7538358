//! Which files a cache rule is for.
//!
//! Pure. In: a pattern of the configuration and the path of a file below its folder. Out: whether it fits. A pattern with a slash is a
//! whole path, one without is a name in any folder. `*` is any text within a name, `**` any text, `{hash}` a part that looks like a
//! hash. The work is bounded by the product of both lengths.

/// A pattern that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    parts: Vec<Part>,
    whole_path: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    /// `*`
    Name,
    /// `**`
    Any,
    /// `{hash}`
    Hash,
}

/// The lengths of what may be a hash.
const HASH: std::ops::RangeInclusive<usize> = 8..=64;

impl Pattern {
    /// Reads a pattern. Whatever is no sign stands for itself.
    pub fn new(text: &str) -> Pattern {
        let whole_path = text.contains('/');
        let mut parts = Vec::new();
        if whole_path && !text.starts_with('/') {
            parts.push(Part::Text("/".into()));
        }
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (part, after) = if let Some(after) = rest.strip_prefix("**") {
                (Part::Any, after)
            } else if let Some(after) = rest.strip_prefix('*') {
                (Part::Name, after)
            } else if let Some(after) = rest.strip_prefix("{hash}") {
                (Part::Hash, after)
            } else {
                let end = rest.get(first.len_utf8()..).and_then(|rest| rest.find(['*', '{']));
                let (text, after) = rest.split_at(end.map_or(rest.len(), |end| end + first.len_utf8()));
                (Part::Text(text.to_owned()), after)
            };
            parts.push(part);
            rest = after;
        }
        Pattern { parts, whole_path }
    }

    /// Whether it fits a path that begins with a slash.
    pub fn fits(&self, path: &str) -> bool {
        let subject = if self.whole_path { path } else { path.rsplit('/').next().unwrap_or_default() };
        let subject = subject.as_bytes();
        // Where the parts so far can end.
        let mut ends = vec![false; subject.len() + 1];
        if let Some(start) = ends.first_mut() {
            *start = true;
        }
        for part in &self.parts {
            ends = part.ends(subject, &ends);
        }
        ends.last() == Some(&true)
    }
}

impl Part {
    fn ends(&self, subject: &[u8], starts: &[bool]) -> Vec<bool> {
        let mut ends = vec![false; starts.len()];
        let mut mark = |at: usize| ends.get_mut(at).map(|end| *end = true);
        let started = starts.iter().enumerate().filter(|(_, is_start)| **is_start).map(|(at, _)| at);
        match self {
            Part::Text(text) => started
                .filter(|at| subject.get(*at..).is_some_and(|rest| rest.starts_with(text.as_bytes())))
                .for_each(|at| _ = mark(at + text.len())),
            Part::Hash => {
                for at in started {
                    let rest = subject.get(at..).unwrap_or_default();
                    let lengths = HASH.take_while(|length| *length <= rest.len());
                    lengths.filter(|length| is_hash(rest.get(..*length).unwrap_or_default())).for_each(|length| {
                        mark(at + length);
                    });
                }
            }
            Part::Name | Part::Any => {
                let mut open = false;
                for (at, is_start) in starts.iter().enumerate() {
                    open =
                        *is_start || (open && (*self == Part::Any || subject.get(at.wrapping_sub(1)) != Some(&b'/')));
                    if open {
                        mark(at);
                    }
                }
            }
        }
        ends
    }
}

/// Whether a text looks like the hash that a build puts into a name: hexadecimal; eight of base 32; or letters and digits whose kind
/// and case change at least three times. Words with a number behind them, dates and camera names are none.
fn is_hash(text: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let all = |kind: fn(&u8) -> bool| text.iter().all(kind);
    if !HASH.contains(&text.len()) || !all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        return false;
    }
    let is_hexadecimal =
        has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) && all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_base32 = text.len() == 8
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    let kind = |b: u8| (b.is_ascii_digit(), b.is_ascii_uppercase());
    let changes = text.windows(2).filter(|pair| matches!(pair, [a, b] if kind(*a) != kind(*b))).count();
    is_hexadecimal || is_base32 || changes >= 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_paths_are_matched() {
        let rows = [
            ("*.html", "/index.html", true),
            ("*.html", "/a/b.html", true),
            ("*.html", "/a.html/b", false),
            ("index.*", "/index.html", true),
            ("*", "/a/b", true),
            ("", "/a", false),
            ("/*.html", "/a.html", true),
            ("/*.html", "/a/b.html", false),
            ("/**.html", "/a/b.html", true),
            ("assets/**", "/assets/a/b.js", true),
            ("/assets/**", "/assets/", true),
            ("/assets/**", "/x/assets/a", false),
            ("/assets/*", "/assets/a/b", false),
            ("/**/*.js", "/a/b/c.js", true),
            ("a*b*c", "/abbbc", true),
            ("a*b*c", "/abbb", false),
            ("é*", "/été", true),
            ("t*", "/été", false),
            ("ét*", "/été", true),
            ("{x}", "/{x}", true),
        ];
        for (pattern, path, fits) in rows {
            assert_eq!(Pattern::new(pattern).fits(path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn hashes_are_told_from_words() {
        for name in [
            "/app.3f2a9c1b.js",
            "/app-3f2a9c1b.js",
            "/index-DlqT6ekJ.js",
            "/chunk-QW3LPXTB.js",
            "/main.0f9c2d4e5b6a70819f3d.chunk.js",
            "/application-908e25f4bf641868d8683022a5b62f54908e25f4bf641868d8683022a5b62f54.css",
        ] {
            let patterns = [Pattern::new("*-{hash}.*"), Pattern::new("*.{hash}.*")];
            assert!(patterns.iter().any(|pattern| pattern.fits(name)), "{name}");
        }
        for name in [
            "/app.js",
            "/jquery-ui-timepicker.js",
            "/report-20240101.pdf",
            "/holiday-Picture2.jpg",
            "/holiday-DSC01234.jpg",
            "/jquery-3.7.1.min.js",
            "/a-DlqT6ek.js",
            "/a-backpack.js",
            "/x-DlqT6ekJ/a.js",
        ] {
            assert!(!Pattern::new("*-{hash}.*").fits(name), "{name}");
        }
    }

    /// The obvious way, by trying everything.
    fn slowly(parts: &[Part], subject: &str) -> bool {
        let Some((first, rest)) = parts.split_first() else { return subject.is_empty() };
        let cuts = (0..=subject.len()).filter(|at| subject.is_char_boundary(*at)).map(|at| subject.split_at(at));
        cuts.into_iter().any(|(taken, left)| {
            let fits = match first {
                Part::Text(text) => taken == text,
                Part::Name => !taken.contains('/'),
                Part::Any => true,
                Part::Hash => is_hash(taken.as_bytes()),
            };
            fits && slowly(rest, left)
        })
    }

    proptest! {
        #[test]
        fn it_fits_what_trying_everything_fits(
            pattern in "(a|/|\\*|\\*\\*|\\{hash\\}|b){0,5}",
            path in "/(a|b|/|1f2e3d4c|AbC1dE2f){0,5}",
        ) {
            let pattern = Pattern::new(&pattern);
            let subject = if pattern.whole_path { &*path } else { path.rsplit('/').next().unwrap() };
            prop_assert_eq!(pattern.fits(&path), slowly(&pattern.parts, subject));
        }

        #[test]
        fn any_text_is_taken_without_panic(pattern: String, path: String) {
            let _ = Pattern::new(&pattern).fits(&path);
        }
    }
}
