//! `gatewright reload`: has a running gateway read its configuration again, and tells how that went.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Failure, print};
use crate::config;
use crate::config::value::socket_address;

/// Reading certificates and looking up system roots takes a moment on a slow disk.
const TIME: Duration = Duration::from_secs(60);

/// Asks the gateway at `admin`, or at the admin address in the file.
pub(super) fn reload(path: &Path, admin: Option<SocketAddr>) -> Result<(), Failure> {
    let given = admin.is_some();
    let admin = match admin {
        Some(admin) => admin,
        None => {
            let config = config::load(path)?;
            let admin = config.admin.map(|admin| admin.address);
            admin.ok_or_else(|| {
                let file = path.display();
                Failure(format!("{file}: there is no [admin] address; give it with --admin, or send SIGHUP instead"))
            })?
        }
    };
    let (status, body) = post(admin, "/reload").map_err(|error| {
        let hint = match given {
            true => "",
            // A gateway that runs keeps the one that it was started with.
            false => "; if the admin address was changed since the start, give the old one with --admin, or send SIGHUP instead",
        };
        Failure(format!("cannot reach {admin}: {error}{hint}"))
    })?;
    let answer: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    match status {
        200 => {
            let changes = answer["changes"].as_str().filter(|changes| !changes.is_empty());
            print(format_args!("reloaded; {}", changes.unwrap_or("nothing changed in the configuration")))
        }
        422 => {
            let problems = answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let problems: Vec<&str> = problems.collect();
            Err(Failure(format!("not reloaded, the old configuration stays in force:\n{}", problems.join("\n"))))
        }
        status => Err(Failure(format!("{admin} answered {status}: {}", body.trim()))),
    }
}

/// `127.0.0.1:9000`, also as it stands in the URL of its pages.
pub(super) fn admin_address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    plain.strip_suffix('/').unwrap_or(plain).parse().or_else(|_| match text.split_once("://") {
        Some(_) => Err("takes an address and a port, such as 127.0.0.1:9090; the admin address speaks http".into()),
        None => socket_address(text),
    })
}

fn post(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut tcp = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    tcp.set_read_timeout(Some(TIME))?;
    write!(tcp, "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // An answer is small; whoever sends more than this is no gateway.
    tcp.take(1 << 20).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("this is not the admin address of a gateway"))?;
    Ok((status, body.to_owned()))
}
