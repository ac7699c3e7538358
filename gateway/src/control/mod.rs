//! The control thread: it alone changes what is in force.
//!
//! In: orders, from signals, operators and the gateway itself; files that change. Out: changes, one after the other, of which
//! whatever takes long is done on other threads; so that operators are answered, and the end begins, in the midst of one.
//!
//! `changes` takes the orders; `prepare` does what takes long, in `lanes` and at the places of a `workshop`; `steps` takes the
//! last step for plugins, and `tell` tells of it.

mod changes;
mod lanes;
mod members;
mod prepare;
mod steps;
mod tell;
mod workshop;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin::{self, Board};
use crate::config::model;
use crate::reload::{Force, Order};
use crate::sampling;
use crate::tls::{self, Stamps};
use crate::worker::{Command, Shared};

use changes::Changes;

/// How long workers may take beyond the time that they have for their requests.
const PATIENCE: Duration = Duration::from_secs(3);

/// The control thread.
pub struct Control {
    /// What is in force.
    pub force: Force,
    /// The file that it came from.
    pub file: Option<PathBuf>,
    /// What the files looked like that are watched.
    pub stamps: Stamps,
    /// Where listeners listen, for those who ask.
    pub addresses: Arc<Mutex<Vec<SocketAddr>>>,
    /// Where orders come from.
    pub orders: mpsc::WeakUnboundedSender<Order>,
}

impl Control {
    /// Obeys until the end.
    pub fn run(self, orders: mpsc::UnboundedReceiver<Order>, admin: Option<std::net::TcpListener>) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
            Ok(runtime) => {
                runtime.block_on(self.obey(orders, admin));
                // What is still being fetched or compiled is waited for by nobody.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!(%error, "the control thread cannot start"),
        }
    }

    async fn obey(self, mut orders: mpsc::UnboundedReceiver<Order>, admin: Option<std::net::TcpListener>) {
        let (shared, board) = (self.force.shared().clone(), Rc::<Board>::default());
        if let Some(socket) = admin {
            let desk = admin::Desk::new(shared.clone(), self.orders.clone(), board.clone());
            tokio::task::spawn_local(desk.serve(socket));
        }
        tokio::task::spawn_local(sampling::run(shared.clone()));
        let force = Rc::new(RefCell::new(self.force));
        let (changes, wanted) = mpsc::unbounded_channel();
        let changing = Changes::new(force.clone(), self.file, self.stamps, self.addresses, board);
        let changing = tokio::task::spawn_local(changing.make(wanted));
        let tell = |command: fn() -> Command| force.borrow().tell(command);
        loop {
            match orders.recv().await.unwrap_or(Order::Leave) {
                Order::Change(change) => {
                    // Refused when nobody makes changes any more; whoever asked sees that.
                    let _ = changes.send(change);
                }
                Order::ReopenLog => {
                    if let Some(log) = &shared.snapshot().access_log {
                        log.reopen();
                    }
                }
                Order::Stop => {
                    changing.abort();
                    let time = shared.snapshot().limits.drain_time;
                    tracing::info!(
                        connections = shared.metrics.connections_open(),
                        "stopping when all requests are finished"
                    );
                    force.borrow().tell(|| Command::Drain(time));
                    let left = force.borrow().workers_left();
                    return drain(&shared, orders, left, time, || tell(|| Command::Leave)).await;
                }
                Order::Leave => return tell(|| Command::Leave),
            }
        }
    }
}

async fn drain(
    shared: &Shared,
    mut orders: mpsc::UnboundedReceiver<Order>,
    left: impl Future<Output = ()>,
    time: Duration,
    leave: impl Fn(),
) {
    // Workers keep the time themselves; one that hangs is not waited for.
    let mut left = pin!(tokio::time::timeout(time + PATIENCE, left));
    let all_left = loop {
        tokio::select! {
            done = &mut left => break done.is_ok(),
            Some(order) = orders.recv() => {
                if matches!(order, Order::Leave) {
                    leave();
                }
            }
        }
    };
    match shared.requests_cut() {
        0 if all_left => tracing::info!("stopped; all requests were finished"),
        0 => tracing::warn!("stopped; a worker did not answer, and what it worked on was cut"),
        cut => tracing::warn!(requests = cut, "stopped; requests that took too long were cut"),
    }
    if let Some(log) = &shared.snapshot().access_log {
        log.flush(Duration::from_secs(1));
    }
}

/// The files whose change is a reason to reload.
pub fn watched(file: Option<&Path>, config: &model::Config) -> impl Iterator<Item = PathBuf> + use<> {
    let plugins = config.plugin_files().map(Path::to_owned).collect::<Vec<_>>();
    file.map(Path::to_owned).into_iter().chain(tls::files(config)).chain(plugins)
}
