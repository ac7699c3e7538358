//! Plugins in the text format, a few lines each.

/// An allocator that never frees, a table at 64, and a configuration that always fits, in this order.
const USUAL: &str = include_str!("../fixtures/usual.wat");

/// A plugin: what it needs, and what it exports beside what all do. It may have a `gw_configure` of its own.
pub(crate) fn plugin(imports: &str, body: &str) -> Vec<u8> {
    let configure = r#"(func (export "gw_configure")"#;
    let usual = match body.contains(configure) {
        true => USUAL.split_once(configure).map_or(USUAL, |(before, _)| before),
        false => USUAL,
    };
    let text = format!(
        r#"(module {imports} {usual} {body} (func (export "gw_abi_1")) (func (export "gw_free") (param i32 i32)))"#
    );
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
