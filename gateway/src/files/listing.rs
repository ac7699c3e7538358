//! A folder's content as a small page or as JSON: folders first, then files, each by name.
//!
//! Names that are never served are not listed, nor are links that lead nowhere or out of the root. The JSON is that of nginx's
//! `autoindex_format json`. Limit: [`MOST`] names; the page says when there are more.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use super::root::Root;
use crate::escape;

/// As many names are listed.
const MOST: usize = 10_000;
/// A name has at most 255 bytes, of which none becomes more than six.
const NAME_ROOM: usize = 2048;

/// What is in a folder.
#[derive(Debug)]
pub(super) struct List {
    /// Where it is below the root.
    path: String,
    names: Vec<Listed>,
    more: bool,
}

#[derive(Debug)]
struct Listed {
    name: String,
    is_file: bool,
    size: u64,
    /// In seconds.
    modified: u64,
}

/// Lists `folder`, which is open and has this path below the root. Blocks.
pub(super) fn list(root: &Root<'_>, folder: &File, path: &str) -> io::Result<List> {
    let mut list = List { path: path.to_owned(), names: Vec::new(), more: false };
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        // What is not UTF-8 cannot be asked for either.
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.starts_with('.') || name.contains(|c: char| c == '\\' || c.is_ascii_control()) {
            continue;
        }
        if list.names.len() == MOST {
            list.more = true;
            break;
        }
        list.names.extend(listed(root, folder, path, name));
    }
    // By folders and names, in any case of letters.
    list.names.sort_by_cached_key(|listed| (listed.is_file, listed.name.to_lowercase(), listed.name.clone()));
    Ok(list)
}

/// `None` for what could not be asked for, and what has gone in the meantime.
fn listed(root: &Root<'_>, folder: &File, path: &str, name: &str) -> Option<Listed> {
    use rustix::fs::{AtFlags, FileType, statat};
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let (is_file, size, modified) = match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => {
            let target = root.get(&format!("{path}/{name}")).ok()?.metadata;
            let modified = target.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            if !target.is_file() && !target.is_dir() {
                return None;
            }
            (target.is_file(), target.len(), modified.as_secs())
        }
        kind @ (FileType::RegularFile | FileType::Directory) => {
            let modified = u64::try_from(found.st_mtime).unwrap_or_default();
            (kind == FileType::RegularFile, u64::try_from(found.st_size).unwrap_or_default(), modified)
        }
        _ => return None,
    };
    Some(Listed { name: name.to_owned(), is_file, size, modified })
}

impl List {
    /// For people.
    pub(super) fn html(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(768 + self.names.len() * 192);
        let title = |out: &mut Vec<u8>| {
            escape::html(out, &self.path);
            out.push(b'/');
        };
        out.extend_from_slice(
            b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
              <meta name=\"viewport\" content=\"width=device-width\">\n<title>",
        );
        title(&mut out);
        out.extend_from_slice(
            b"</title>\n<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:56rem;margin:3rem auto;padding:0 1rem}\
              h1{font-size:1.25rem}td+td{padding-left:2rem;color:#666;white-space:nowrap}\
              td:last-child{text-align:right}</style>\n<h1>",
        );
        title(&mut out);
        out.extend_from_slice(b"</h1>\n<table>\n");
        if !self.path.is_empty() {
            out.extend_from_slice(b"<tr><td><a href=\"../\">../</a><td><td>\n");
        }
        for listed in &self.names {
            let slash = if listed.is_file { "" } else { "/" };
            // The leading dot keeps a name with a colon from being a scheme.
            out.extend_from_slice(b"<tr><td><a href=\"./");
            escape::segment(&mut out, listed.name.as_bytes());
            // A name may turn the direction of writing, but only its own.
            let _ = write!(out, "{slash}\"><bdi>");
            escape::html(&mut out, &listed.name);
            let _ = write!(out, "</bdi>{slash}</a><td>{}<td>", listed.date());
            if listed.is_file {
                let _ = write!(out, "{}", listed.size);
            }
            out.push(b'\n');
        }
        out.extend_from_slice(b"</table>\n");
        if self.more {
            out.extend_from_slice(b"<p>There are more.</p>\n");
        }
        out
    }

    /// For programs.
    pub(super) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.names.len() * 128);
        out.push(b'[');
        for (number, listed) in self.names.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\n{{\"name\":\"");
            escape::json(&mut out, listed.name.as_bytes(), NAME_ROOM);
            let kind = if listed.is_file { "file" } else { "directory" };
            let _ = write!(out, "\",\"type\":\"{kind}\",\"mtime\":\"{}\"", listed.date());
            if listed.is_file {
                let _ = write!(out, ",\"size\":{}", listed.size);
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"\n]\n");
        out
    }
}

impl Listed {
    fn date(&self) -> httpdate::HttpDate {
        // The last second of the year 9999, beyond which no date can be written.
        (UNIX_EPOCH + Duration::from_secs(self.modified.min(253_402_300_799))).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::root::Wait;

    #[test]
    fn names_are_escaped_and_sorted_and_links_lead_somewhere() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a:<i>&\"", ".hidden", "C\u{202e}"] {
            std::fs::write(folder.path().join(name), "12345").unwrap();
        }
        std::fs::create_dir_all(folder.path().join("z/y")).unwrap();
        for (target, name) in [("/etc", "out"), ("nowhere", "lost"), ("../b", "z/y/far"), ("../../b", "z/y/kept")] {
            std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        }
        std::fs::File::options()
            .write(true)
            .open(folder.path().join("b"))
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(784_111_777))
            .unwrap();
        let root = Root::open(folder.path(), Wait::Yes).unwrap();
        let listed = list(&root, &root.get("").unwrap().file, "").unwrap();
        let page = String::from_utf8(listed.html()).unwrap();
        let z = page.find("<a href=\"./z/\"><bdi>z</bdi>/</a><td>").unwrap();
        let a = page.find("<a href=\"./a%3a%3ci%3e%26%22\"><bdi>a:&lt;i&gt;&amp;&quot;</bdi></a><td>").unwrap();
        let b = page.find("<a href=\"./b\"><bdi>b</bdi></a><td>Sun, 06 Nov 1994 08:49:37 GMT<td>5\n").unwrap();
        let c = page.find("<a href=\"./C%e2%80%ae\">").unwrap();
        assert!(z < a && a < b && b < c);
        assert!(!page.contains("hidden") && !page.contains("out") && !page.contains("lost") && !page.contains("../"));

        let json: serde_json::Value = serde_json::from_slice(&listed.json()).unwrap();
        let names: Vec<&str> = json.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["z", "a:<i>&\"", "b", "C\u{202e}"]);
        assert_eq!((json[0]["type"].as_str(), json[0]["size"].as_u64()), (Some("directory"), None));
        let b = &json[2];
        assert_eq!((b["type"].as_str(), b["size"].as_u64()), (Some("file"), Some(5)));
        assert_eq!(b["mtime"].as_str(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));

        let below = list(&root, &root.get("/z/y").unwrap().file, "/z/y").unwrap();
        let page = String::from_utf8(below.html()).unwrap();
        assert!(page.contains("<title>/z/y/</title>") && page.contains("href=\"../\"") && page.contains("./kept"));
        assert!(!page.contains("far"));
        assert_eq!(List { names: Vec::new(), ..below }.json(), b"[\n]\n");
    }
}
