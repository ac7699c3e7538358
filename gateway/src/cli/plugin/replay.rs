//! Asks a module once more what its source was asked in its native tests.
//!
//! In: a module, and the records that the mock gateway wrote. Out: how much was asked, or the first difference. The module runs in the
//! gateway's own host, with time and chance as they were; only the requests and endpoints are those of the tests.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::{Column, cache, edit, flag, side};
use gatewright_sdk::mock::record::{self, Begin, Call, Facts, Parts, Step};
use gatewright_sdk::mock::{Matter, Shown};
use gatewright_sdk::{Pick, Route};

use crate::balance::{Candidate, Endpoint};
use crate::cli::Failure;
use crate::config::model;
use crate::plugin::request::{Edit, Edits, Head, Side, What, Wish};
use crate::plugin::{Budget, Compiled, Decision, Engine, Fault, Instance, LoadError, Mould, Outcome, Services};

/// How much was asked.
#[derive(Default)]
pub(super) struct Sum {
    /// Tests that asked something.
    pub(super) tests: BTreeSet<String>,
    /// Calls, with that which configures.
    pub(super) calls: usize,
    /// Mock gateways of a kind that the module is not.
    pub(super) others: usize,
}

/// Where module and source first disagree.
pub(super) struct Difference {
    begin: Begin,
    /// Which call, and of how many that came so far.
    number: usize,
    call: Option<Call>,
    natively: Vec<String>,
    in_host: Vec<String>,
}

/// A module, and what runs it.
pub(super) struct Replay<'a> {
    pub(super) engine: &'a Engine,
    pub(super) compiled: &'a Compiled,
    pub(super) budget: Budget,
}

impl Replay<'_> {
    /// Asks everything that one file has.
    pub(super) fn file(&self, file: &Path, sum: &mut Sum) -> Result<Option<Box<Difference>>, Failure> {
        let wrong = |error: &dyn fmt::Display| Failure(format!("{}: {error}", file.display()));
        let opened = std::fs::File::open(file).map_err(|error| wrong(&error))?;
        let mut lines = BufReader::new(opened).lines();
        let Some(first) = lines.next().transpose().map_err(|error| wrong(&error))? else { return Ok(None) };
        let begin: Begin = serde_json::from_str(&first).map_err(|error| wrong(&error))?;
        if begin.form != record::FORM {
            return Err(wrong(&"its gatewright-sdk is not of the version of this gateway"));
        }
        let kinds = begin.kinds & self.compiled.interface.kinds;
        if kinds == 0 {
            sum.others += 1;
            return Ok(None);
        }
        sum.tests.insert(begin.test.clone());
        sum.calls += 1;
        let services = Arc::new(Services::replaying("test"));
        services.tell(begin.around.micros, begin.around.unix_ms, begin.around.random);
        let mut endpoints = candidates(&begin.endpoints)?;
        let mould = Mould {
            services: &services,
            budget: self.budget,
            kinds,
            config: &begin.config,
            endpoints: &endpoints,
            seed: begin.around.random,
        };
        let made = Instance::new(self.compiled, self.engine, &mould);
        let told = match &made {
            Ok(_) => record::CONFIGURED.to_owned(),
            Err(LoadError::Config(text)) => text.clone(),
            Err(error) => error.to_string(),
        };
        let different = |number, call, natively, in_host| {
            let begin = begin.clone();
            Ok(Some(Box::new(Difference { begin, number, call, natively, in_host })))
        };
        if told != begin.told {
            return different(1, None, vec![begin.told.clone()], vec![told]);
        }
        let Ok(mut instance) = made else { return Ok(None) };
        for (line, number) in lines.zip(2..) {
            let line = line.map_err(|error| wrong(&error))?;
            let step: Step = serde_json::from_str(&line).map_err(|error| wrong(&error))?;
            sum.calls += 1;
            services.tell(step.around.micros, step.around.unix_ms, step.around.random);
            let told = ask(&mut instance, &step.call, &mut endpoints)?;
            let panicked = step.told.first().is_some_and(|told| told == record::PANIC);
            if told != step.told && !(panicked && told.first().is_some_and(|told| told == Fault::Trap.label())) {
                return different(number, Some(step.call), step.told, told);
            }
        }
        Ok(None)
    }
}

