//! What a request needs of the configuration, compiled.
//!
//! In: a checked configuration, and the snapshot before it. Out: an immutable snapshot, shared by all workers, that a request
//! holds from its first to its last byte. Compiling reads certificate files and fails without any effect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::access_log::Sink;
use crate::config::model::{Action, Config, Pool, Route, Timeouts};
use crate::files::Folder;
use crate::limits::Limits;
use crate::metrics::{Metrics, PoolId, RouteId};
use crate::route::RouteTable;
use crate::tls::{TlsProblem, UpstreamTls};
use crate::upstream::PoolState;

/// A configuration, ready to serve requests.
pub struct Snapshot {
    /// Counts up with each reload.
    pub number: u64,
    /// What it was made from.
    pub config: Config,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// Finds routes.
    pub table: RouteTable,
    /// In the order of the configuration.
    pub routes: Vec<CompiledRoute>,
    /// In the order of the configuration.
    pub pools: Vec<CompiledPool>,
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
    pub folder: Option<Arc<Folder>>,
}

/// A pool with what was made ready for it.
pub struct CompiledPool {
    /// What all workers share of it.
    pub state: Arc<PoolState>,
    /// Its counters.
    pub id: PoolId,
}

/// How long things may take: the route's word before the pool's before the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Until an upstream connection stands.
    pub connect: Duration,
    /// Until one may be made.
    pub queue: Duration,
    /// From the request sent to the response's first byte.
    pub first_byte: Duration,
    /// Without progress of a body.
    pub idle_body: Duration,
    /// The whole exchange.
    pub request: Option<Duration>,
}

/// Why a configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A certificate, key or CA file.
    #[error("{place}: {problem}")]
    Tls {
        /// The key path.
        place: String,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// A folder of static files.
    #[error("{place}: {path}: {error}")]
    Folder {
        /// The key path.
        place: String,
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
    /// The access log.
    #[error("access_log.output: {0}")]
    AccessLog(std::io::Error),
    /// An address.
    #[error("{place}: cannot listen on {address}: {error}")]
    Listen {
        /// The key path.
        place: String,
        /// The address.
        address: std::net::SocketAddr,
        /// What is wrong.
        error: std::io::Error,
    },
}

impl Snapshot {
    /// Compiles a configuration. All problems are told at once.
    pub fn compile(
        config: Config,
        before: Option<&Snapshot>,
        metrics: &Arc<Metrics>,
    ) -> Result<Snapshot, Vec<Problem>> {
        let mut problems = Vec::new();
        let limits = Arc::new(config.limits.clone());
        let pools: Vec<CompiledPool> =
            config.pools.iter().filter_map(|pool| keep(compile_pool(pool, &limits, before, metrics), &mut problems)).collect();
        let routes: Vec<CompiledRoute> = config
            .routes
            .iter()
            .enumerate()
            .filter_map(|(index, route)| keep(compile_route(index, route, &config, metrics), &mut problems))
            .collect();
        let access_log = keep(open_access_log(&config, before, metrics), &mut problems).flatten();
        if !problems.is_empty() {
            return Err(problems);
        }
        let number = before.map_or(1, |before| before.number + 1);
        let table = RouteTable::new(&config.routes);
        Ok(Snapshot { number, limits, table, routes, pools, access_log, config })
    }
}

fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn compile_pool(
    pool: &Pool,
    limits: &Arc<Limits>,
    before: Option<&Snapshot>,
    metrics: &Arc<Metrics>,
) -> Result<CompiledPool, Problem> {
    let load = |tls| {
        UpstreamTls::load(tls, pool.protocol)
            .map_err(|problem| Problem::Tls { place: format!("pool.{}.tls", pool.name), problem })
    };
    let tls = pool.tls.as_ref().map(load).transpose()?;
    let same = before.and_then(|before| before.pools.iter().find(|old| old.state.model.name == pool.name));
    let state = PoolState::new(pool.clone(), tls, limits.clone(), same.map(|old| &*old.state));
    Ok(CompiledPool { state: Arc::new(state), id: metrics.register_pool(&pool.name) })
}

fn compile_route(
    index: usize,
    route: &Route,
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<CompiledRoute, Problem> {
    let pool = match route.action {
        Action::Pool(pool) => config.pools.get(pool),
        _ => None,
    };
    let folder = match &route.action {
        Action::Static(folder) => Some(Arc::new(Folder::open(folder).map_err(|error| Problem::Folder {
            place: format!("route[{index}].static"),
            path: folder.root.clone(),
            error,
        })?)),
        _ => None,
    };
    Ok(CompiledRoute {
        id: metrics.register_route(&route.name, pool.map(|pool| pool.name.as_str())),
        times: Times::of(&route.timeouts, pool.map(|pool| &pool.timeouts), &config.limits),
        folder,
        model: route.clone(),
    })
}

fn open_access_log(
    config: &Config,
    before: Option<&Snapshot>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Sink>, Problem> {
    let Some(wanted) = &config.access_log else { return Ok(None) };
    let same = before.and_then(|before| before.access_log.as_ref()).filter(|sink| sink.config() == wanted);
    match same {
        Some(sink) => Ok(Some(sink.clone())),
        None => Sink::open(wanted, &config.limits, metrics.clone()).map(Some).map_err(Problem::AccessLog),
    }
}

impl Times {
    fn of(route: &Timeouts, pool: Option<&Timeouts>, limits: &Limits) -> Times {
        let none = Timeouts::default();
        let pool = pool.unwrap_or(&none);
        Times {
            connect: route.connect.or(pool.connect).unwrap_or(Duration::from_secs(5)),
            queue: route.queue.or(pool.queue).unwrap_or(Duration::from_secs(5)),
            first_byte: route.first_byte.or(pool.first_byte).unwrap_or(Duration::from_secs(60)),
            idle_body: route.idle_body.or(pool.idle_body).unwrap_or(limits.body_idle_time),
            request: route.request.or(pool.request),
        }
    }
}
