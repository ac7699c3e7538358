//! Where a plugin comes from, as it is written.
//!
//! In: one text. Out: the source, or in a few words what it should look like. Pure; nothing is opened or fetched.

use std::fmt;

use super::model::{OciReference, OciVersion, PluginSource};
use super::problem::{excerpt, nearest};
use super::value;

/// What stands before the colon of a source that is no file.
const SCHEMES: [&str; 3] = ["builtin", "https", "oci"];

/// The longest text that is taken for an address.
const LENGTH: usize = 2048;

/// The source that is not a file; `None` when the text is the path of one.
pub(super) fn elsewhere(text: &str) -> Result<Option<PluginSource>, String> {
    if let Some(name) = text.strip_prefix("builtin:") {
        return built_in(name).map(Some);
    }
    if text.starts_with("https://") {
        return https(text).map(Some);
    }
    if let Some(reference) = text.strip_prefix("oci://") {
        return oci(reference).map(|reference| Some(PluginSource::Oci(reference)));
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('/'));
    let Some(scheme) = scheme.filter(|scheme| text.contains("://") || nearest(scheme, SCHEMES).is_some()) else {
        return Ok(None);
    };
    let hint = match scheme {
        "http" => "; over http anyone on the way could change it",
        "file" => "; write the path alone",
        _ => "",
    };
    Err(format!(
        "takes the path of a file, \"builtin:NAME\", \"https://…\" or \"oci://REGISTRY/REPOSITORY:TAG\", not {:?}{hint}",
        excerpt(text)
    ))
}

/// 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], String> {
    digest(text).ok_or_else(|| {
        let hint = match text.strip_prefix("sha256:").map(digest) {
            Some(Some(_)) => "; write it without \"sha256:\"",
            _ => "",
        };
        format!("takes 64 hexadecimal digits, not {:?}{hint}", excerpt(text))
    })
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(digest)
}

fn built_in(name: &str) -> Result<PluginSource, String> {
    let right =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    right
        .then(|| PluginSource::BuiltIn(name.to_owned()))
        .ok_or_else(|| format!("takes a name behind \"builtin:\", not {:?}", excerpt(name)))
}

fn https(text: &str) -> Result<PluginSource, String> {
    let wrong =
        || format!("takes an address such as \"https://plugins.example/fastest.wasm\", not {:?}", excerpt(text));
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    // Who fetches it has no use for a user or a fragment, and a password in a configuration is one in its logs.
    let right = uri.authority().is_some_and(|authority| value::authority(authority.as_str()).is_ok());
    if !right || text.contains('#') || text.len() > LENGTH {
        return Err(wrong());
    }
    Ok(PluginSource::Https(text.to_owned()))
}

/// By the distribution specification of the OCI: `registry/repository:tag` or `registry/repository@sha256:digest`.
fn oci(reference: &str) -> Result<OciReference, String> {
    let wrong = |what: &str| {
        let example = "\"oci://registry.example/plugins/fastest:1.2\"";
        format!("{what}; takes {example}, or \"@sha256:…\" in place of the tag")
    };
    let (registry, path) = reference.split_once('/').ok_or_else(|| wrong("names no repository"))?;
    value::authority(registry).map_err(|_| wrong(&format!("{:?} is no registry", excerpt(registry))))?;
    let (repository, version) = match path.split_once('@') {
        Some((repository, written)) => {
            let digest = written.strip_prefix("sha256:").and_then(digest);
            let digest = digest.ok_or_else(|| wrong(&format!("{:?} is no digest", excerpt(written))))?;
            (repository, OciVersion::Digest(digest))
        }
        None => {
            let (repository, tag) = path.rsplit_once(':').ok_or_else(|| wrong("names no tag"))?;
            if !is_tag(tag) {
                return Err(wrong(&format!("{:?} is no tag", excerpt(tag))));
            }
            (repository, OciVersion::Tag(tag.to_owned()))
        }
    };
    if repository.len() > 255 || !repository.split('/').all(is_component) {
        return Err(wrong(&format!("{:?} is no repository", excerpt(repository))));
    }
    Ok(OciReference { registry: registry.to_owned(), repository: repository.to_owned(), version })
}

