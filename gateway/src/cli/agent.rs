//! `gatewright agent -- COMMAND`: runs beside a backend and tells a registry of it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{Failure, log};
use crate::agent::{self, LoadBounds, Settings, Where};
use crate::config::model::{self, CertificateFiles, Endpoint, Member, Registry, RegistryServer, UpstreamTls};
use crate::config::value;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The service that the command is a part of
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where others reach it, HOST:PORT
    #[arg(long, value_name = "ADDRESS", value_parser = value::endpoint)]
    address: String,
    /// Where it answers on this machine, if that is another address
    #[arg(long, value_name = "ADDRESS", value_parser = value::endpoint)]
    backend: Option<String>,
    /// A server of etcd, such as http://127.0.0.1:2379; may be given several times
    #[arg(long, required_unless_present = "zookeeper", value_name = "SERVER", value_parser = value::etcd_server)]
    etcd: Vec<RegistryServer>,
    /// A server of ZooKeeper, such as 127.0.0.1:2181 or tls://127.0.0.1:2281; may be given several times
    #[arg(long, conflicts_with = "etcd", value_name = "SERVER", value_parser = value::zookeeper_server)]
    zookeeper: Vec<RegistryServer>,
    /// What the key begins with, or the path above the node; the address follows. When not given, /services/NAME/
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// A file with USER:PASSWORD for the registry
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// PEM file with the authorities that servers are verified by, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file with our own certificate, when servers ask for one
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// How long the registry knows the backend without hearing of it again
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = lease)]
    ttl: Duration,
    /// The backend's share beside the others'
    #[arg(long, default_value_t = 1, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(1..))]
    weight: u16,
    /// For plugins: 0 goes before 1, and so on
    #[arg(long, default_value_t = 0, value_name = "PRIORITY", value_parser = clap::value_parser!(u32).range(..=100))]
    priority: u32,
    /// For plugins: where it stands
    #[arg(long, default_value = "", value_name = "ZONE")]
    zone: String,
    /// For plugins: whatever else is to be said of it; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// It is ready when it answers a GET of this path with 2xx or 3xx; when not given, when it takes connections
    #[arg(long, value_name = "PATH", value_parser = path)]
    ready_path: Option<String>,
    /// How long it may take until it is ready
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = value::duration)]
    start_time: Duration,
    /// How long its requests may take to end when the registry does not know it any more
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = value::duration)]
    drain_time: Duration,
    /// How long it may take to end after SIGTERM
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = value::duration)]
    stop_time: Duration,
    /// How often it is started again within ten minutes
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    restarts: usize,
    /// Share of the processors that is too much, such as 95%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_cpu: Option<f64>,
    /// Share of the memory that is too much
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_memory: Option<f64>,
    /// Connections beyond which there are too many
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<u64>,
    /// Requests under way beyond which there are too many
    #[arg(long, value_name = "COUNT")]
    max_requests: Option<u64>,
    /// How long something is too much, or nothing is answered, until the command is started again
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = value::duration)]
    patience: Duration,
    /// Where /health and /load are answered; when not given, nowhere
    #[arg(long, value_name = "ADDRESS", value_parser = value::socket_address)]
    listen: Option<SocketAddr>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs it; ends as the command did.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    log::start(&model::Log::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    let code = runtime.block_on(agent::run(arguments.settings()?))?;
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}

impl Arguments {
    fn settings(self) -> Result<Settings, Failure> {
        let certificate = self.certificate.zip(self.key);
        let tls = UpstreamTls {
            ca: self.ca,
            certificate: certificate.map(|(certificate, key)| CertificateFiles { certificate, key }),
            ..UpstreamTls::default()
        };
        let prefix = self.prefix.unwrap_or_else(|| format!("/services/{}/", self.name));
        let registry = |servers, prefix| Registry { servers, prefix, credentials: self.credentials, tls };
        let registry = match self.zookeeper.is_empty() {
            true => Where::Etcd(registry(self.etcd, prefix)),
            false => {
                let path = value::zookeeper_path(&prefix).map_err(|why| Failure(format!("--prefix {why}")))?;
                Where::ZooKeeper(registry(self.zookeeper, path))
            }
        };
        Ok(Settings {
            backend: self.backend.unwrap_or_else(|| self.address.clone()),
            member: Member {
                endpoint: Endpoint { address: self.address, weight: self.weight },
                priority: self.priority,
                drain: false,
                zone: self.zone,
                metadata: self.metadata,
            },
            registry,
            ttl: self.ttl,
            ready_path: self.ready_path,
            start_time: self.start_time,
            drain_time: self.drain_time,
            stop_time: self.stop_time,
            restarts: self.restarts,
            bounds: LoadBounds {
                cpu: self.max_cpu,
                memory: self.max_memory,
                connections: self.max_connections,
                requests: self.max_requests,
                patience: self.patience,
            },
            listen: self.listen,
            command: self.command,
        })
    }
}

/// Whole seconds, as registries count them.
fn lease(text: &str) -> Result<Duration, String> {
    match value::duration(text)? {
        time if time.subsec_nanos() == 0 && (2..=3600).contains(&time.as_secs()) => Ok(time),
        _ => Err("takes whole seconds from \"2s\" to \"1h\"".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    value::share(text).map(|share| f64::from(share) / 10_000.0)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "takes KEY=VALUE".to_owned())
}

fn path(text: &str) -> Result<String, String> {
    let right = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    right.then(|| text.to_owned()).ok_or_else(|| "takes a path, such as /healthz".to_owned())
}
