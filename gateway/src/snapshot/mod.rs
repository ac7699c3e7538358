//! What a request needs of the configuration, compiled.
//!
//! In: a checked configuration, and the snapshot before it. Out: an immutable snapshot, shared by all workers, that a request
//! holds from its first to its last byte. Compiling reads certificate files and fails without any effect.

mod caching;
mod course;
pub mod given;
mod members;
mod plugins;
pub mod terms;

use std::path::Path;
use std::sync::Arc;

use crate::access_log::Sink;
use crate::balance::Room;
use crate::config::Problem;
use crate::config::model::{Action, CheckTls, Config, Mirror, Place, Pool, Route, Timeouts, UpstreamProtocol};
use crate::files::Folder;
use crate::http::FieldName;
use crate::limits::Limits;
use crate::metrics::{Metrics, PoolId, RouteId};
use crate::plugin::House;
use crate::route::RouteTable;
use crate::tls::{TlsProblem, UpstreamTls};
use crate::upstream::{PoolState, Times};
pub use caching::{Caching, place};
pub use given::Given;
pub use members::Found;
pub use plugins::{Course, Deployed, Step};

/// A configuration, ready to serve requests.
pub struct Snapshot {
    /// Counts up with each reload.
    pub number: u64,
    /// What it was made from.
    pub config: Arc<Config>,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// Finds routes.
    pub table: Arc<RouteTable>,
    /// In the order of the configuration.
    pub plugins: Arc<Vec<Deployed>>,
    /// In the order of the configuration.
    pub routes: Arc<Vec<CompiledRoute>>,
    /// In the order of the configuration.
    pub pools: Vec<CompiledPool>,
    /// Fields that carry a client's identity on some listener: believed from nobody.
    pub identity_fields: Arc<[FieldName]>,
    /// Where access-log lines go.
    pub access_log: Option<Sink>,
}

/// A route with what was made ready for it.
pub struct CompiledRoute {
    /// Its configuration.
    pub model: Route,
    /// Its counters.
    pub id: RouteId,
    /// The times of a request on it.
    pub times: Times,
    /// The folder of a static route.
    pub folder: Option<Folder>,
    /// What is kept of its responses.
    pub caching: Option<Box<Caching>>,
    /// Where copies of its requests go.
    pub mirror: Option<CompiledMirror>,
}

/// Where copies of a route's requests go, with what was made ready for that.
pub struct CompiledMirror {
    /// Its configuration.
    pub model: Mirror,
    /// How many there are.
    pub room: Arc<Room>,
    /// The times of a copy.
    pub times: Times,
}

/// A pool with what was made ready for it.
#[derive(Clone)]
pub struct CompiledPool {
    /// What all workers share of it.
    pub state: Arc<PoolState>,
    /// Its counters.
    pub id: PoolId,
}

impl Snapshot {
    /// Compiles a configuration, with what the sources of its plugins give. All problems are told at once.
    pub fn compile(
        config: Config,
        before: Option<&Snapshot>,
        metrics: &Arc<Metrics>,
        house: &House,
        given: &Given,
    ) -> Result<Snapshot, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut plugins = Vec::new();
        for index in 0..config.plugins.len() {
            let deployed = plugins::deploy(index, &config, (before, None), house, given);
            plugins.push(deployed.map_err(|wrong| problems.extend(wrong)).ok());
        }
        let limits = Arc::new(config.limits.clone());
        let pools: Vec<CompiledPool> = config
            .pools
            .iter()
            .filter_map(|pool| {
                let made = compile_pool(pool, &limits, &config, before, metrics, (&plugins, house));
                keep(made, &mut problems)
            })
            .collect();
        let routes: Vec<CompiledRoute> = config
            .routes
            .iter()
            .enumerate()
            .filter_map(|(index, route)| keep(compile_route(index, route, &config, before, metrics), &mut problems))
            .collect();
        let access_log = keep(open_access_log(&config, before, metrics), &mut problems).flatten();
        // A plugin that could not be looked at is missing without a problem.
        if !problems.is_empty() || plugins.iter().any(Option::is_none) {
            return Err(problems);
        }
        let number = before.map_or(1, |before| before.number + 1);
        let table = Arc::new(RouteTable::new(&config.routes));
        let identity_fields = identity_fields(&config);
        let plugins = Arc::new(plugins.into_iter().flatten().collect());
        let (config, routes) = (Arc::new(config), Arc::new(routes));
        Ok(Snapshot { identity_fields, number, limits, table, plugins, routes, pools, access_log, config })
    }

    /// Takes endpoints out of use as it says, when it comes into force.
    pub fn enters(&self) {
        self.pools.iter().for_each(|pool| pool.state.enters());
    }

    /// The plugin of this name.
    pub fn plugin(&self, name: &str) -> Option<&Deployed> {
        self.plugins.iter().find(|deployed| deployed.version.plugin.name() == name)
    }
}

fn identity_fields(config: &Config) -> Arc<[FieldName]> {
    let clients = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.client.as_ref());
    clients
        .flat_map(|client| [&client.subject_header, &client.san_header, &client.fingerprint_header])
        .flatten()
        .cloned()
        .collect()
}

fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// A problem with a file, told at the place where the configuration names it, or else with a key.
pub fn problem_with(config: &Config, path: Option<&Path>, key: &str, message: impl Into<String>) -> Problem {
    let written = path.and_then(|path| config.place(path)).cloned();
    let place = written.unwrap_or_else(|| {
        let (line, column) = config.mark(key).map_or((0, 0), |mark| (mark.line, mark.column));
        Place { line, column, key: key.to_owned() }
    });
    Problem::new(place, message)
}

/// Why a folder cannot be served; `None` when it can.
pub fn problem_with_folder(root: &Path) -> Option<String> {
    // By a name in it: that takes the right to open what lies there, and not only to see the folder itself.
    match std::fs::metadata(root.join(".")) {
        Ok(_) => None,
        Err(error) => Some(format!("{} is not a folder that can be served: {error}", root.display())),
    }
}

fn compile_pool(
    pool: &Pool,
    limits: &Arc<Limits>,
    config: &Config,
    before: Option<&Snapshot>,
    metrics: &Arc<Metrics>,
    (plugins, house): (&[Option<Deployed>], &House),
) -> Result<CompiledPool, Problem> {
    let same = before.and_then(|before| before.pools.iter().find(|old| old.state.model.name == pool.name));
    let tls = pool.tls.as_ref().map(|tls| UpstreamTls::load(tls, pool.protocol)).transpose();
    let problem = |key: &str, problem: TlsProblem| {
        let key = match problem {
            TlsProblem::NoSystemRoots(_) => format!("pool.{}.{key}.ca", pool.name),
            _ => format!("pool.{}.{key}", pool.name),
        };
        problem_with(config, problem.path(), &key, problem.to_string())
    };
    let tls = tls.map_err(|wrong| problem("tls", wrong))?;
    let check_tls = load_check_tls(pool).map_err(|wrong| problem("health.tls", wrong))?;
    // Who is asked for its load is asked over HTTP/1.1.
    let asks = pool.selection.load.as_ref().is_some_and(|load| load.path.is_some());
    let load_tls =
        pool.tls.as_ref().filter(|_| asks).map(|tls| UpstreamTls::load(tls, UpstreamProtocol::H1)).transpose();
    let load_tls = load_tls.map_err(|wrong| problem("tls", wrong))?;
    let mut state = PoolState::new(pool.clone(), tls, limits.clone(), same.map(|old| &*old.state));
    state.check_tls = check_tls;
    state.load_tls = load_tls;
    let before = same.map(|old| &*old.state);
    (state.crew, state.trying) = plugins::balancer(pool, config, plugins, &state.candidates, before, house)?;
    state.prepare_own(house.workers());
    Ok(CompiledPool { state: Arc::new(state), id: metrics.register_pool(&pool.name) })
}

/// The TLS of checks: their own, or the pool's, for what they speak.
fn load_check_tls(pool: &Pool) -> Result<Option<UpstreamTls>, TlsProblem> {
    let Some(health) = &pool.health else { return Ok(None) };
    let tls = match &health.tls {
        Some(CheckTls::Off) => None,
        Some(CheckTls::On(tls)) => Some(tls),
        None => pool.tls.as_ref(),
    };
    tls.map(|tls| UpstreamTls::load(tls, health.protocol(pool.protocol))).transpose()
}

fn compile_route(
    index: usize,
    route: &Route,
    config: &Config,
    before: Option<&Snapshot>,
    metrics: &Arc<Metrics>,
) -> Result<CompiledRoute, Problem> {
    let pool = match route.action {
        Action::Pool(pool) => config.pools.get(pool),
        _ => None,
    };
    let folder = match &route.action {
        Action::Static(folder) => {
            if let Some(message) = problem_with_folder(&folder.root) {
                return Err(problem_with(config, Some(&folder.root), &format!("route[{index}].static"), message));
            }
            Some(Folder::new(folder))
        }
        _ => None,
    };
    Ok(CompiledRoute {
        id: metrics.register_route(&route.name, pool.map(|pool| pool.name.as_str())),
        times: Times::of(&route.timeouts, pool.map(|pool| &pool.timeouts), &config.limits),
        folder,
        mirror: route.mirror.map(|mirror| compile_mirror(mirror, &route.name, config, before)),
        caching: route.cache.as_ref().map(|cache| Box::new(Caching::new(&route.name, cache))),
        model: route.clone(),
    })
}

/// Copies under way stay counted.
fn compile_mirror(model: Mirror, route: &str, config: &Config, before: Option<&Snapshot>) -> CompiledMirror {
    let same = before.and_then(|before| before.routes.iter().find(|old| old.model.name == route));
    let room = same.and_then(|old| old.mirror.as_ref()).map(|old| old.room.clone()).unwrap_or_default();
    let pool = config.pools.get(model.pool).map(|pool| &pool.timeouts);
    CompiledMirror { model, room, times: Times::of(&Timeouts::default(), pool, &config.limits) }
}

fn open_access_log(
    config: &Config,
    before: Option<&Snapshot>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Sink>, Problem> {
    let Some(wanted) = &config.access_log else { return Ok(None) };
    let same = before.and_then(|before| before.access_log.as_ref()).filter(|sink| sink.config() == wanted);
    if let Some(sink) = same {
        return Ok(Some(sink.clone()));
    }
    Sink::open(wanted, &config.limits, metrics.clone()).map(Some).map_err(|error| {
        problem_with(config, wanted.file.as_deref(), "access_log.output", format!("cannot write there: {error}"))
    })
}
