//! Holds the tables of `ABI.md` against the crate that both sides read.

#![allow(clippy::unwrap_used)]

use gatewright_abi::{COLUMNS, Column, Element, Header, IMPORTS, Wasm, export};

const TEXT: &str = include_str!("../ABI.md");
const SOURCE: &str = include_str!("../abi/src/lib.rs");

/// The rows of the table whose first line is this: their cells, without backticks.
fn table(head: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = TEXT
        .lines()
        .skip_while(|line| *line != head)
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect();
    assert!(!rows.is_empty(), "ABI.md has no table with the head {head:?}");
    rows
}

/// The constants of a module of the crate, in their order, and their values as they are written.
fn constants(module: &str) -> Vec<(String, String)> {
    let begin = format!("pub mod {module} {{");
    let constants: Vec<_> = SOURCE
        .lines()
        .skip_while(|line| *line != begin)
        .take_while(|line| *line != "}")
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.strip_suffix(';')?.split_once(" = "))
        .filter_map(|(name, value)| Some((name.split_once(':')?.0.to_owned(), value.trim_matches('"').to_owned())))
        .collect();
    assert!(!constants.is_empty(), "no constants in {module}");
    constants
}

/// A number, or a product of numbers.
fn number(text: &str) -> i64 {
    text.split('*').map(|factor| factor.trim().parse::<i64>().unwrap()).product()
}

fn word(wasm: Wasm) -> &'static str {
    match wasm {
        Wasm::I32 => "i32",
        Wasm::I64 => "i64",
        Wasm::F64 => "f64",
    }
}

#[test]
fn numbers_are_those_of_the_crate() {
    for (module, head) in [
        ("kind", "| kind | bit |"),
        ("flag", "| flag | bit |"),
        ("decision", "| decision | number | value | allowed in |"),
        ("answer", "| answer | number | meaning |"),
        ("text", "| what | number |"),
        ("side", "| side | number |"),
        ("hash", "| hashed | number | named |"),
        ("edit", "| edit | number |"),
        ("cache", "| said | number | in | meaning |"),
        ("level", "| level | number |"),
        ("metric", "| metric | number |"),
        ("bound", "| bound | value | of |"),
    ] {
        let told: Vec<_> = table(head).iter().map(|row| (row[0].clone(), number(&row[1]))).collect();
        let known: Vec<_> = constants(module)
            .into_iter()
            .filter(|(name, _)| name != "COUNT")
            .map(|(name, value)| (name, number(&value)))
            .collect();
        assert_eq!(told, known, "{module}");
    }
}

#[test]
fn exports_are_those_of_the_crate() {
    let told: Vec<_> = table("| export | signature | needed by |").into_iter().map(|row| row[0].clone()).collect();
    let known: Vec<_> =
        constants("export").into_iter().map(|(_, name)| name).filter(|name| name != export::VERSION_PREFIX).collect();
    assert_eq!(told, known);
    assert!(told.contains(&export::VERSION.to_owned()));
}

#[test]
fn imports_are_those_of_the_crate() {
    let told: Vec<_> =
        table("| import | signature |").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let known: Vec<_> = IMPORTS
        .iter()
        .map(|import| {
            let takes: Vec<_> = import.takes.iter().copied().map(word).collect();
            let gives = import.gives.map(|gives| format!(" -> {}", word(gives))).unwrap_or_default();
            (import.name.to_owned(), format!("({}){gives}", takes.join(", ")))
        })
        .collect();
    assert_eq!(told, known);
}

#[test]
fn columns_are_those_of_the_crate() {
    let told = table("| number | column | elements | written |");
    let known: Vec<_> = Column::ALL
        .iter()
        .map(|column| {
            let element = match column.element() {
                Element::U32 => "u32",
                Element::U64 => "u64",
                Element::F32 => "f32",
                Element::Text => "text",
            };
            let written = if column.is_live() { "before each pick" } else { "when endpoints change" };
            [&column.number().to_string(), column.name(), element, written].map(str::to_owned).to_vec()
        })
        .collect();
    assert_eq!(told, known);
    assert!(Column::ALL.iter().all(|column| column.import() == format!("column_{}", column.name())));
    assert!(TEXT.contains(&format!("{} bytes, zero at first", size_of::<Header>())));
    assert!(TEXT.contains(&format!("then {COLUMNS} addresses of columns")));
}

#[test]
fn what_can_be_sent_to_is_told_right() {
    use gatewright_abi::flag::{DRAINING, EJECTED, HEALTHY, TRIED};
    let mask = HEALTHY | EJECTED | DRAINING | TRIED;
    assert!(TEXT.contains(&format!("`flags & {mask} == {HEALTHY}`")));
}
