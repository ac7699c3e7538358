//! `gatewright serve` and `gatewright proxy`: a gateway without a file.
//!
//! Both write the configuration that one would write for it, so that they do nothing that a file could not.

use std::net::SocketAddr;
use std::path::Path;

use super::{Failure, log, run};
use crate::config::{self, model};

/// Serves a folder.
pub(super) fn serve(directory: &Path, listen: SocketAddr, listing: bool, tls: bool) -> Result<(), Failure> {
    let root =
        std::fs::canonicalize(directory).map_err(|error| Failure(format!("{}: {error}", directory.display())))?;
    let root = root.to_str().ok_or_else(|| Failure(format!("{}: the name is not UTF-8", directory.display())))?;
    let route = format!("[[route]]\nstatic = {{ root = {}, listing = {listing} }}\n", quoted(root));
    start(listen, tls, &route, &format!("{}", directory.display()))
}

/// Passes everything on.
pub(super) fn proxy(to: &[String], listen: SocketAddr, tls: bool) -> Result<(), Failure> {
    let endpoints: Vec<String> = to.iter().map(|endpoint| quoted(endpoint)).collect();
    let routes = format!("[pool.backend]\nendpoints = [{}]\n[[route]]\npool = \"backend\"\n", endpoints.join(", "));
    start(listen, tls, &routes, &to.join(", "))
}

fn start(listen: SocketAddr, tls: bool, routes: &str, what: &str) -> Result<(), Failure> {
    let text = format!("[[listener]]\naddress = \"{listen}\"\n{}\n{routes}", if tls { "tls = \"dev\"" } else { "" });
    let config: model::Config = config::parse(&text, Path::new("command line"))?;
    log::start(&model::Log { level: "warn".into(), json: false })?;
    run::run(|| {
        let gateway = crate::start(config)?;
        for address in gateway.addresses() {
            println!("{what} at http{}://{address}/", if tls { "s" } else { "" });
        }
        Ok(gateway)
    })
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
}
