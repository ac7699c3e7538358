//! A gateway for tests: `cargo test` in a plugin's crate needs neither WebAssembly nor a gateway.
//!
//! ```
//! # use gatewright_sdk::prelude::*;
//! # #[derive(Deserialize)] struct Config { spare: u32 }
//! # struct Fastest { spare: u32 }
//! # impl Balancer for Fastest {
//! #     type Config = Config;
//! #     fn configure(config: Config, _: &Endpoints) -> Result<Self> { Ok(Fastest { spare: config.spare }) }
//! #     fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
//! #         endpoints.available().filter(|e| e.active() < self.spare).min_by_key(|e| e.latency() * (e.active() + 1)).into()
//! #     }
//! # }
//! use gatewright_sdk::mock::{Mock, endpoint, get};
//!
//! let endpoints = [endpoint("10.0.0.1:80").latency_us(900), endpoint("10.0.0.2:80").latency_us(300)];
//! let mut gateway = Mock::balancer::<Fastest>(r#"{"spare": 10}"#, endpoints)?;
//! assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(1));
//!
//! gateway.endpoint(1).active(10);
//! assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(0));
//! # Ok::<(), Error>(())
//! ```
//!
//! `gatewright plugin test` sets [`record::FOLDER`], and then asks the module what was asked here.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use gatewright_abi::kind;

use crate::decide::{Route, Verdict};
use crate::error::Result;
use crate::kinds::{Balancer, Filter, Router};
use crate::native::{Instance, Plugin, Table};
use crate::outcome::Outcome;
use crate::pick::Pick;
use crate::runtime::Absent;

mod endpoint;
mod gateway;
mod head;
pub mod record;
mod shown;

use gateway::Gateway;
use record::{Begin, Call, Record, Step};
pub use shown::{Matter, Shown};

pub use endpoint::{LiveEndpoint, MockEndpoint, endpoint};
pub use head::{Cache, Head, get, request, response, tcp};

/// A gateway with one plugin.
pub struct Mock {
    instance: Box<dyn Instance>,
    host: Gateway,
    table: Table,
    record: Option<Record>,
}

/// A level of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// `log::error!`.
    Error,
    /// `log::warn!`.
    Warn,
    /// `log::info!`.
    Info,
    /// `log::debug!`.
    Debug,
}

