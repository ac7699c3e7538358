//! The health service of gRPC, `grpc.health.v1.Health/Check`, over HTTP/2.
//!
//! Of protocol buffers it takes one field each way: `service` (1, text), and `status` (1, number). Others are passed over.
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use super::{Bad, Connected, authority, broken, request, send, set};
use crate::balance::Endpoint;
use crate::http::{Body, Fields, Frame, Method};
use crate::upstream::PoolState;

/// The longest answer that is taken.
const MOST: usize = 4096;

/// What is asked, in words.
pub(super) fn what(service: &str) -> String {
    match service {
        "" => "the health check of gRPC".to_owned(),
        service => format!("the health check of {service}"),
    }
}

/// Asks.
pub(super) async fn ask(
    connected: Connected,
    pool: &PoolState,
    endpoint: &Endpoint,
    service: &str,
    host: Option<&str>,
) -> Result<String, Bad> {
    let what = what(service);
    let host = authority(pool, endpoint, host);
    let mut head = request(&connected, Method::POST, "/grpc.health.v1.Health/Check", host);
    set(&mut head, "content-type", "application/grpc");
    set(&mut head, "te", "trailers");
    let body = Body::full(message(service));
    let mut answer = send(connected, pool, &head, body).await.map_err(|error| broken(&what, error))?;
    let status = answer.head.status.as_u16();
    if status != 200 {
        return Err(Bad::new("status", format_args!("HTTP {status} to {what}")));
    }
    let mut bytes: Vec<u8> = Vec::new();
    let mut code = grpc_status(&answer.head.fields);
    while let Some(frame) = answer.body.frame().await {
        match frame.map_err(|error| broken(&what, error))? {
            Frame::Data(data) if bytes.len() + data.len() <= MOST => bytes.extend_from_slice(&data),
            Frame::Data(_) => return Err(Bad::new("broken", format_args!("{what}: its answer is too long"))),
            Frame::Trailers(trailers) => code = code.or(grpc_status(&trailers)),
        }
    }
    judge(code, &bytes, &what)
}

/// What the answer comes to.
fn judge(code: Option<u32>, bytes: &[u8], what: &str) -> Result<String, Bad> {
    match code {
        Some(0) => {}
        Some(code) => {
            let name = match code {
                5 => " (not found)",
                12 => " (unimplemented)",
                14 => " (unavailable)",
                16 => " (unauthenticated)",
                _ => "",
            };
            return Err(Bad::new("status", format_args!("gRPC status {code}{name} to {what}")));
        }
        None => return Err(Bad::new("broken", format_args!("{what}: its answer has no gRPC status"))),
    }
    let told = match serving(bytes) {
        None => return Err(Bad::new("broken", format_args!("{what}: its answer is malformed"))),
        Some(1) => return Ok(format!("SERVING to {what}")),
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        Some(_) => "UNKNOWN",
    };
    Err(Bad::new("status", format_args!("{told} to {what}")))
}

/// A `HealthCheckRequest`, uncompressed, behind its length.
fn message(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// The status of a `HealthCheckResponse`; `None`: it is none.
fn serving(bytes: &[u8]) -> Option<u64> {
    let (flag, rest) = bytes.split_first()?;
    let (length, mut message) = rest.split_first_chunk::<4>()?;
    if *flag != 0 || u32::from_be_bytes(*length) as usize != message.len() {
        return None;
    }
    // A field that is left out has its default.
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, kind @ (1 | 2 | 5)) => {
                let length = match kind {
                    1 => 8,
                    5 => 4,
                    _ => usize::try_from(varint(&mut message)?).ok()?,
                };
                message = message.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn grpc_status(fields: &Fields) -> Option<u32> {
    fields.text("grpc-status")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_length_and_the_service() {
        assert_eq!(message(""), [0, 0, 0, 0, 0]);
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(200));
        assert_eq!(long.get(..8), Some(&[0, 0, 0, 0, 203, 0x0a, 0xc8, 1][..]));
    }

    #[test]
    fn an_answer_is_read_past_what_is_not_known() {
        assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving(&[0, 0, 0, 0, 0]), Some(0));
        // Field 2 as text, field 3 as a fixed number, then the status.
        assert_eq!(serving(&[0, 0, 0, 0, 11, 0x12, 2, b'a', b'b', 0x1d, 1, 2, 3, 4, 8, 2]), Some(2));
        for wrong in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 3, 8, 1], &[0, 0, 0, 0, 1, 8]] {
            assert_eq!(serving(wrong), None, "{wrong:?}");
        }
        assert_eq!(serving(&[0, 0, 0, 0, 2, 0x12, 9]), None);
        assert_eq!(serving(&[[0, 0, 0, 0, 12, 8].as_slice(), &[0xff; 11]].concat()), None);
    }

    #[test]
    fn only_serving_is_healthy() {
        let found = |code, status| judge(code, &[0, 0, 0, 0, 2, 8, status], "x");
        assert_eq!(found(Some(0), 1), Ok("SERVING to x".to_owned()));
        assert_eq!(found(Some(0), 2).unwrap_err().reason, "NOT_SERVING to x");
        assert_eq!(found(Some(12), 1).unwrap_err().reason, "gRPC status 12 (unimplemented) to x");
        assert!(found(None, 1).is_err() && judge(Some(0), b"", "x").is_err());
    }
}