/// One call, and what it says, in words.
fn ask(instance: &mut Instance, call: &Call, endpoints: &mut Vec<Candidate>) -> Result<Vec<String>, Failure> {
    let done = |()| record::DONE.to_owned();
    let words = |decision| words(&decision);
    let (told, decides) = match call {
        Call::Pick { request, attempt, endpoints: facts } => {
            let mut tried = Vec::new();
            for ((index, candidate), facts) in endpoints.iter().enumerate().zip(facts) {
                if pretend(candidate, facts) {
                    tried.push(index);
                }
            }
            (instance.pick(&Recorded::of(request, None, Matter::None), endpoints, &tried, *attempt).map(words), true)
        }
        Call::Outcome { endpoint, status, attempt, latency_us, bytes } => {
            let latency = Duration::from_micros(*latency_us);
            let outcome = Outcome { endpoint: *endpoint, status: *status, attempt: *attempt, latency, bytes: *bytes };
            (instance.outcome(&outcome).map(done), false)
        }
        Call::ChangeEndpoints { endpoints: facts } => {
            *endpoints = candidates(facts)?;
            (instance.change_endpoints(endpoints).map(|_| done(())), false)
        }
        Call::Route { request } => (instance.route(&Recorded::of(request, None, Matter::Request)).map(words), true),
        Call::OnRequest { request } => {
            (instance.on_request(&Recorded::of(request, None, Matter::Request)).map(words), true)
        }
        Call::OnResponse { request, response } => {
            (instance.on_response(&Recorded::of(request, Some(response), Matter::None)).map(words), true)
        }
        Call::OnFetch { request, response } => {
            (instance.on_fetch(&Recorded::of(request, Some(response), Matter::Fetched)).map(words), true)
        }
        Call::Tick => (instance.tick().map(record::tick), false),
        Call::Snapshot => (instance.snapshot().map(|state| record::state(state.as_deref())), false),
        Call::Restore { state } => (instance.restore(&state.0).map(record::restored), false),
    };
    let mut told = vec![told.unwrap_or_else(|fault| fault.to_string())];
    if decides {
        told.extend(changes(instance.edits()));
    }
    Ok(told)
}

/// A decision in a few words, those of the records.
pub(super) fn words(decision: &Decision) -> String {
    match decision {
        Decision::Continue => record::route(&Route::CarryOn),
        Decision::Endpoint(index) => format!("endpoint {index}"),
        Decision::List(list) => format!("endpoints {list:?} in this order"),
        Decision::Hedge(first, second, after) => record::hedge(*first, *second, after.as_micros()),
        Decision::Fallback => record::pick(&Pick::Fallback),
        Decision::Refuse(status) => record::refusal(*status),
        Decision::Route(name) => format!("route {name}"),
        Decision::Pool(name) => format!("pool {name}"),
        Decision::Redirect(status, to) => record::redirect(*status, to),
        Decision::Answer(answer) => {
            let fields = answer.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            record::answer(answer.status, fields, &answer.body)
        }
    }
}

/// What is wanted of a request, in words.
pub(super) fn changes(edits: &Edits) -> impl Iterator<Item = String> {
    edits.iter().map(|edit| match edit {
        Edit::Set(of, name, value) => record::field(edit::SET, number(of), name, value),
        Edit::Add(of, name, value) => record::field(edit::ADD, number(of), name, value),
        Edit::Remove(of, name) => record::field(edit::REMOVE, number(of), name, b""),
        Edit::Path(path) => record::path(path),
        Edit::Status(status) => record::status(status),
        Edit::Tag(name, value) => record::tag(name, value),
        Edit::Cache(Wish::Key(part)) => record::cache(cache::KEY, part, 0),
        Edit::Cache(Wish::Bypass) => record::cache(cache::BYPASS, b"", 0),
        Edit::Cache(Wish::Ttl(seconds)) => record::cache(cache::TTL, b"", seconds),
        Edit::Cache(Wish::NoStore) => record::cache(cache::NO_STORE, b"", 0),
        Edit::Cache(Wish::Tag(tag)) => record::cache(cache::TAG, tag, 0),
    })
}

fn number(of: Side) -> u32 {
    match of {
        Side::Request => side::REQUEST,
        Side::Response => side::RESPONSE,
    }
}