impl Mock {
    /// A gateway with this balancer, configured with JSON text, and a pool of these endpoints.
    pub fn balancer<B: Balancer + Send + 'static>(
        config: &str,
        endpoints: impl IntoIterator<Item = MockEndpoint>,
    ) -> Result<Mock> {
        Mock::plugin(Plugin::of::<B, Absent, Absent>(kind::BALANCER), config, endpoints)
    }

    /// A gateway with this router, configured with JSON text.
    pub fn router<R: Router + Send + 'static>(config: &str) -> Result<Mock> {
        Mock::plugin(Plugin::of::<Absent, R, Absent>(kind::ROUTER), config, [])
    }

    /// A gateway with this filter, configured with JSON text.
    pub fn filter<F: Filter + Send + 'static>(config: &str) -> Result<Mock> {
        Mock::plugin(Plugin::of::<Absent, Absent, F>(kind::FILTER), config, [])
    }

    /// A gateway with all kinds of a plugin: what `plugin()` returns.
    pub fn plugin(plugin: Plugin, config: &str, endpoints: impl IntoIterator<Item = MockEndpoint>) -> Result<Mock> {
        let host = Gateway::default();
        let mut table = Table::new();
        host.place(&mut table, endpoints.into_iter().collect());
        let configured = plugin.configure(plugin.kinds(), config, &host, &table);
        let told = configured.as_ref().err().map_or(record::CONFIGURED.to_owned(), ToString::to_string);
        let record = Record::begin().and_then(|mut record| {
            let begin = Begin {
                form: record::FORM,
                test: record::test(),
                types: plugin.types().map(str::to_owned),
                kinds: plugin.kinds(),
                config: config.to_owned(),
                endpoints: host.facts(),
                around: host.around(),
                told,
            };
            record.write(&begin).then_some(record)
        });
        Ok(Mock { instance: configured?, host, table, record })
    }

    /// What the balancer picks for this request, sent for the first time.
    pub fn pick(&mut self, request: &Head) -> Pick {
        self.pick_again(request, 0)
    }

    /// What the balancer picks for this request, which was sent so often before.
    pub fn pick_again(&mut self, request: &Head, attempt: u32) -> Pick {
        let call = |mock: &Mock| Call::Pick { request: request.into(), attempt, endpoints: mock.host.facts() };
        let run = |mock: &mut Mock| {
            mock.host.write_wanted(&mock.table);
            mock.host.show(Some(request), None);
            mock.instance.pick(&mock.host, &mock.table, attempt)
        };
        let picked = self.asked(call, run, record::pick);
        self.host.do_response_changes();
        picked
    }

    /// Tells the balancer how an attempt ended.
    pub fn outcome(&mut self, outcome: Outcome) {
        let call = |_: &Mock| Call::Outcome {
            endpoint: u32::try_from(outcome.endpoint).unwrap_or(u32::MAX),
            status: outcome.status.unwrap_or(0),
            attempt: outcome.attempt,
            latency_us: outcome.latency.get(),
            bytes: outcome.bytes,
        };
        let run = |mock: &mut Mock| {
            mock.host.show(None, None);
            mock.instance.outcome(&mock.host, &mock.table, &outcome);
        };
        self.asked(call, run, |()| record::DONE.to_owned())
    }

    /// Where the router sends this request, which has been changed when this returns.
    pub fn route(&mut self, request: &Head) -> Route {
        let call = |_: &Mock| Call::Route { request: request.into() };
        let run = |mock: &mut Mock| {
            mock.host.show(Some(request), None);
            mock.host.about(Matter::Request);
            mock.instance.route(&mock.host)
        };
        let decided = self.asked(call, run, record::route);
        self.host.do_changes();
        decided
    }

    /// What the filter does with this request, which has been changed when this returns.
    pub fn on_request(&mut self, request: &Head) -> Verdict {
        let call = |_: &Mock| Call::OnRequest { request: request.into() };
        let run = |mock: &mut Mock| {
            mock.host.show(Some(request), None);
            mock.host.about(Matter::Request);
            mock.instance.on_request(&mock.host)
        };
        let decided = self.asked(call, run, record::verdict);
        self.host.do_changes();
        decided
    }

    /// What the filter does with this response, which has been changed when this returns.
    pub fn on_response(&mut self, request: &Head, response: &Head) -> Verdict {
        let call = |_: &Mock| Call::OnResponse { request: request.into(), response: Box::new(response.into()) };
        let run = |mock: &mut Mock| {
            mock.host.show(Some(request), Some(response));
            mock.instance.on_response(&mock.host)
        };
        let decided = self.asked(call, run, record::verdict);
        self.host.do_changes();
        decided
    }

    /// What the filter says of keeping this response to this request; [`Head::cache`] tells it.
    pub fn on_fetch(&mut self, request: &Head, response: &Head) {
        let call = |_: &Mock| Call::OnFetch { request: request.into(), response: Box::new(response.into()) };
        let run = |mock: &mut Mock| {
            mock.host.show(Some(request), Some(response));
            mock.host.about(Matter::Fetched);
            mock.instance.on_fetch(&mock.host);
        };
        self.asked(call, run, |()| record::verdict(&Verdict::CarryOn));
        self.host.do_changes();
    }

    /// Lets time pass for the plugin.
    pub fn tick(&mut self) -> Option<Duration> {
        let call = |_: &Mock| Call::Tick;
        let run = |mock: &mut Mock| {
            mock.host.show(None, None);
            mock.instance.tick(&mock.host, &mock.table)
        };
        self.asked(call, run, |next| record::tick(*next))
    }

    /// Other endpoints.
    pub fn change_endpoints(&mut self, endpoints: impl IntoIterator<Item = MockEndpoint>) {
        let endpoints: Vec<MockEndpoint> = endpoints.into_iter().collect();
        let facts = endpoints.iter().map(|endpoint| endpoint.0.clone()).collect();
        let run = |mock: &mut Mock| {
            mock.host.show(None, None);
            mock.host.place(&mut mock.table, endpoints);
            mock.instance.endpoints_changed(&mock.host, &mock.table);
        };
        self.asked(|_| Call::ChangeEndpoints { endpoints: facts }, run, |()| record::DONE.to_owned());
    }

    /// Calls the plugin; writes down what it was asked and what it said, if that is wanted.
    fn asked<T>(
        &mut self,
        call: impl FnOnce(&Mock) -> Call,
        run: impl FnOnce(&mut Mock) -> T,
        words: impl FnOnce(&T) -> String,
    ) -> T {
        let Some(mut record) = self.record.take() else { return run(self) };
        let (call, around) = (call(self), self.host.around());
        let result = catch_unwind(AssertUnwindSafe(|| run(self)));
        let mut told = vec![result.as_ref().map_or(record::PANIC.to_owned(), words)];
        told.extend(self.host.changes());
        let goes_on = record.write(&Step { call, around, told }) && result.is_ok();
        self.record = goes_on.then_some(record);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// An endpoint of which live values change.
    pub fn endpoint(&mut self, index: usize) -> LiveEndpoint<'_> {
        LiveEndpoint { endpoints: self.host.endpoints.borrow_mut(), index }
    }

    /// The state that the plugin hands to its next version.
    pub fn snapshot(&mut self) -> Option<Vec<u8>> {
        let call = |_: &Mock| Call::Snapshot;
        let run = |mock: &mut Mock| {
            mock.host.show(None, None);
            mock.instance.snapshot(&mock.host)
        };
        self.asked(call, run, |state| record::state(state.as_deref()))
    }

    /// Hands it the state of the version before.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let call = |_: &Mock| Call::Restore { state: record::Text(state.to_vec()) };
        let run = |mock: &mut Mock| {
            mock.host.show(None, None);
            mock.instance.restore(&mock.host, &mock.table, state)
        };
        self.asked(call, run, |taken| record::restored(taken.is_ok()))
    }

    /// Moves the clock.
    pub fn advance(&mut self, time: Duration) {
        self.host.now.set(self.host.now.get() + time);
    }

    /// Sets the clock that people use.
    pub fn set_unix_time(&mut self, time: Duration) {
        self.host.unix.set(time.saturating_sub(self.host.now.get()));
    }

    /// Random numbers are the same in every run. This makes them others, for a plugin that has not used one yet.
    pub fn seed(&mut self, seed: u64) {
        self.host.seed.set(seed);
    }

    /// The value of a counter or gauge; of a histogram, the sum of what was recorded. 0 when there is none.
    pub fn metric(&self, name: &str) -> f64 {
        self.labelled_metric(name, "", "")
    }

    /// The same for a series with a label.
    pub fn labelled_metric(&self, name: &str, label: &str, value: &str) -> f64 {
        self.series(name, label, value).iter().sum()
    }

    /// What was recorded in a histogram.
    pub fn recorded(&self, name: &str) -> Vec<f64> {
        self.series(name, "", "")
    }

    fn series(&self, name: &str, label: &str, value: &str) -> Vec<f64> {
        let wanted = [name, label, value].map(|part| part.as_bytes().to_vec());
        let series = self.host.series.borrow();
        series.iter().find(|one| one.name == wanted).map(|one| one.values.clone()).unwrap_or_default()
    }

    /// The lines that were logged so far, each once.
    pub fn logs(&mut self) -> Vec<(Level, String)> {
        self.host.logs.take()
    }
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("table", &self.table).finish_non_exhaustive()
    }
}
