//! Asking a running gateway, at its admin address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Failure;
use crate::config;
use crate::config::value::socket_address;

/// Reading certificates, looking up system roots and compiling take a moment on a slow machine.
const TIME: Duration = Duration::from_secs(120);
/// No answer is longer.
const MOST: u64 = 16 << 20;

/// Which gateway.
#[derive(Args)]
pub(super) struct Where {
    /// The configuration file
    #[arg(long, short, default_value = "gateway.toml", value_name = "FILE")]
    config: PathBuf,
    /// The admin address of the running gateway, instead of the one in the configuration
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    admin: Option<SocketAddr>,
}

/// A gateway that answers.
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    given: bool,
    /// Whether it has answered before.
    met: AtomicBool,
}

/// What it answered.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Where {
    /// Whether it was named, rather than taken from the configuration.
    pub(super) fn is_given(&self) -> bool {
        self.admin.is_some()
    }

    /// The same for whoever types it again, after a space.
    pub(super) fn again(&self) -> String {
        let default = Path::new("gateway.toml");
        match self.admin {
            Some(address) => format!(" --admin {address}"),
            None if self.config == default => String::new(),
            None => format!(" --config {}", quoted(&self.config.to_string_lossy())),
        }
    }

    /// Finds out where it is.
    pub(super) fn gateway(&self) -> Result<Gateway, Failure> {
        if let Some(address) = self.admin {
            return Ok(Gateway { address, given: true, met: AtomicBool::new(false) });
        }
        let address = configured(&self.config)?;
        address.map(|address| Gateway { address, given: false, met: AtomicBool::new(false) }).ok_or_else(|| {
            let file = self.config.display();
            Failure(format!("{file}: there is no [admin] address; give that of the running gateway with --admin"))
        })
    }
}

fn configured(path: &Path) -> Result<Option<SocketAddr>, Failure> {
    Ok(config::load(path)?.admin.map(|admin| admin.address))
}

impl Gateway {
    /// Asks for something, or sends it.
    pub(super) fn ask(&self, method: &str, target: &str, body: &[u8]) -> Result<Answered, Failure> {
        let answered = exchange(self.address, method, target, body);
        let met =
            if answered.is_ok() { self.met.swap(true, Ordering::Relaxed) } else { self.met.load(Ordering::Relaxed) };
        answered.map_err(|error| {
            if met {
                return Failure(format!(
                    "the gateway at {} does not answer any more: {error}\n\
                     If it was stopped, a trial has ended with it; when it starts, it begins with what the source gives",
                    self.address
                ));
            }
            let hint = match self.given {
                true => "",
                // A gateway that runs keeps the one that it was started with.
                false => "; if the admin address was changed since the start, give the old one with --admin",
            };
            Failure(format!("cannot reach the gateway at {}: {error}{hint}", self.address))
        })
    }
}

impl Answered {
    /// As JSON; nothing when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// `127.0.0.1:9000`, also as it stands in the URL of its pages.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    plain.strip_suffix('/').unwrap_or(plain).parse().or_else(|_| match text.split_once("://") {
        Some(_) => Err("takes an address and a port, such as 127.0.0.1:9090; the admin address speaks http".into()),
        None => socket_address(text),
    })
}

/// A text as a query has it.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A text as a shell takes it for one word.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn exchange(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> std::io::Result<Answered> {
    let mut tcp = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    tcp.set_read_timeout(Some(TIME))?;
    tcp.set_write_timeout(Some(TIME))?;
    let length = body.len();
    write!(
        tcp,
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    // Refused while it is sent, it is answered all the same.
    let sent = tcp.write_all(body);
    let mut answer = String::new();
    match tcp.take(MOST).read_to_string(&mut answer) {
        Err(error) if answer.is_empty() => return Err(sent.err().unwrap_or(error)),
        _ => {}
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("this is not the admin address of a gateway"))?;
    Ok(Answered { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_into_commands_whatever_they_are() {
        assert_eq!(quoted("/etc/gateway-1.toml"), "/etc/gateway-1.toml");
        assert_eq!(quoted("it's $here"), r"'it'\''s $here'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn names_go_into_queries_whatever_they_are() {
        assert_eq!(escaped("fastest-2_a.b"), "fastest-2_a.b");
        assert_eq!(escaped("a b&c=d%é"), "a%20b%26c%3Dd%25%C3%A9");
    }
}
