//! `gatewright serve` and `gatewright proxy`: a gateway without a file.
//!
//! Both write the configuration that one would write for it, so that they do nothing that a file could not. Nobody has
//! seen that configuration, so what is wrong with it is told by the option that it came from.

use std::net::SocketAddr;
use std::path::Path;

use super::{Failure, complain, log, misuse, print, run};
use crate::config::value::{self, socket_address};
use crate::config::{self, Problem, model};
use crate::run::StartError;

/// What both commands take.
#[derive(clap::Args)]
pub(super) struct Common {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS", value_parser = socket_address)]
    listen: SocketAddr,
    /// Serve https with a certificate that is made for it and signed by nobody
    #[arg(long)]
    tls: bool,
    /// One line of JSON for each request: to a file, to standard output (stdout), or none (off)
    #[arg(long, default_value = "off", value_name = "PATH|stdout|off")]
    access_log: String,
}

/// A backend, as it is written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    /// Host and port.
    address: String,
    https: bool,
}

/// Where the parts of the configuration come from, the more exact key first.
const OPTIONS: &[(&str, &str)] = &[
    ("listener[0].tls", "--tls"),
    ("listener", "--listen"),
    ("pool.backend.tls", "--upstream-ca"),
    ("pool", "--to"),
    ("access_log", "--access-log"),
    ("route[0].static", "DIRECTORY"),
];

/// Serves a folder.
pub(super) fn serve(directory: &Path, listing: bool, common: &Common) -> Result<(), Failure> {
    // One that is not there is told of with all that is wrong besides.
    let root = std::fs::canonicalize(directory).or_else(|_| std::path::absolute(directory))?;
    let root = root.to_str().ok_or_else(|| Failure(format!("{}: the name is not UTF-8", directory.display())))?;
    let route = format!("[[route]]\nstatic = {{ root = {}, listing = {listing} }}\n", quoted(root));
    start(common, &route, &format!("{}", directory.display()))
}

/// Passes everything on.
pub(super) fn proxy(to: &[Backend], ca: Option<&str>, common: &Common) -> Result<(), Failure> {
    let https = to.iter().any(|backend| backend.https);
    if to.iter().any(|backend| backend.https != https) {
        misuse("proxy", "--to: some backends are https:// and some are not; one proxy speaks to all of them alike");
    }
    if ca.is_some() && !https {
        misuse("proxy", "--upstream-ca: verifies backends that are given as https://HOST, and there are none");
    }
    for (number, backend) in to.iter().enumerate() {
        if to.iter().take(number).any(|other| other.address.eq_ignore_ascii_case(&backend.address)) {
            misuse("proxy", &format!("--to: {} is given twice", backend.address));
        }
    }
    let endpoints: Vec<String> = to.iter().map(|backend| quoted(&backend.address)).collect();
    let tls = match ca {
        Some(ca) => format!("tls = {{ ca = {} }}", quoted(ca)),
        None => format!("tls = {https}"),
    };
    // Who speaks https is asked by the name that the certificate is for.
    let host = if https { "endpoint" } else { "preserve" };
    let pool = format!("[pool.backend]\nendpoints = [{}]\n{tls}\nhost = \"{host}\"\n", endpoints.join(", "));
    let named: Vec<&str> = to.iter().map(|backend| backend.address.as_str()).collect();
    start(common, &format!("{pool}[[route]]\npool = \"backend\"\n"), &named.join(", "))
}

/// `HOST:PORT`, `http://HOST[:PORT]`, `https://HOST[:PORT]`.
pub(super) fn backend(text: &str) -> Result<Backend, String> {
    let (https, host, default) = match text.split_once("://") {
        None => return value::endpoint(text).map(|address| Backend { address, https: false }),
        Some(("http", rest)) => (false, rest, 80),
        Some(("https", rest)) => (true, rest, 443),
        Some(_) => return Err("takes HOST:PORT, http://HOST or https://HOST".into()),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.contains(['/', '?', '#', '@']) {
        return Err("takes a host with or without a port, and nothing behind it".into());
    }
    let address = match value::host_name(host) {
        Ok(()) => format!("{host}:{default}"),
        Err(_) => value::endpoint(host)?,
    };
    Ok(Backend { address, https })
}

fn start(common: &Common, routes: &str, what: &str) -> Result<(), Failure> {
    let tls = if common.tls { "tls = \"dev\"\n" } else { "" };
    let access_log = match common.access_log.as_str() {
        "off" => String::new(),
        output => format!("[access_log]\noutput = {}\n", quoted(output)),
    };
    let text = format!("[[listener]]\naddress = \"{}\"\n{tls}{routes}{access_log}", common.listen);
    let config = config::parse(&text, Path::new("command line")).map_err(|wrong| by_option(&wrong.problems))?;
    log::start(&model::Log { level: "warn".into(), json: false })?;
    run::run(async {
        let gateway = crate::start(config).map_err(|error| match error {
            StartError::Config(wrong) => by_option(&wrong.problems),
            other => other.into(),
        })?;
        for address in gateway.addresses() {
            let line = format!("{what} at http{}://{address}/", if common.tls { "s" } else { "" });
            // Standard output belongs to the access log then.
            if common.access_log == "stdout" { complain(line) } else { print(line)? }
        }
        Ok(gateway)
    })
}

/// Problems, each by the option that it comes from.
fn by_option(problems: &[Problem]) -> Failure {
    let line = |problem: &Problem| {
        let option = OPTIONS.iter().find(|(key, _)| problem.key.starts_with(key));
        option.map(|(_, option)| format!("{option}: {}", problem.message)).unwrap_or_else(|| problem.message.clone())
    };
    Failure(problems.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_quoted_so_that_it_can_be_read() {
        for name in ["plain", "with \"quotes\"", "back\\slash", "new\nline", "bell\u{7}", "ünï"] {
            let table: toml::Table = format!("name = {}", quoted(name)).parse().unwrap();
            assert_eq!(table["name"].as_str(), Some(name));
        }
    }

    #[test]
    fn backends_may_have_a_scheme() {
        for (written, address, https) in [
            ("a:81", "a:81", false),
            ("http://a", "a:80", false),
            ("http://a:81/", "a:81", false),
            ("https://a.example", "a.example:443", true),
            ("https://[::1]:8443", "[::1]:8443", true),
            ("https://[::1]", "[::1]:443", true),
        ] {
            assert_eq!(backend(written), Ok(Backend { address: address.into(), https }), "{written}");
        }
        for wrong in ["", "a", "https://", "https://a/b", "https://u@a", "ftp://a", "https://a:0", "unix:/a"] {
            assert!(backend(wrong).is_err(), "{wrong}");
        }
    }
}
