//! `[route.compress]`.

use super::*;
use crate::config::model::{Compress, Levels, MediaRange};
use crate::http::encoding::Coding;

#[test]
fn compression_is_checked() {
    let says = |value: &str, expected: &str| says(&format!("[[route]]\nrespond = \"a\"\ncompress = {value}"), expected);
    says("1", "takes true or false");
    says("{ types = [] }", "at least one");
    says("{ types = [\"text/css\", \"text\"] }", "route[0].compress.types[1]: takes a media type such as");
    says("{ encodings = [\"gzip\", \"bz2\"] }", "compress.encodings[1]: takes");
    says("{ encodings = [\"br\", \"br\"] }", "compress.encodings[1]: stands in this list already");
    says("{ at_least = \"1X\" }", "takes a size");
    says("{ level = { br = 9 } }", "compress.level.br: takes");
    says("{ level = { gzip = 0 } }", "compress.level.gzip: takes");
    says("{ levl = { gzip = 1 } }", "did you mean \"level\"");
    let read = |value: &str| {
        let text = format!("{LISTENER}\n[[route]]\nrespond = \"a\"\ncompress = {value}");
        read(&text).routes.remove(0).compress
    };
    assert_eq!(read("false"), None);
    assert_eq!(read("true"), read("{}"));
    let usual = read("true").unwrap();
    assert_eq!((usual.at_least, usual.levels, usual.types.len()), (1024, Levels::DEFAULT, Compress::TYPES.len()));
    assert_eq!(usual.cached_levels, Levels::CACHED);
    let own =
        read("{ types = [\"text/*\"], at_least = 7, encodings = [\"deflate\"], level = { deflate = 9 } }").unwrap();
    assert_eq!((own.at_least, own.types, own.encodings), (7, vec![MediaRange::new("text/*")], vec![Coding::Deflate]));
    assert_eq!(own.levels, Levels { deflate: 9, ..Levels::DEFAULT });
    let cached = read("{ cached_level = { br = 8 } }").unwrap();
    assert_eq!((cached.levels, cached.cached_levels), (Levels::DEFAULT, Levels { br: 8, ..Levels::CACHED }));
}
