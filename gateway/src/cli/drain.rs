//! `gatewright drain`: takes an endpoint out of use in a running gateway, or puts it back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;

use super::admin::{Answered, Gateway, Where, escaped};
use super::{Failure, print};
use crate::config::value;

/// How often a gateway is asked whether the endpoint is done.
const PAUSE: Duration = Duration::from_millis(100);

/// Which endpoint, and what becomes of it.
#[derive(Args)]
pub(super) struct Arguments {
    /// The pool
    pool: String,
    /// The endpoint, as its address is written in the configuration
    address: String,
    /// Put it back
    #[arg(long, conflicts_with = "wait")]
    undo: bool,
    /// Wait until it has finished what it works on, at most so long
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    place: Where,
}

/// Tells the gateway, and waits.
pub(super) fn drain(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { pool, address, undo, wait, place } = arguments;
    let gateway = place.gateway()?;
    let what = if *undo { "undrain" } else { "drain" };
    let target = format!("/{what}?pool={}&address={}", escaped(pool), escaped(address));
    let mut active = order(&gateway, &target)?;
    if *undo {
        return print(format_args!("{address} gets requests again"));
    }
    print(format_args!("{address} gets no new requests; it works on {active}"))?;
    let Some(wait) = wait else { return Ok(()) };
    let began = Instant::now();
    while active > 0 {
        if began.elapsed() >= *wait {
            return Err(Failure(format!("{address} still works on {active}")));
        }
        sleep(PAUSE);
        active = order(&gateway, &target)?;
    }
    print(format_args!("{address} has finished"))
}

/// How many requests the endpoint works on.
fn order(gateway: &Gateway, target: &str) -> Result<u64, Failure> {
    let answered = gateway.ask("POST", target, b"")?;
    let answer = answered.json();
    match &answered {
        Answered { status: 200, .. } => Ok(answer["active"].as_u64().unwrap_or(0)),
        Answered { status, body } => {
            let problem = answer["problem"].as_str().unwrap_or(body.trim());
            Err(Failure(format!("{} answered {status}: {problem}", gateway.address)))
        }
    }
}
