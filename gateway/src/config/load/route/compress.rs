//! `[route.compress]`: which responses are compressed, and how.

use super::{At, Either, Reader, file, value};
use crate::config::file::Size;
use crate::config::model::{Compress, Levels, MediaRange};
use crate::config::problem::excerpt;
use crate::http::encoding::Coding;
use crate::http::fields::is_token;

impl Reader<'_, '_> {
    pub(super) fn compress(&mut self, at: &At<Either<bool, file::Compress>>) -> Option<Compress> {
        let table = match &at.value {
            Either::Short(false) => return None,
            Either::Short(true) => return Some(usual()),
            Either::Long(table) => table,
        };
        let mut compress = usual();
        if let Some(types) = &table.types {
            compress.types = self.texts(&types.value, media_range);
        }
        if let Some(least) = &table.at_least {
            let bytes = match &least.value {
                Size::Bytes(bytes) => Some(*bytes),
                Size::Text(text) => self.read(&least.span, value::size(text)),
            };
            compress.at_least = bytes.unwrap_or_default();
        }
        if let Some(encodings) = &table.encodings {
            compress.encodings.clear();
            for encoding in &encodings.value {
                let coding = Coding::from(encoding.value);
                if compress.encodings.contains(&coding) {
                    self.report.at(&encoding.span, "stands in this list already");
                }
                compress.encodings.push(coding);
            }
        }
        if let Some(level) = &table.level {
            compress.levels = levels([level.gzip, level.br, level.zstd, level.deflate], Levels::DEFAULT);
        }
        if let Some(level) = &table.cached_level {
            compress.cached_levels = levels([level.gzip, level.br, level.zstd, level.deflate], Levels::CACHED);
        }
        Some(compress)
    }
}

fn usual() -> Compress {
    Compress {
        types: Compress::TYPES.into_iter().map(MediaRange::new).collect(),
        at_least: Compress::AT_LEAST,
        encodings: Compress::ENCODINGS.to_vec(),
        levels: Levels::DEFAULT,
        cached_levels: Levels::CACHED,
    }
}

/// Those that are given, in the order of the keys, and the usual ones.
fn levels([gzip, br, zstd, deflate]: [Option<u8>; 4], usual: Levels) -> Levels {
    Levels {
        gzip: gzip.unwrap_or(usual.gzip),
        br: br.unwrap_or(usual.br),
        zstd: zstd.unwrap_or(usual.zstd),
        deflate: deflate.unwrap_or(usual.deflate),
    }
}

/// `"text/css"`, `"text/*"`, `"*+json"`.
fn media_range(text: &str) -> Result<MediaRange, String> {
    let is_name = |text: &str| is_token(text.as_bytes()) && !text.contains('*');
    let right = match text.split_once('/') {
        Some((kind, "*")) => is_name(kind),
        Some((kind, rest)) => is_name(kind) && is_name(rest),
        None => text.strip_prefix("*+").is_some_and(is_name),
    };
    if !right {
        let wrong = excerpt(text);
        return Err(format!("takes a media type such as \"text/css\", \"text/*\" or \"*+json\", not {wrong:?}"));
    }
    Ok(MediaRange::new(&text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_whole_or_have_a_star_at_one_end() {
        for (text, like, unlike) in [
            ("text/css", "text/CSS", "text/css2"),
            ("Text/*", "text/plain", "text/event-stream"),
            ("Text/*", "TEXT/x", "texts/x"),
            ("*+json", "application/problem+JSON", "application/json"),
            ("text/event-stream", "text/event-stream", "text/plain"),
        ] {
            let range = media_range(text).unwrap();
            assert!(range.holds(like.as_bytes()) && !range.holds(unlike.as_bytes()), "{text}");
        }
        for wrong in ["", "*", "*/*", "text", "text/", "/css", "text/*+xml", "+json", "*json", "a/b/c", "text/css; q=1"]
        {
            assert!(media_range(wrong).is_err(), "{wrong}");
        }
        assert!(Compress::TYPES.iter().all(|text| media_range(text).is_ok()));
    }
}
