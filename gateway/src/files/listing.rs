//! A folder's content as a small page: folders first, then files, each by name.
//!
//! Names that are never served are not listed, nor are links that lead nowhere or out of the root. Limit: [`MOST`] names; the page says when there are more.

use std::io::{self, Write};
use std::path::Path;

use crate::escape;

/// As many names are listed.
const MOST: usize = 10_000;

/// Lists `folder`, which lies below `root`; both without symbolic links. Blocks.
pub(super) fn list(root: &Path, folder: &Path) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    let mut more = false;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What is not UTF-8 cannot be asked for either.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || name.contains(|c: char| c == '\\' || c.is_ascii_control()) {
            continue;
        }
        if names.len() == MOST {
            more = true;
            break;
        }
        if entry.file_type()?.is_symlink() && !entry.path().canonicalize().is_ok_and(|real| real.starts_with(root)) {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        names.push((!metadata.is_dir(), name, metadata.len()));
    }
    names.sort();
    Ok(page(&names, more))
}

fn page(names: &[(bool, String, u64)], more: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + names.len() * 96);
    out.extend_from_slice(
        b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
          <title>Folder</title>\n<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}\
          td+td{text-align:right;padding-left:2rem;color:#666}</style>\n<table>\n<tr><td><a href=\"../\">../</a><td>\n",
    );
    for (is_file, name, size) in names {
        let slash = if *is_file { "" } else { "/" };
        // The leading dot keeps a name with a colon from being a scheme.
        out.extend_from_slice(b"<tr><td><a href=\"./");
        escape::segment(&mut out, name.as_bytes());
        let _ = write!(out, "{slash}\">");
        escape::html(&mut out, name);
        let _ = write!(out, "{slash}</a><td>");
        if *is_file {
            let _ = write!(out, "{size}");
        }
        out.push(b'\n');
    }
    out.extend_from_slice(b"</table>\n");
    if more {
        out.extend_from_slice(b"<p>There are more.</p>\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_sorted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a:<i>&\"", ".hidden"] {
            std::fs::write(folder.path().join(name), "12345").unwrap();
        }
        std::fs::create_dir(folder.path().join("z")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("out")).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let page = String::from_utf8(list(&root, &root).unwrap()).unwrap();
        let z = page.find("<a href=\"./z/\">z/</a><td>\n").unwrap();
        let a = page.find("<a href=\"./a%3a%3ci%3e%26%22\">a:&lt;i&gt;&amp;&quot;</a><td>5\n").unwrap();
        let b = page.find("<a href=\"./b\">b</a><td>5\n").unwrap();
        assert!(z < a && a < b);
        assert!(!page.contains("hidden") && !page.contains("out"));
    }
}
