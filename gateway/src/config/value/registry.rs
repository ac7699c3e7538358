//! Servers of registries, and where endpoints stand in them.

use super::{endpoint, host_name};
use crate::config::model::RegistryServer;
use crate::config::problem::excerpt;

/// `http://HOST:PORT` or `https://HOST:PORT`; without a port it is 2379.
pub fn etcd_server(text: &str) -> Result<RegistryServer, String> {
    let wrong = || format!("takes the address of a server, such as \"http://127.0.0.1:2379\", not {:?}", excerpt(text));
    let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    let authority = authority.trim_end_matches('/');
    let address = match host_name(authority) {
        Ok(()) => format!("{authority}:2379"),
        Err(_) => endpoint(authority).map_err(|_| wrong())?,
    };
    Ok(RegistryServer { tls, address })
}

/// What keys begin with.
pub fn etcd_prefix(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("takes what the keys of endpoints begin with, such as \"/services/api/\"".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// `HOST:PORT` or `tls://HOST:PORT`; in cleartext without a port it is 2181.
pub fn zookeeper_server(text: &str) -> Result<RegistryServer, String> {
    let wrong = |hint: &str| {
        let text = excerpt(text);
        format!(
            "takes the address of a server, such as \"10.0.0.5:2181\" or \"tls://10.0.0.5:2281\", not {text:?}{hint}"
        )
    };
    let (tls, authority) = match text.strip_prefix("tls://") {
        Some(authority) => (true, authority),
        None => (false, text),
    };
    if authority.contains(',') {
        return Err(wrong("; each server stands by itself"));
    }
    if authority.contains('/') {
        return Err(wrong("; a chroot is the beginning of the prefix"));
    }
    let address = match host_name(authority) {
        Ok(()) if !tls => format!("{authority}:2181"),
        _ => endpoint(authority).map_err(|_| wrong(""))?,
    };
    Ok(RegistryServer { tls, address })
}

/// The path of a node, without a slash at its end.
pub fn zookeeper_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let wrong = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
    match path.strip_prefix('/') {
        Some(inner) if !inner.split('/').any(wrong) => Ok(path.to_owned()),
        _ => Err(format!("takes the path of a node, such as \"/services/api/\", not {:?}", excerpt(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_zookeeper_are_read() {
        let read = |text: &str| zookeeper_server(text).map(|server| (server.tls, server.address));
        assert_eq!(read("a"), Ok((false, "a:2181".to_owned())));
        assert_eq!(read("[::1]:1"), Ok((false, "[::1]:1".to_owned())));
        assert_eq!(read("tls://a:2281"), Ok((true, "a:2281".to_owned())));
        assert!(read("tls://a").is_err() && read("http://a:1").is_err() && read("").is_err());
        assert!(read("a:1,b:1").unwrap_err().contains("each server stands by itself"));
        assert!(read("a:1/prod").unwrap_err().contains("a chroot is the beginning of the prefix"));
    }

    #[test]
    fn paths_of_nodes_are_read() {
        assert_eq!(zookeeper_path("/a/b/"), Ok("/a/b".to_owned()));
        for wrong in ["", "/", "a", "//a", "/a//", "/a/./b", "/a/..", "/a\u{0}"] {
            assert!(zookeeper_path(wrong).is_err(), "{wrong:?}");
        }
    }
}
