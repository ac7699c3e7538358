//! A request over HTTP: its status, and whether a text is in the body.

use super::{Answer, Bad, Connected, authority, broken, request, send};
use crate::balance::Endpoint;
use crate::config::model::HttpCheck;
use crate::http::{Body, Frame, Method};
use crate::upstream::PoolState;

/// What is asked, in words.
pub(super) fn what(check: &HttpCheck) -> String {
    format!("{} {}", if check.head { "HEAD" } else { "GET" }, check.path)
}

/// Asks.
pub(super) async fn ask(
    connected: Connected,
    pool: &PoolState,
    endpoint: &Endpoint,
    check: &HttpCheck,
) -> Result<String, Bad> {
    let what = what(check);
    let method = if check.head { Method::HEAD } else { Method::GET };
    let mut head = request(&connected, method, &check.path, authority(pool, endpoint, check.host.as_deref()));
    for (name, value) in &check.headers {
        // Looked at when the configuration was read.
        let _ = head.fields.set(name, value.as_bytes());
    }
    let answer = send(connected, pool, &head, Body::Empty).await.map_err(|error| broken(&what, error))?;
    let status = answer.head.status.as_u16();
    let found = format!("HTTP {status} to {what}");
    if !check.status.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        return Err(Bad::new("status", found));
    }
    match &check.body {
        Some(wanted) => match contains(answer, wanted, pool.limits.health_body_size).await {
            Ok(true) => Ok(found),
            Ok(false) => Err(Bad::new("body", format_args!("{found}, and {wanted:?} is not in the body"))),
            Err(error) => Err(broken(&what, error)),
        },
        None => Ok(found),
    }
}

/// Whether the text is in the first bytes of the body.
async fn contains(mut answer: Answer, wanted: &str, most: u64) -> Result<bool, crate::error::Error> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < most {
        match answer.body.frame().await {
            None => break,
            Some(Ok(Frame::Data(data))) => bytes.extend_from_slice(data.get(..most - bytes.len()).unwrap_or(&data)),
            Some(Ok(Frame::Trailers(_))) => {}
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
}
