//! What a registry says of an image: which of its parts is the module.
//!
//! Pure. In: a manifest or an index, as JSON from a stranger. Out: the digest of the next thing to ask for, or what is there
//! instead of a module. By the image specification of the OCI (and Docker's older one), and the artifact layout for Wasm.

use serde::Deserialize;

use crate::plugin::Digest;

/// The media types that manifests are asked for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest one that is read, as the distribution specification has it.
pub(super) const SIZE: u64 = 4 << 20;

/// Media types of layers that are modules.
const MODULES: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// Media types of the configurations that stand beside them.
const CONFIGS: [&str; 3] = [
    "application/vnd.wasm.config.v0+json",
    "application/vnd.wasm.config.v1+json",
    "application/vnd.module.wasm.config.v1+json",
];

/// What a manifest leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Another manifest.
    Manifest(Digest),
    /// The module.
    Module(Digest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    artifact_type: Option<String>,
    digest: String,
    size: Option<u64>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// Reads a manifest. The error says what is wrong, or what is there instead.
pub(super) fn read(bytes: &[u8], most: u64) -> Result<Next, String> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| format!("the manifest cannot be read: {error}"))?;
    match (document.layers, document.manifests) {
        // What is both means one thing to us and another to whoever looked at it before.
        (Some(_), Some(_)) => Err("the manifest has layers and manifests, and can be only one of both".to_owned()),
        (Some(layers), None) => module(&layers, document.config.as_ref(), most),
        (None, Some(manifests)) => entry(&manifests),
        (None, None) => Err("the manifest has neither layers nor manifests".to_owned()),
    }
}

fn module(layers: &[Descriptor], config: Option<&Descriptor>, most: u64) -> Result<Next, String> {
    let mut modules = layers.iter().filter(|layer| MODULES.contains(&&*layer.media_type));
    let found = || {
        let types = layers.iter().map(|layer| &*layer.media_type);
        format!("layers: {}; config: {}", list(types), config.map_or("none", |config| &config.media_type))
    };
    match (modules.next(), modules.next()) {
        (Some(layer), None) => {
            if layer.size.is_some_and(|size| size > most) {
                return Err(format!("the module is larger than {most} bytes"));
            }
            digest(&layer.digest).map(Next::Module).ok_or_else(|| unknown(layer))
        }
        (Some(_), Some(_)) => {
            Err(format!("it has several modules, of which none is known to be the one ({})", found()))
        }
        (None, _) => Err(format!("it has no module, which would be a layer of type {} ({})", MODULES[0], found())),
    }
}

/// The one manifest of an index that is for Wasm.
fn entry(manifests: &[Descriptor]) -> Result<Next, String> {
    let is_wasm = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|platform| platform.architecture.starts_with("wasm"))
            || entry.artifact_type.as_deref().is_some_and(|kind| CONFIGS.contains(&kind) || MODULES.contains(&kind))
    };
    let entry = match manifests {
        [only] => Some(only),
        several => several.iter().find(is_wasm),
    };
    let entry = entry.ok_or_else(|| {
        let platforms = manifests.iter().map(|entry| match &entry.platform {
            Some(platform) => format!("{}/{}", platform.os, platform.architecture),
            None => entry.artifact_type.clone().unwrap_or_else(|| "no platform".to_owned()),
        });
        format!("none of its images is for wasm ({})", list(platforms))
    })?;
    digest(&entry.digest).map(Next::Manifest).ok_or_else(|| unknown(entry))
}

fn unknown(descriptor: &Descriptor) -> String {
    format!("{:?} is no digest that is understood", shortened(&descriptor.digest))
}

/// The first of some names.
fn list(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    const NAMED: usize = 8;
    let mut names: Vec<String> = names.take(NAMED + 1).map(|name| shortened(name.as_ref())).collect();
    if names.len() > NAMED {
        names[NAMED] = "…".to_owned();
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A stranger's word, fit for a line of a log.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// `sha256:…`
pub(super) fn digest(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    let (pairs, rest) = text.strip_prefix("sha256:")?.as_bytes().as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(Digest::known(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str, digit: char, more: &str) -> String {
        let hex: String = std::iter::repeat_n(digit, 64).collect();
        format!(r#"{{ "mediaType": "{kind}", "digest": "sha256:{hex}", "size": 100 {more} }}"#)
    }

    fn said(layers: &[String]) -> Result<Next, String> {
        let config = descriptor(CONFIGS[0], '0', "");
        read(format!(r#"{{ "config": {config}, "layers": [{}] }}"#, layers.join(",")).as_bytes(), 100)
    }

    fn index(manifests: &[String]) -> Result<Next, String> {
        read(format!(r#"{{ "manifests": [{}] }}"#, manifests.join(",")).as_bytes(), 100)
    }

    #[test]
    fn the_module_is_found_among_layers() {
        let is = Digest::known([0x11; 32]);
        for kind in MODULES {
            let layers = [descriptor("text/plain", '2', ""), descriptor(kind, '1', "")];
            assert_eq!(said(&layers), Ok(Next::Module(is)));
        }
        for (layers, words) in [
            (vec![], "layers: none; config: application/vnd.wasm.config.v0+json"),
            (vec![descriptor("application/gzip", '2', "")], "layers: application/gzip;"),
            (vec![descriptor(MODULES[0], '1', ""), descriptor(MODULES[1], '2', "")], "several modules"),
            (vec![descriptor(MODULES[0], '1', "").replace("100", "101")], "larger than 100"),
            (vec![descriptor(MODULES[0], 'x', "")], "is no digest"),
            (vec![descriptor(MODULES[0], '1', "").replace("sha256", "md5")], "is no digest"),
        ] {
            let said = said(&layers).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn the_entry_for_wasm_is_found_in_an_index() {
        let linux = descriptor("m", '2', r#", "platform": { "os": "linux", "architecture": "amd64" }"#);
        let wasm = descriptor("m", '1', r#", "platform": { "os": "wasip1", "architecture": "wasm" }"#);
        let artifact = descriptor("m", '1', r#", "artifactType": "application/vnd.wasm.config.v0+json""#);
        let plain = descriptor("m", '1', "");
        let next = Ok(Next::Manifest(Digest::known([0x11; 32])));
        assert_eq!(index(&[linux.clone(), wasm]), next);
        assert_eq!(index(&[linux.clone(), artifact]), next);
        assert_eq!(index(std::slice::from_ref(&plain)), next);
        assert!(index(&[linux.clone(), plain]).unwrap_err().contains("(linux/amd64, no platform)"));
        assert!(index(&vec![linux; 20]).unwrap_err().ends_with("linux/amd64, …)"));
        assert!(index(&[]).unwrap_err().contains("(none)"));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, words) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            ("{}", "neither"),
            (r#"{ "layers": [], "manifests": [] }"#, "only one of both"),
            (r#"{ "layers": [{}] }"#, "cannot be read"),
        ] {
            assert!(read(text.as_bytes(), 100).unwrap_err().contains(words), "{text}");
        }
    }
}
