//! What the compiler says to the usual mistakes: it has to be clear to somebody who sees this crate for the first time.
//!
//! Each mistake is a program of one crate, so that one run of cargo, in a target folder that stays, looks at all of them. Only
//! the lines that count are compared; the rest is the compiler's, and changes with it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A name, the code, and what has to be said of it.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

/// What most of them begin with.
const BALANCER: &str = "
struct Fastest;
impl Balancer for Fastest {
    type Config = NoConfig;
    fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> { Ok(Fastest) }
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick { endpoints.get(0).into() }
}
";

const MISTAKES: &[Mistake] = &[
    (
        "without_the_trait",
        "struct Fastest; export!(balancer: Fastest);",
        &[
            "`Fastest` is exported as a balancer, but it is none",
            "write `impl Balancer for Fastest`, with `type Config`",
        ],
    ),
    (
        "of_another_kind",
        "<balancer> export!(filter: Fastest);",
        &["`Fastest` is exported as a filter, but it is none", "write `impl Filter for Fastest`, with `type Config`"],
    ),
    (
        "config_that_cannot_be_read",
        "struct Config { spare: u32 }
        struct Keys;
        impl Filter for Keys {
            type Config = Config;
            fn configure(config: Config) -> Result<Self> { let _ = config.spare; Ok(Keys) }
        }
        export!(filter: Keys);",
        &["`Config` cannot be read from the gateway's configuration", "write `#[derive(Deserialize)]` above `Config`"],
    ),
    (
        "another_return_type",
        "struct Fastest;
        impl Balancer for Fastest {
            type Config = NoConfig;
            fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> { Ok(Fastest) }
            fn pick(&mut self, _: &Request, _: &Endpoints) -> Option<usize> { None }
        }
        export!(balancer: Fastest);",
        &["method `pick` has an incompatible type for trait", "Pick`, found `Option<usize>`"],
    ),
    (
        "a_search_without_into",
        "struct Fastest;
        impl Balancer for Fastest {
            type Config = NoConfig;
            fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> { Ok(Fastest) }
            fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick { endpoints.get(0) }
        }
        export!(balancer: Fastest);",
        &["mismatched types", "Pick`, found `Option<", ".into()"],
    ),
    (
        "two_balancers",
        "<balancer> export!(balancer: Fastest, balancer: Fastest);",
        &["`balancer` stands twice; a plugin exports one type of each kind"],
    ),
    (
        "no_kind",
        "<balancer> export!(Fastest);",
        &["expected `kind: Type`, for example `balancer: Fastest`, but found `Fastest`"],
    ),
    (
        "a_kind_that_there_is_not",
        "<balancer> export!(ballancer: Fastest);",
        &["`ballancer` is no kind of plugin; there are `balancer`, `router` and `filter`"],
    ),
    ("nothing", "export!();", &["say what is exported, for example `export!(balancer: Fastest);`"]),
];

/// A crate with all of them.
fn write(folder: &Path) {
    let sdk = env!("CARGO_MANIFEST_DIR");
    let mut manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\ngatewright-sdk = {{ path = {sdk:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n"
    );
    std::fs::create_dir_all(folder).unwrap();
    for (name, code, _) in MISTAKES {
        manifest += &format!("[[bin]]\nname = {name:?}\npath = \"{name}.rs\"\n");
        let code = code.replace("<balancer>", BALANCER);
        let text = format!("#![allow(unused_imports)]\nuse gatewright_sdk::prelude::*;\n{code}\nfn main() {{}}\n");
        std::fs::write(folder.join(format!("{name}.rs")), text).unwrap();
    }
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
}

/// The errors of each program, as people see them.
fn errors(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/authors");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--quiet", "--bins", "--keep-going", "--message-format=json"]);
    let done = cargo.current_dir(folder).env("CARGO_TARGET_DIR", target).output().unwrap();
    let mut errors = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8(done.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let message = &line["message"];
        // The last one only counts the others.
        if message["level"] == "error" && !message["spans"].as_array().unwrap().is_empty() {
            let of = errors.entry(line["target"]["name"].as_str().unwrap().to_owned()).or_default();
            of.push(message["rendered"].as_str().unwrap().to_owned());
        }
    }
    assert!(!errors.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    errors
}

#[test]
fn the_usual_mistakes_are_told_in_our_own_words_and_once() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    write(&folder);
    let errors = errors(&folder);
    for (name, _, words) in MISTAKES {
        let told = errors.get(*name).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(told.len(), 1, "{name}: {}", told.join("\n"));
        for words in *words {
            assert!(told[0].contains(words), "{name}: {words:?} is not in\n{}", told[0]);
        }
    }
}
