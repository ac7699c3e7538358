//! Whether a module is a plugin: its imports, exports and bounds, before anything of it runs.

use gatewright_abi::{Column, IMPORT_MODULE, IMPORTS, VERSION, Wasm, export, kind};
use wasmtime::{ExternType, FuncType, Module, ValType};

use super::fault::LoadError;
use super::guest::TABLE_ELEMENTS;

/// What a module offers and wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Bits of [`kind`].
    pub kinds: u32,
    /// Columns of the endpoint table that it reads.
    pub columns: Vec<Column>,
    /// Functions that it exports, of those that the gateway knows.
    pub exports: Vec<&'static str>,
    /// Functions that it imports.
    pub imports: Vec<String>,
    /// Bytes of memory that it begins with.
    pub memory: u64,
}

/// A function that a plugin may export.
struct Export {
    name: &'static str,
    takes: &'static [Wasm],
    gives: Option<Wasm>,
    /// The kinds that cannot do without it.
    needed: u32,
}

const ANY: u32 = kind::BALANCER | kind::ROUTER | kind::FILTER;

const EXPORTS: &[Export] = {
    use Wasm::{I32, I64};
    const fn of(name: &'static str, takes: &'static [Wasm], gives: Option<Wasm>, needed: u32) -> Export {
        Export { name, takes, gives, needed }
    }
    &[
        of(export::VERSION, &[], None, 0),
        of(export::ALLOC, &[I32], Some(I32), ANY),
        of(export::FREE, &[I32, I32], None, ANY),
        of(export::CONFIGURE, &[I32, I32, I32], Some(I64), ANY),
        of(export::TABLE, &[], Some(I32), kind::BALANCER),
        of(export::PICK, &[I32], Some(I64), kind::BALANCER),
        of(export::OUTCOME, &[I32, I32, I32, I64, I64], None, 0),
        of(export::ENDPOINTS_CHANGED, &[], None, 0),
        of(export::ROUTE, &[], Some(I64), kind::ROUTER),
        of(export::ON_REQUEST, &[], Some(I64), 0),
        of(export::ON_RESPONSE, &[], Some(I64), 0),
        of(export::ON_FETCH, &[], Some(I64), 0),
        of(export::TICK, &[], Some(I64), 0),
        of(export::SNAPSHOT, &[], Some(I64), 0),
        of(export::RESTORE, &[I32, I32], Some(I32), 0),
    ]
};

/// Looks at all of a module; everything that does not fit is told at once.
pub(super) fn interface(module: &Module, memory_size: u64) -> Result<Interface, LoadError> {
    let mut wrong = Vec::new();
    version(module, &mut wrong);
    let (imports, columns) = imports(module, &mut wrong);
    let exports = exports(module, &mut wrong);
    let has = |name| exports.contains(&name);
    let mut kinds = 0;
    for (kind, is_so) in [
        (kind::BALANCER, has(export::PICK)),
        (kind::ROUTER, has(export::ROUTE)),
        (kind::FILTER, [export::ON_REQUEST, export::ON_RESPONSE, export::ON_FETCH].into_iter().any(has)),
    ] {
        kinds |= if is_so { kind } else { 0 };
    }
    if kinds == 0 {
        let calls = [export::PICK, export::ROUTE, export::ON_REQUEST, export::ON_RESPONSE].join(", ");
        wrong.push(format!("it is of no kind: it exports none of {calls}"));
    }
    for missing in EXPORTS.iter().filter(|export| export.needed & kinds != 0 && !has(export.name)) {
        wrong.push(format!("missing export {}", signature(missing.name, missing.takes, missing.gives)));
    }
    let memory = memory(module, memory_size, &mut wrong);
    tables(module, &mut wrong);
    match wrong.is_empty() {
        true => Ok(Interface { kinds, columns, exports, imports, memory }),
        false => Err(LoadError::Mismatch(wrong)),
    }
}

fn version(module: &Module, wrong: &mut Vec<String>) {
    let told = module.exports().find_map(|e| e.name().strip_prefix(export::VERSION_PREFIX).map(str::to_owned));
    match told {
        None => wrong.push(format!("missing export {}: is this a Gatewright plugin?", export::VERSION)),
        Some(other) if other != VERSION.to_string() => {
            wrong.push(format!(
                "it speaks version {other} of the plugin interface; this gateway speaks version {VERSION}"
            ));
        }
        Some(_) => {}
    }
}

