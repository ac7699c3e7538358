//! `static = …`: a folder to serve.

use super::super::{At, Either, Reader, file};
use crate::config::model::{CacheRule, Candidate, Named, Sibling, Static};
use crate::http::fields::is_value;

impl Reader<'_, '_> {
    pub(super) fn folder(&mut self, at: &At<Either<String, file::Static>>) -> Option<Static> {
        let table = match &at.value {
            Either::Short(root) => {
                let root = self.path(root, &at.span)?;
                self.named.push(Named::Folder(root.clone()));
                return Some(Static::plain(root));
            }
            Either::Long(table) => table,
        };
        let root = self.path(&table.root.value, &table.root.span);
        let mut folder = Static::plain(root.clone().unwrap_or_default());
        folder.index = match table.index.as_ref().map(|at| (&at.value, &at.span)) {
            None => folder.index,
            Some((Either::Short(one), span)) => self.read(span, name(one)).into_iter().collect(),
            // An empty list: no file answers for its folder.
            Some((Either::Long(names), _)) => self.texts(names, name),
        };
        if let Some(candidates) = &table.try_files {
            folder.candidates = self.texts(&candidates.value, candidate);
        }
        if let Some(fallback) = &table.fallback {
            let fixed = self.text(fallback, fixed);
            let candidate = |before| Candidate { before, takes_path: false, ..Candidate::path() };
            folder.candidates.extend(fixed.map(candidate));
        }
        folder.listing = table.listing.unwrap_or(false);
        folder.precompressed = match table.precompressed.as_ref().map(|at| (&at.value, &at.span)) {
            None | Some((Either::Short(false), _)) => Vec::new(),
            Some((Either::Short(true), _)) => Sibling::ALL.to_vec(),
            Some((Either::Long(siblings), span)) => {
                let twice = siblings.iter().enumerate().any(|(at, one)| siblings.iter().take(at).any(|two| one == two));
                if twice {
                    self.report.at(span, "names one twice");
                }
                siblings.clone()
            }
        };
        folder.cache_control = match table.cache_control.as_ref().map(|at| (&at.value, &at.span)) {
            None => Vec::new(),
            Some((Either::Short(value), span)) => {
                let value = self.read(span, field_value(value));
                value.map(|value| CacheRule { files: Vec::new(), value }).into_iter().collect()
            }
            Some((Either::Long(rules), _)) => rules.iter().filter_map(|rule| self.cache_rule(&rule.value)).collect(),
        };
        for (written, page) in table.error_pages.iter().flatten() {
            let status = written.parse().ok().filter(|status| Static::STATUSES.contains(status));
            let Some(status) = self.read(&page.span, status.ok_or_else(|| why_no_status(written))) else { continue };
            folder.error_pages.extend(self.text(page, fixed).map(|page| (status, page)));
        }
        for (extension, kind) in table.types.iter().flatten() {
            let extension = self.read(&kind.span, self::extension(extension));
            let kind = self.text(kind, |kind| {
                let right = kind.contains('/') && is_value(kind.as_bytes());
                right.then(|| kind.to_owned()).ok_or("takes a media type such as \"text/html; charset=utf-8\"".into())
            });
            folder.types.extend(extension.zip(kind));
        }
        self.named.push(Named::Folder(root?));
        Some(folder)
    }

    fn cache_rule(&mut self, rule: &file::CacheRule) -> Option<CacheRule> {
        let files = self.strings(rule.files.as_ref(), pattern);
        let value = self.text(&rule.value, field_value)?;
        Some(CacheRule { files, value })
    }
}

fn why_no_status(written: &str) -> String {
    let statuses = Static::STATUSES.map(|status| status.as_str().to_owned()).join(", ");
    format!("{written:?} is no error that a folder can have, which are {statuses}")
}

/// One name, without a way.
fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("takes the name of a file, such as \"index.html\"".into()),
    }
}

fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

/// The path of one file below the folder.
fn fixed(text: &str) -> Result<String, String> {
    let names = text.strip_prefix('/');
    let right = names.is_some_and(|names| names.split('/').all(is_name)) && !text.contains(['{', '}']);
    right.then(|| text.to_owned()).ok_or("takes the path of a file in the folder, such as \"/index.html\"".into())
}

/// A path with or without `{path}`.
fn candidate(text: &str) -> Result<Candidate, String> {
    const FORM: &str =
        "takes \"{path}\", a path made with it such as \"{path}.html\", or the path of a file such as \"/index.html\"";
    if text.starts_with('=') {
        return Err("is not needed: what is not found is 404".into());
    }
    if text.contains('$') {
        return Err(format!("{FORM}; it knows no variables"));
    }
    let Some((before, after)) = text.split_once("{path}") else {
        let before = fixed(text).map_err(|_| FORM.to_owned())?;
        return Ok(Candidate { before, takes_path: false, ..Candidate::path() });
    };
    if before.is_empty() && after == "/" {
        return Err("is not needed: \"{path}\" finds folders too".into());
    }
    // The path begins with a slash, and so does the whole.
    let whole = format!("{before}/x{after}");
    fixed(&whole).map_err(|_| FORM.to_owned())?;
    Ok(Candidate { before: before.to_owned(), after: after.to_owned(), takes_path: true })
}

/// A pattern of names or paths.
fn pattern(text: &str) -> Result<String, String> {
    let plain = text.replace("{hash}", "");
    match plain.contains(['{', '}', '\\', '?', '[']) || text.is_empty() || text.chars().any(char::is_control) {
        true => {
            Err("takes a name such as \"*.css\" or a path such as \"/assets/**\", with \"*\", \"**\" and \"{hash}\""
                .into())
        }
        false => Ok(text.to_owned()),
    }
}

fn field_value(text: &str) -> Result<String, String> {
    let right = !text.is_empty() && text.trim() == text && is_value(text.as_bytes());
    right.then(|| text.to_owned()).ok_or("takes the value of a header, such as \"no-cache\"".into())
}

fn extension(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('.').unwrap_or(text);
    match !bare.is_empty() && bare.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '.' | '/' | '\\')) {
        true => Ok(bare.to_ascii_lowercase()),
        false => Err(format!("{text:?} is no extension such as \"md\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_candidate_is_a_path_below_the_folder() {
        let read = |text: &str| candidate(text).map(|read| (read.before, read.takes_path, read.after));
        let row = |before: &str, takes_path, after: &str| Ok((before.to_owned(), takes_path, after.to_owned()));
        assert_eq!(read("{path}"), row("", true, ""));
        assert_eq!(read("{path}.html"), row("", true, ".html"));
        assert_eq!(read("{path}/index.htm"), row("", true, "/index.htm"));
        assert_eq!(read("/old{path}"), row("/old", true, ""));
        assert_eq!(read("/index.html"), row("/index.html", false, ""));
        for wrong in [
            "",
            "/",
            "x",
            "x{path}",
            "/../x",
            "{path}/../x",
            "/{path}",
            "{path}{path}",
            "/a/",
            "{name}",
            "/a//b",
            "$uri",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for needless in ["=404", "{path}/"] {
            assert!(read(needless).unwrap_err().contains("not needed"), "{needless}");
        }
    }

    #[test]
    fn statuses_are_those_that_a_folder_can_have() {
        assert!(why_no_status("502").contains("400, 403, 404, 405, 500"));
        assert_eq!(Static::STATUSES.first(), Some(&StatusCode::BAD_REQUEST));
    }
}
