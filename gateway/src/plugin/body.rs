//! What can be seen of a function without running it: whether it does anything.
//!
//! In: a module that was found valid. Out: yes or no, and no when in doubt.

use wasmparser::{ExternalKind, Operator, Parser, Payload};

/// Whether the function that a module exports by this name returns at once. Compilers make such a function of a call that the
/// plugin takes as it comes; to make it would be a waste. `imported`: how many functions the module imports.
pub(super) fn is_empty(module: &[u8], name: &str, imported: usize) -> bool {
    look(module, name, imported).unwrap_or(false)
}

fn look(module: &[u8], name: &str, imported: usize) -> Option<bool> {
    // Functions that are imported are numbered first.
    let (mut wanted, mut number) = (None, u32::try_from(imported).ok()?);
    // Exports stand before code.
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ExportSection(exports) => {
                let mut functions = exports.into_iter().flatten().filter(|export| export.kind == ExternalKind::Func);
                wanted = Some(functions.find(|export| export.name == name)?.index);
            }
            Payload::CodeSectionEntry(body) => {
                if wanted == Some(number) {
                    return Some(matches!(body.get_operators_reader().ok()?.read().ok()?, Operator::End));
                }
                number += 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_returns_at_once_is_empty() {
        let module = wat::parse_str(
            r#"(module
            (import "gatewright" "clock" (func $clock (result i64)))
            (memory (export "memory") 1)
            (func $other (drop (call $clock)))
            (func (export "nothing") (param i32) (local i64))
            (func (export "something") (param i32) (i32.store (i32.const 0) (local.get 0)))
            (func (export "first") (call $other))
            (export "clock" (func $clock)))"#,
        )
        .expect("a module");
        let empty = |name| is_empty(&module, name, 1);
        assert!(empty("nothing"));
        assert_eq!(
            (empty("something"), empty("first"), empty("clock"), empty("memory"), empty("absent")),
            Default::default()
        );
        assert!(!is_empty(&module[..module.len() / 2], "nothing", 1) && !is_empty(b"", "nothing", 0));
    }
}
