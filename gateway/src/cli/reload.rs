//! `gatewright reload`: has a running gateway read its configuration again, and tells how that went.

use serde_json::Value;

use super::admin::Where;
use super::{Failure, print};

/// Asks the gateway.
pub(super) fn reload(place: &Where) -> Result<(), Failure> {
    let or_signal = |Failure(message)| match place.is_given() {
        true => Failure(message),
        false => Failure(format!("{message}, or send SIGHUP instead")),
    };
    let gateway = place.gateway().map_err(or_signal)?;
    let answered = gateway.ask("POST", "/reload", b"").map_err(or_signal)?;
    let answer = answered.json();
    match answered.status {
        200 => {
            let changes = answer["changes"].as_str().filter(|changes| !changes.is_empty());
            print(format_args!("reloaded; {}", changes.unwrap_or("nothing changed in the configuration")))
        }
        422 => {
            let problems = answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let problems: Vec<&str> = problems.collect();
            Err(Failure(format!("not reloaded, the old configuration stays in force:\n{}", problems.join("\n"))))
        }
        status => Err(Failure(format!("{} answered {status}: {}", gateway.address, answered.body.trim()))),
    }
}
