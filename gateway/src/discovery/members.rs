//! Members as files and registries write them: an address, or a table with what else is to be said of it.
//!
//! Pure. In: JSON, or TOML with the same keys. Out: members, or the first thing that is wrong.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use serde::Deserialize;
use serde_json::Value;

use crate::config::model::{Endpoint, Member};
use crate::config::value;

/// A member in a table: the keys of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: String,
    weight: Option<u16>,
    priority: Option<u32>,
    drain: Option<bool>,
    zone: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

/// An instance of a service as Curator writes it, besides much else.
#[derive(Deserialize)]
struct Instance {
    address: String,
    port: Option<u16>,
    #[serde(rename = "sslPort")]
    ssl_port: Option<u16>,
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    endpoints: Vec<Value>,
}

/// The members of a file: `endpoints = [ … ]` in TOML; in JSON the same, or the list alone.
pub(super) fn of_file(text: &str, json: bool) -> Result<Vec<Member>, String> {
    let list = match json {
        true => match serde_json::from_str(text).map_err(|error| error.to_string())? {
            Value::Array(endpoints) => List { endpoints },
            other => serde_json::from_value(other).map_err(|error| error.to_string())?,
        },
        false => toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', " "))?,
    };
    let read = |(index, value)| of_value(value).map_err(|error| format!("endpoints[{index}]: {error}"));
    list.endpoints.into_iter().enumerate().map(read).collect()
}

/// The member that a key of a registry says: JSON, an address alone, or what Curator's service discovery writes.
pub(super) fn of_entry(text: &[u8]) -> Result<Member, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8".to_owned())?.trim();
    match text.starts_with(['{', '"']) {
        true => {
            let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            match ["port", "sslPort"].iter().any(|key| value.get(key).is_some()) {
                true => of_instance(value),
                false => of_value(value),
            }
        }
        false => of_value(Value::String(text.to_owned())),
    }
}

/// As a registry is told of a member.
pub(super) fn entry(member: &Member) -> String {
    let metadata: BTreeMap<_, _> = member.metadata.iter().map(|(key, value)| (key, value)).collect();
    serde_json::json!({
        "address": member.endpoint.address,
        "weight": member.endpoint.weight,
        "priority": member.priority,
        "drain": member.drain,
        "zone": member.zone,
        "metadata": metadata,
    })
    .to_string()
}

/// One that is not enabled gets nothing new.
fn of_instance(value: Value) -> Result<Member, String> {
    let instance: Instance = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let port = instance.port.or(instance.ssl_port).ok_or("it has no port")?;
    let host = match instance.address.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => instance.address,
    };
    let member = of_value(Value::String(format!("{host}:{port}")))?;
    Ok(Member { drain: instance.enabled == Some(false), ..member })
}

fn of_value(value: Value) -> Result<Member, String> {
    let written = match value {
        Value::String(address) => {
            Written { address, weight: None, priority: None, drain: None, zone: None, metadata: None }
        }
        table => serde_json::from_value(table).map_err(|error| error.to_string())?,
    };
    let address = value::endpoint(&written.address).map_err(|error| format!("address: {error}"))?;
    let weight = written.weight.unwrap_or(1);
    let priority = written.priority.unwrap_or(0);
    if weight == 0 {
        return Err("weight: takes a whole number from 1 to 65535".to_owned());
    }
    if priority > 100 {
        return Err("priority: takes a whole number from 0 to 100".to_owned());
    }
    Ok(Member {
        endpoint: Endpoint { address, weight },
        priority,
        drain: written.drain.unwrap_or(false),
        zone: written.zone.unwrap_or_default(),
        metadata: written.metadata.unwrap_or_default().into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = "endpoints = [\"a:1\", { address = \"b:2\", weight = 3, priority = 1, drain = true, zone = \"z\", metadata = { k = \"v\" } }]";
        let json = r#"["a:1", {"address": "b:2", "weight": 3, "priority": 1, "drain": true, "zone": "z", "metadata": {"k": "v"}}]"#;
        let members = of_file(toml, false).unwrap();
        assert_eq!(members, of_file(json, true).unwrap());
        assert_eq!(members, of_file(&format!("{{\"endpoints\": {json}}}"), true).unwrap());
        assert_eq!(of_entry(entry(&members[1]).as_bytes()).unwrap(), members[1]);
        assert_eq!(of_entry(b" a:1\n").unwrap(), members[0]);
    }

    #[test]
    fn instances_as_curator_writes_them_are_read() {
        let text = r#"{"name":"a","id":"1","address":"10.0.0.7","port":8080,"sslPort":null,"payload":null,
            "registrationTimeUTC":1,"serviceType":"DYNAMIC","uriSpec":null,"enabled":false}"#;
        let member = of_entry(text.as_bytes()).unwrap();
        assert_eq!((&*member.endpoint.address, member.drain), ("10.0.0.7:8080", true));
        let address = |text: &str| of_entry(text.as_bytes()).map(|member| member.endpoint.address);
        assert_eq!(address(r#"{"address":"::1","port":null,"sslPort":443}"#), Ok("[::1]:443".to_owned()));
        assert!(address(r#"{"address":"a","port":null}"#).is_err());
        assert!(address(r#"{"address":"a","port":70000}"#).is_err());
        assert!(address(r#"{"address":"a b","port":1}"#).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| of_file(text, true).unwrap_err();
        assert!(wrong(r#"["a:1", "b"]"#).starts_with("endpoints[1]: address: takes host and port"));
        assert!(wrong(r#"[{"address": "a:1", "wait": 1}]"#).contains("unknown field `wait`"));
        assert!(wrong(r#"[{"address": "a:1", "weight": 0}]"#).contains("weight: takes"));
        assert!(wrong(r#"[{"address": "a:1", "weight": 70000}]"#).contains("70000"));
        assert!(wrong(r#"[{"address": "a:1", "priority": 101}]"#).contains("priority: takes"));
        assert!(wrong("").contains("EOF"));
        // A file that is being written is empty for a moment.
        assert!(of_file("", false).unwrap_err().contains("endpoints"));
        assert!(of_entry(&[0xff]).is_err());
    }
}
