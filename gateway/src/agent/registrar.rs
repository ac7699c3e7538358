//! Tells the registry where the backend is, for as long as it is.
//!
//! In: whether the backend is to be known. Out: a registration that is kept up. A registry that does not answer is asked again, by its
//! next server; one that has forgotten the backend is told again. When nobody keeps it up (we were killed, or the machine has
//! gone) the registry forgets it by itself.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::discovery::{Backoff, Registration};

/// How long leaving may take; after that the registry forgets it by itself.
const LEAVE: Duration = Duration::from_secs(3);

/// What stood for so long is not one of those attempts that fail one after the other.
const STOOD: Duration = Duration::from_secs(10);

/// Whoever tells the registry.
pub(super) struct Registrar {
    wanted: watch::Sender<bool>,
    known: watch::Receiver<bool>,
}

impl Registrar {
    /// Begins; the backend is not to be known yet.
    pub(super) fn start(registration: Registration) -> Registrar {
        let (wanted, wants) = watch::channel(false);
        let (knows, known) = watch::channel(false);
        tokio::task::spawn_local(keep(registration, wants, knows));
        Registrar { wanted, known }
    }

    /// The backend is to be known from now on.
    pub(super) fn join(&self) {
        self.wanted.send_replace(true);
    }

    /// It is not to be known any more; the future is over when it is not, or nobody can be told.
    pub(super) fn leave(&self) -> impl Future<Output = ()> + use<> {
        self.wanted.send_replace(false);
        let mut known = self.known.clone();
        async move {
            let _ = tokio::time::timeout(LEAVE, known.wait_for(|known| !known)).await;
        }
    }
}

async fn keep(mut registration: Registration, mut wanted: watch::Receiver<bool>, known: watch::Sender<bool>) {
    while wanted.wait_for(|wanted| *wanted).await.is_ok() {
        // Set before the registry is told: whoever leaves then waits until it is sure that nothing is known.
        known.send_replace(true);
        tokio::select! {
            never = hold(&mut registration) => match never {},
            _ = wanted.wait_for(|wanted| !wanted) => {}
        }
        let mut ended = registration.end().await;
        if ended.is_err() {
            registration.next();
            ended = registration.end().await;
        }
        match ended {
            Ok(()) => tracing::info!(key = registration.key(), "the registry does not know the backend any more"),
            Err(why) => tracing::warn!(why, "the registry could not be told that the backend leaves"),
        }
        known.send_replace(false);
    }
}

/// Has it known until nobody waits for this any more.
async fn hold(registration: &mut Registration) -> Infallible {
    let mut backoff = Backoff::default();
    loop {
        match registration.make().await {
            Ok(()) => {
                tracing::info!(key = registration.key(), "the registry knows the backend");
                let since = Instant::now();
                match registration.stands().await {
                    Ok(()) => tracing::warn!(key = registration.key(), "the registry has forgotten the backend"),
                    Err(why) => {
                        tracing::warn!(why, "the registry does not answer");
                        registration.next();
                    }
                }
                if since.elapsed() > STOOD {
                    backoff.reset();
                }
            }
            Err(why) => {
                tracing::warn!(why, "the registry cannot be told of the backend");
                registration.next();
            }
        }
        backoff.pause().await;
    }
}
