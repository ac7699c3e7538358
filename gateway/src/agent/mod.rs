//! Runs beside a backend: starts it, tells a registry where it is, watches over it, and takes it out before it ends.
//!
//! In: a command, and where it will answer. Out: the exit code of the command. Invariant: the registry knows the backend only while
//! it takes connections and no bound is passed; before it is stopped it has left the registry, and whoever was told of it has had
//! time to finish. Limits: so many restarts in ten minutes, each after a longer pause.

mod desk;
mod load;
mod probe;
mod process;
mod registrar;
mod sockets;
mod watchdog;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::model::{Member, Registry};
use crate::discovery::{Backoff, Registration};
use desk::Desk;
use load::Meter;
use process::Process;
use registrar::Registrar;
use watchdog::{Bounds, Verdict, Watchdog};

/// What an agent is to do.
pub struct Settings {
    /// What the registry is told.
    pub member: Member,
    /// Which registry that is.
    pub registry: Where,
    /// How long the registry believes it without hearing of it again.
    pub ttl: Duration,
    /// Where the command answers.
    pub backend: String,
    /// The path that is asked for; `None`: that it takes connections is enough.
    pub ready_path: Option<String>,
    /// How long it may take to begin.
    pub start_time: Duration,
    /// How long requests may take to end when it has left the registry.
    pub drain_time: Duration,
    /// How long it may take to stop.
    pub stop_time: Duration,
    /// Restarts within `RESTARTS_IN`.
    pub restarts: usize,
    /// What is too much, and for how long.
    pub bounds: Bounds,
    /// Where `/health` and `/load` are answered.
    pub listen: Option<SocketAddr>,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Which registry is told.
pub enum Where {
    /// etcd.
    Etcd(Registry),
    /// ZooKeeper.
    ZooKeeper(Registry),
}

pub use watchdog::Bounds as LoadBounds;

/// In this time restarts are counted.
const RESTARTS_IN: Duration = Duration::from_secs(600);
/// How often load is measured and the backend is asked.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is asked while it begins.
const BEGIN: Duration = Duration::from_millis(50);
/// Those who were told of the backend need this long to hear that it has gone.
const HEARD: Duration = Duration::from_secs(1);

/// Why one run of the command ended.
enum End {
    /// It ended by itself.
    Exited(u8),
    /// It has to be restarted, for this reason.
    Unfit(String),
    /// We were told to end.
    Told,
}

/// The signals that end it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Does it until the command has ended for good, or a signal says so. The exit code.
pub async fn run(settings: Settings) -> std::io::Result<u8> {
    // Before the command runs: until then a signal ends us at once.
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let desk = Rc::new(Desk::default());
    if let Some(address) = settings.listen {
        let listener = tokio::net::TcpListener::bind(address).await?;
        tracing::info!(address = %listener.local_addr()?, "answering /health and /load");
        tokio::task::spawn_local(desk.clone().serve(listener));
    }
    let registrar = Registrar::start(match &settings.registry {
        Where::Etcd(etcd) => Registration::with_etcd(etcd, &settings.member, settings.ttl),
        Where::ZooKeeper(zookeeper) => Registration::with_zookeeper(zookeeper, &settings.member, settings.ttl),
    });
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let mut restarts: Vec<Instant> = Vec::new();
    loop {
        let mut process = Process::start(&settings.command)?;
        tracing::info!(pid = process.pid(), address = settings.backend, "the command was started");
        let end = live(&settings, &mut process, &desk, &registrar, &mut signals).await;
        desk.state("stopping");
        let left = registrar.leave();
        let code = match &end {
            End::Exited(code) => {
                left.await;
                *code
            }
            End::Unfit(_) | End::Told => {
                left.await;
                drain(&settings, &mut process, &mut signals).await;
                process.stop(settings.stop_time).await
            }
        };
        let why = match end {
            End::Told => {
                tracing::info!(code, "the command was stopped");
                return Ok(code);
            }
            End::Exited(0) => {
                tracing::info!("the command has ended");
                return Ok(0);
            }
            End::Exited(code) => format!("it ended with {code}"),
            End::Unfit(why) => why,
        };
        let now = Instant::now();
        restarts.retain(|at| now.duration_since(*at) < RESTARTS_IN);
        if restarts.is_empty() {
            backoff.reset();
        }
        if restarts.len() >= settings.restarts {
            tracing::error!(why, restarts = settings.restarts, "the command is not started again");
            // Whoever watches over us is to see that it did not end well.
            return Ok(code.max(1));
        }
        restarts.push(now);
        tracing::warn!(why, "the command is started again");
        desk.state("restarting");
        tokio::select! {
            () = backoff.pause() => {}
            () = signals.any() => return Ok(code),
        }
    }
}

/// One run of the command, until it ends or has to.
async fn live(
    settings: &Settings,
    process: &mut Process,
    desk: &Desk,
    registrar: &Registrar,
    signals: &mut Signals,
) -> End {
    desk.state("starting");
    let ready = async {
        while !probe::answers(&settings.backend, settings.ready_path.as_deref()).await {
            tokio::time::sleep(BEGIN).await;
        }
    };
    tokio::select! {
        ready = tokio::time::timeout(settings.start_time, ready) => {
            if ready.is_err() {
                return End::Unfit(format!("it did not answer within {:?}", settings.start_time));
            }
        }
        code = process.wait() => return End::Exited(code),
        () = signals.any() => return End::Told,
    }
    registrar.join();
    desk.state("ok");
    let mut meter = Meter::new(process.pid(), &settings.backend);
    let mut watchdog = Watchdog::new(settings.bounds);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            code = process.wait() => return End::Exited(code),
            () = signals.any() => return End::Told,
        }
        let measuring = async {
            let load = tokio::task::spawn_blocking(move || {
                let load = meter.measure();
                (meter, load)
            });
            (load.await, probe::answers(&settings.backend, settings.ready_path.as_deref()).await)
        };
        let (measured, answers) = tokio::select! {
            measured = measuring => measured,
            code = process.wait() => return End::Exited(code),
            () = signals.any() => return End::Told,
        };
        let Ok((back, load)) = measured else { return End::Told };
        meter = back;
        desk.load(load, settings.bounds.used(&load));
        match watchdog.judge(&load, answers, Instant::now()) {
            Verdict::Fine => desk.state("ok"),
            Verdict::Over(what) => desk.state(what),
            Verdict::Restart(what) => return End::Unfit(format!("{what} for {:?}", settings.bounds.patience)),
        }
    }
}

/// Waits until nobody uses the backend any more, or the time for that is over. A second signal ends it.
async fn drain(settings: &Settings, process: &mut Process, signals: &mut Signals) {
    let meter = Meter::new(process.pid(), &settings.backend);
    let unused = async {
        tokio::time::sleep(HEARD).await;
        while meter.connections() > 0 {
            tokio::time::sleep(LOOK / 10).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(settings.drain_time, unused) => {}
        _ = process.wait() => {}
        () = signals.any() => {}
    }
}