/// The endpoints of a record as a gateway has them.
fn candidates(all: &[Facts]) -> Result<Vec<Candidate>, Failure> {
    let candidate = |facts: &Facts| {
        let weight = u16::try_from(facts.weight);
        let weight = weight.map_err(|_| {
            format!("a test has an endpoint of weight {}: a gateway's have at most 65535", facts.weight)
        })?;
        let model = model::Endpoint { address: facts.address.clone(), weight };
        let mut endpoint = Endpoint::new(&model, None);
        endpoint.id = facts.id;
        let (priority, zone, metadata) = (facts.priority, facts.zone.clone(), facts.metadata.clone());
        let candidate = Candidate { weight, priority, zone, metadata, ..Candidate::of(Arc::new(endpoint)) };
        pretend(&candidate, facts);
        Ok(candidate)
    };
    all.iter().map(candidate).collect()
}

/// Gives an endpoint the live values of the record. Whether the request was sent to it before, which is no matter of the endpoint.
fn pretend(candidate: &Candidate, facts: &Facts) -> bool {
    let mut tried = false;
    for (column, word) in Column::ALL.iter().zip(facts.words).filter(|(column, _)| column.is_live()) {
        let mut word = word;
        if *column == Column::Flags {
            tried = word & flag::TRIED != 0;
            word &= !flag::TRIED;
        }
        candidate.endpoint.stats.pretend(*column, word);
    }
    tried
}

/// A request of a record.
struct Recorded(Shown);

impl Recorded {
    fn of(request: &Parts, response: Option<&Parts>, matter: Matter) -> Recorded {
        Recorded(Shown::of(request, response, matter))
    }
}

impl Head for Recorded {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let value = match what {
            What::Text(what) => self.0.text(what),
            What::Header(of, name) => self.0.header(number(of), name),
            What::Cookie(name) => self.0.cookie(name),
            What::Query(name) => self.0.query_value(name),
            What::Tag(name) => self.0.tag(name),
        };
        value.map(|value| reader(&value)).is_some()
    }

    fn each_header(&self, of: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        self.0.each_header(number(of), reader)
    }

    fn status(&self) -> Option<u16> {
        self.0.status()
    }

    fn allows(&self, wanted: &Edit<'_>) -> bool {
        match *wanted {
            Edit::Set(of, name, value) | Edit::Add(of, name, value) => self.0.allows_field(number(of), name, value),
            Edit::Remove(of, name) => self.0.allows_field(number(of), name, b""),
            Edit::Path(path) => self.0.allows_path(path),
            Edit::Status(status) => self.0.allows_status(status),
            Edit::Tag(name, value) => str::from_utf8(name).is_ok() && str::from_utf8(value).is_ok(),
            Edit::Cache(Wish::Key(part)) => self.0.allows_cache(cache::KEY, part),
            Edit::Cache(Wish::Bypass) => self.0.allows_cache(cache::BYPASS, b""),
            Edit::Cache(Wish::Ttl(_)) => self.0.allows_cache(cache::TTL, b""),
            Edit::Cache(Wish::NoStore) => self.0.allows_cache(cache::NO_STORE, b""),
            Edit::Cache(Wish::Tag(tag)) => self.0.allows_cache(cache::TAG, tag),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = match &self.call {
            None => "its configuration",
            Some(Call::Pick { .. }) => "a pick",
            Some(Call::Outcome { .. }) => "an outcome",
            Some(Call::ChangeEndpoints { .. }) => "other endpoints",
            Some(Call::Route { .. }) => "a route",
            Some(Call::OnRequest { .. }) => "a request",
            Some(Call::OnResponse { .. }) => "a response",
            Some(Call::OnFetch { .. }) => "a response that may be kept",
            Some(Call::Tick) => "a tick",
            Some(Call::Snapshot) => "its state",
            Some(Call::Restore { .. }) => "the state of another version",
        };
        let types = self.begin.types.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>().join(", ");
        writeln!(f, "{}: the module does not do what its source does natively", self.begin.test)?;
        writeln!(f, "  call {}: {asked}, of {types}", self.number)?;
        writeln!(f, "  natively:       {}", self.natively.join("; "))?;
        write!(f, "  in the gateway: {}", self.in_host.join("; "))?;
        write!(f, "\n  config:         {}", self.begin.config)?;
        match &self.call {
            Some(Call::Pick { request, endpoints, .. }) => {
                write!(f, "\n  request:        {request}")?;
                endpoints
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, facts)| write!(f, "\n  endpoint {index}:     {facts}"))
            }
            Some(
                Call::Route { request }
                | Call::OnRequest { request }
                | Call::OnResponse { request, .. }
                | Call::OnFetch { request, .. },
            ) => {
                write!(f, "\n  request:        {request}")
            }
            _ => Ok(()),
        }
    }
}
