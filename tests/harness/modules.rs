//! Plugins in the text format, a few lines each.

const USUAL: &str = include_str!("../fixtures/usual.wat");
const CONFIGURE: &str = r#"(func (export "gw_configure") (param i32 i32 i32) (result i64) (i64.const 0))"#;

/// A plugin: what it needs, and what it exports beside what all do. It takes every configuration, unless it has a
/// `gw_configure` of its own.
pub(crate) fn plugin(imports: &str, body: &str) -> Vec<u8> {
    let configure = if body.contains("\"gw_configure\"") { "" } else { CONFIGURE };
    let text = format!("(module {imports} {USUAL} {configure} {body})");
    wat::parse_str(text).expect("a module in the text format")
}

/// A balancer that always picks this endpoint.
pub(crate) fn picks(index: u32) -> Vec<u8> {
    plugin("", &format!(r#"(func (export "gw_pick") (param i32) (result i64) (i64.const {index}))"#))
}

/// A balancer that fails at each pick.
pub(crate) fn fails() -> Vec<u8> {
    plugin("", r#"(func (export "gw_pick") (param i32) (result i64) unreachable)"#)
}
