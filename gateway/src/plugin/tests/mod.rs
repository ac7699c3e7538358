//! Plugins in the text format, most of them ill-behaved.

mod calls;
mod faults;
mod lies;
mod natives;

use std::sync::Arc;
use std::time::Duration;

use super::request::{Edit, Head, Side, What};
use super::{Budget, Compiled, Compiler, Engine, Instance, LoadError, Mould, Services};
use crate::balance::{Candidate, Endpoint, HOME};
use crate::config::model;

/// A request with fields and tags; edits of `host` are not allowed.
#[derive(Default)]
struct Request {
    headers: Vec<(&'static str, &'static str)>,
    tags: Vec<(&'static str, &'static str)>,
    status: Option<u16>,
}

impl Head for Request {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let find = |pairs: &[(&'static str, &'static str)], wanted: &[u8]| {
            pairs.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
        };
        let value = match what {
            What::Text(gatewright_abi::text::PATH) => Some("/path"),
            What::Header(Side::Request, name) => find(&self.headers, name),
            What::Tag(name) => find(&self.tags, name),
            _ => None,
        };
        value.map(|value| reader(value.as_bytes())).is_some()
    }

    fn each_header(&self, side: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        self.headers.iter().for_each(|(name, value)| reader(name.as_bytes(), value.as_bytes()));
        side == Side::Request
    }

    fn status(&self) -> Option<u16> {
        self.status
    }

    fn allows(&self, edit: &Edit<'_>) -> bool {
        !matches!(edit, Edit::Set(_, b"host", _))
    }
}

/// Endpoints with these weights.
fn endpoints(weights: &[u16]) -> Vec<Candidate> {
    let endpoint = |(index, weight): (usize, &u16)| {
        let model = model::Endpoint { address: format!("127.0.0.1:{}", 9000 + index), weight: *weight };
        Candidate {
            endpoint: Arc::new(Endpoint::new(&model, None)),
            weight: *weight,
            priority: 0,
            drain: false,
            zone: format!("zone-{index}"),
            place: HOME,
            metadata: vec![("rack".into(), index.to_string())],
        }
    };
    weights.iter().enumerate().map(endpoint).collect()
}

const BUDGET: Budget =
    Budget { decision: Duration::from_millis(5), configure: Duration::from_millis(200), memory: 16 << 20 };

/// What every plugin needs, around what this one does.
pub(crate) fn wat(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        {body}
        (func (export "gw_abi_1"))
        (func (export "gw_free") (param i32 i32)))"#
    );
    wat::parse_str(text).expect("a module in the text format")
}

/// An allocator that never frees, a table at 64, and a configuration that always fits.
pub(crate) const USUAL: &str = include_str!("../../../../tests/fixtures/usual.wat");

struct Host {
    compiler: Compiler,
    services: Arc<Services>,
}

impl Host {
    fn new() -> Host {
        let engine = Arc::new(Engine::new().expect("an engine"));
        let compiler = Compiler::new(engine, None).expect("a compiler");
        Host { compiler, services: Arc::new(Services::new("test")) }
    }

    fn compile(&self, bytes: &[u8]) -> Result<Arc<Compiled>, LoadError> {
        self.compiler.compile(bytes, BUDGET.memory)
    }

    fn load(&self, bytes: &[u8], endpoints: &[Candidate]) -> Result<Instance, LoadError> {
        self.load_within(BUDGET, bytes, endpoints)
    }

    fn load_within(&self, budget: Budget, bytes: &[u8], endpoints: &[Candidate]) -> Result<Instance, LoadError> {
        let compiled = self.compile(bytes)?;
        let kinds = compiled.interface.kinds;
        let services = &self.services;
        let mould = Mould { services, budget, kinds, config: "{}", endpoints, seed: 1 };
        Instance::new(&compiled, self.compiler.engine(), &mould)
    }
}