fn imports(module: &Module, wrong: &mut Vec<String>) -> (Vec<String>, Vec<Column>) {
    let (mut names, mut columns) = (Vec::new(), Vec::new());
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        if from != IMPORT_MODULE {
            let why =
                if from.starts_with("wasi") { ": plugins get no WASI, build for wasm32-unknown-unknown" } else { "" };
            wrong.push(format!("it imports {from}.{name}, which the gateway does not offer{why}"));
            continue;
        }
        let column = Column::ALL.iter().find(|column| column.import() == name);
        let function = IMPORTS.iter().find(|import| import.name == name);
        let (takes, gives): (&[Wasm], Option<Wasm>) = match (column, function) {
            (Some(column), _) => {
                columns.push(*column);
                (&[], Some(Wasm::I32))
            }
            (None, Some(function)) => (function.takes, function.gives),
            (None, None) => {
                wrong.push(format!("it imports {from}.{name}, which the gateway does not offer"));
                continue;
            }
        };
        match import.ty() {
            ExternType::Func(found) if is_like(&found, takes, gives) => names.push(name.to_owned()),
            ExternType::Func(found) => {
                wrong.push(format!("it imports {name} as {found}; it is {}", signature(name, takes, gives)));
            }
            _ => wrong.push(format!("it imports {name} as something else than a function")),
        }
    }
    (names, columns)
}

fn exports(module: &Module, wrong: &mut Vec<String>) -> Vec<&'static str> {
    let mut found = Vec::new();
    for known in EXPORTS {
        match module.get_export(known.name) {
            None => {}
            Some(ExternType::Func(function)) if is_like(&function, known.takes, known.gives) => found.push(known.name),
            Some(ExternType::Func(function)) => wrong.push(format!(
                "it exports {} as {function}; it has to be {}",
                known.name,
                signature(known.name, known.takes, known.gives)
            )),
            Some(_) => wrong.push(format!("it exports {} as something else than a function", known.name)),
        }
    }
    let known =
        |name: &str| EXPORTS.iter().any(|export| export.name == name) || name.starts_with(export::VERSION_PREFIX);
    for export in module.exports().filter(|export| export.name().starts_with("gw_") && !known(export.name())) {
        wrong.push(format!("it exports {}, which this gateway does not know", export.name()));
    }
    found
}

fn memory(module: &Module, most: u64, wrong: &mut Vec<String>) -> u64 {
    let Some(ExternType::Memory(memory)) = module.get_export(export::MEMORY) else {
        wrong.push(format!("missing export {}: a memory", export::MEMORY));
        return 0;
    };
    let size = memory.minimum().saturating_mul(memory.page_size());
    if size > most {
        wrong.push(format!("it begins with {size} bytes of memory; memory_size allows {most}"));
    }
    size
}

fn tables(module: &Module, wrong: &mut Vec<String>) {
    // Those that are not exported are held to the same bound when the module is instantiated.
    for export in module.exports() {
        if let ExternType::Table(table) = export.ty()
            && table.minimum() > TABLE_ELEMENTS as u64
        {
            let (name, size) = (export.name(), table.minimum());
            wrong.push(format!("its table {name} begins with {size} elements; at most {TABLE_ELEMENTS} are taken"));
        }
    }
}

fn is_like(function: &FuncType, takes: &[Wasm], gives: Option<Wasm>) -> bool {
    let is = |found: &ValType, wanted: &Wasm| {
        matches!((found, wanted), (ValType::I32, Wasm::I32) | (ValType::I64, Wasm::I64) | (ValType::F64, Wasm::F64))
    };
    function.params().len() == takes.len()
        && function.params().zip(takes).all(|(found, wanted)| is(&found, wanted))
        && function.results().len() == usize::from(gives.is_some())
        && function.results().zip(&gives).all(|(found, wanted)| is(&found, wanted))
}

/// A function as an author reads it.
fn signature(name: &str, takes: &[Wasm], gives: Option<Wasm>) -> String {
    let word = |wasm: &Wasm| match wasm {
        Wasm::I32 => "i32",
        Wasm::I64 => "i64",
        Wasm::F64 => "f64",
    };
    let takes: Vec<&str> = takes.iter().map(word).collect();
    match &gives {
        Some(gives) => format!("{name}({}) -> {}", takes.join(", "), word(gives)),
        None => format!("{name}({})", takes.join(", ")),
    }
}

/// What is to be read at an element's place.
pub(super) const fn size_of(column: Column) -> usize {
    column.element().size() as usize
}