/// As it is written.
impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        match &self.version {
            OciVersion::Tag(tag) => write!(f, ":{tag}"),
            OciVersion::Digest(digest) => {
                f.write_str("@sha256:")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let between = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
        && text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00ff0000000000000000000000000000000000000000000000000000000000aB";

    #[test]
    fn sources_are_told_apart() {
        for path in ["plugins/a.wasm", "/a.wasm", "./b:c.wasm", "a:b.wasm", "https.wasm", "../oci:/x"] {
            assert_eq!(elsewhere(path), Ok(None), "{path}");
        }
        assert_eq!(elsewhere("builtin:p2c-zones"), Ok(Some(PluginSource::BuiltIn("p2c-zones".into()))));
        let address = "https://plugins.example:8443/a.wasm?version=1";
        assert_eq!(elsewhere(address), Ok(Some(PluginSource::Https(address.into()))));
    }

    #[test]
    fn registries_are_read() {
        let read = |text: &str| match elsewhere(text) {
            Ok(Some(PluginSource::Oci(read))) => read,
            other => panic!("{text}: {other:?}"),
        };
        let reference = |version| OciReference {
            registry: "registry.example:5000".into(),
            repository: "a/b-c__d.e".into(),
            version,
        };
        let tag = read("oci://registry.example:5000/a/b-c__d.e:v1.2-rc_1");
        assert_eq!(tag, reference(OciVersion::Tag("v1.2-rc_1".into())));
        for text in ["oci://registry.example:5000/a/b:v1", &format!("oci://r.example/a@sha256:{}", HEX.to_lowercase())]
        {
            assert_eq!(read(text).to_string(), text);
        }
        let digest = read(&format!("oci://registry.example:5000/a/b-c__d.e@sha256:{HEX}"));
        assert_eq!(digest, reference(OciVersion::Digest(sha256(HEX).unwrap())));
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for (text, expected) in [
            ("http://a.example/a.wasm", "could change it"),
            ("file:///a.wasm", "write the path alone"),
            ("ftp://a.example/a", "takes the path of a file"),
            ("built-in:a", "\"builtin:NAME\""),
            ("oci:registry.example/a:1", "\"oci://REGISTRY"),
            ("builtin:", "takes a name"),
            ("builtin:a b", "takes a name"),
            ("https://", "takes an address"),
            ("https://user:secret@a.example/a.wasm", "takes an address"),
            ("https://a.example/a.wasm#b", "takes an address"),
            ("https://a.example/a b", "takes an address"),
            ("https://a.example:0/", "takes an address"),
            ("oci://registry.example", "names no repository"),
            ("oci:///a:1", "is no registry"),
            ("oci://registry.example/a", "names no tag"),
            ("oci://registry.example/a:", "\"\" is no tag"),
            ("oci://registry.example/a:-1", "is no tag"),
            ("oci://registry.example/A:1", "\"A\" is no repository"),
            ("oci://registry.example/a//b:1", "is no repository"),
            ("oci://registry.example/a___b:1", "is no repository"),
            ("oci://registry.example/a@sha256:12", "is no digest"),
            ("oci://registry.example/a@md5:12", "is no digest"),
        ] {
            let said = elsewhere(text).expect_err(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn digests_have_64_digits() {
        let read = sha256(HEX).unwrap();
        assert_eq!((read[0], read[1], read[31]), (0, 0xff, 0xab));
        assert!(sha256(&format!("sha256:{HEX}")).unwrap_err().contains("without \"sha256:\""));
        for wrong in ["", "ab", &HEX[1..], &format!("{HEX}0"), &HEX.replace('B', "g"), &HEX.replace("ff", "é")] {
            assert!(sha256(wrong).is_err(), "{wrong}");
        }
    }
}
