//! Which of several kept responses answers a request (RFC 9111 section 4.1).
//!
//! In: what a response said it varies by. Out: a text that is the same for requests that it answers alike.

use crate::http::fields::is_token;
use crate::http::head::cookies;
use crate::http::{Fields, name};

/// The names in `Vary`, in lower case, sorted, each once. `None` for `*`, which no request matches, and for what is no name: it may
/// be meant for anything.
pub fn names(response: &Fields) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for member in response.members(name::VARY) {
        if member == b"*" || !is_token(member) {
            return None;
        }
        names.push(String::from_utf8_lossy(member).to_ascii_lowercase());
    }
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// What a request says in these fields, so that two that mean the same give the same (section 4.1).
pub fn selecting(request: &Fields, names: &[String]) -> Vec<u8> {
    let mut key = Vec::new();
    for field in names {
        key.extend_from_slice(field.as_bytes());
        if let Some(cookie) = field.strip_prefix(COOKIE) {
            cookie_value(request, cookie, &mut key);
            key.push(b'\n');
            continue;
        }
        // An absent field is not an empty one.
        key.push(if request.contains(field.as_str()) { b'=' } else { b'-' });
        let sorted = is_unordered(field);
        let mut members: Vec<Vec<u8>> = request.members(field.as_str()).map(|member| normal(field, member)).collect();
        if sorted {
            members.sort_unstable();
            members.dedup();
        }
        for member in members {
            key.extend_from_slice(&member);
            key.push(b',');
        }
        key.push(b'\n');
    }
    key
}

/// A name that begins so means one cookie. No field's name has a colon.
pub const COOKIE: &str = "cookie:";

fn cookie_value(request: &Fields, wanted: &str, key: &mut Vec<u8>) {
    // All of that name: some origins take the first, some the last.
    let mut is_there = false;
    for value in cookies(request, wanted) {
        is_there = true;
        key.push(b'=');
        key.extend_from_slice(value);
        key.push(b';');
    }
    if !is_there {
        key.push(b'-');
    }
}

/// Fields whose members mean the same in any order, as each has its own weight.
fn is_unordered(field: &str) -> bool {
    matches!(field, "accept" | "accept-charset" | "accept-encoding" | "accept-language")
}

/// White space around what separates has no meaning, nor has case in codings and languages.
fn normal(field: &str, member: &[u8]) -> Vec<u8> {
    let plain = is_unordered(field);
    let mut out = Vec::with_capacity(member.len());
    let mut quoted = false;
    for &byte in member {
        match byte {
            b'"' => quoted = !quoted,
            b' ' | b'\t' if plain && !quoted => continue,
            _ => {}
        }
        out.push(if plain && !quoted { byte.to_ascii_lowercase() } else { byte });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    #[test]
    fn names_are_a_set() {
        let of = |lines: &[&str]| names(&fields(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>()));
        assert_eq!(of(&["Foo, bar", "bar"]), Some(vec!["bar".to_owned(), "foo".to_owned()]));
        assert_eq!(of(&[]), Some(Vec::new()));
        assert_eq!(of(&["a", " * "]), None);
        assert_eq!(of(&["accept-language cookie"]), None);
    }

    #[test]
    fn one_cookie_selects_apart_from_the_others() {
        let key = |cookies: &str| selecting(&fields(&[("cookie", cookies)]), &["cookie:b".to_owned()]);
        assert_eq!(key("a=1; b=2; c=3"), key("b=2"));
        assert!(key("b=2") != key("b=3") && key("a=1") != key("b="));
        assert!(key("b=2; b=3") != key("b=2") && key("b=2; b=3") != key("b=3") && key("b =3") == key("b=3"));
    }

    #[test]
    fn requests_that_mean_the_same_select_the_same() {
        let key = |list: &[(&str, &str)]| selecting(&fields(list), &["accept-language".to_owned(), "foo".to_owned()]);
        let same = |one: &[(&str, &str)], other: &[(&str, &str)]| key(one) == key(other);
        assert!(same(&[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(same(&[("foo", "1,2")], &[("foo", "1 ,  2")]));
        assert!(!same(&[("foo", "1, 2")], &[("foo", "2, 1")]));
        assert!(!same(&[("foo", "a")], &[("foo", "A")]));
        assert!(!same(&[("foo", "")], &[]));
        assert!(same(&[("accept-language", "en; q=0.5, DE")], &[("accept-language", "de,en;q=0.5")]));
        assert!(!same(&[("accept-language", "en;q=0.6, de")], &[("accept-language", "de,en;q=0.5")]));
    }

    proptest! {
        /// What comes from the wire is taken; a request selects what it selects however its fields are told.
        #[test]
        fn lines_are_a_list_and_what_is_not_named_does_not_count(
            by in "[a-c, *]{0,12}", members in prop::collection::vec("[ -~]{0,12}", 0..5), any: Vec<u8>,
        ) {
            let Some(names) = names(&fields(&[("vary", &*by)])) else {
                prop_assert!(by.split(',').map(str::trim).any(|member| member == "*" || member.contains(' ')));
                return Ok(());
            };
            prop_assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
            let lines: Vec<(&str, &str)> = members.iter().map(|member| ("a", member.trim())).collect();
            let key = selecting(&fields(&lines), &names);
            let mut more = fields(&lines);
            if more.append("unnamed", &any).is_ok() {
                prop_assert_eq!(selecting(&more, &names), key.clone());
            }
            // Where no quote is open at the end of a line.
            if !lines.is_empty() && members.iter().all(|member| !member.contains('"')) {
                let joined = members.iter().map(|member| member.trim()).collect::<Vec<_>>().join(", ");
                prop_assert_eq!(selecting(&fields(&[("a", &*joined)]), &names), key);
            }
        }
    }
}
