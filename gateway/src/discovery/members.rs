//! Members as files and registries write them: an address, or a table with what else is to be said of it.
//!
//! Pure. In: JSON, or TOML with the same keys. Out: members, or the first thing that is wrong.

use std::collections::BTreeMap;

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

/// The member that a key of a registry says: JSON, or an address alone.
pub(super) fn of_entry(text: &[u8]) -> Result<Member, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8".to_owned())?.trim();
    match text.starts_with(['{', '"']) {
        true => of_value(serde_json::from_str(text).map_err(|error| error.to_string())?),
        false => of_value(Value::String(text.to_owned())),
    }
}

/// As a registry is told of a member.
pub fn entry(member: &Member) -> String {
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
