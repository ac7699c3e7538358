//! The files that come along, and the schema: complete, true and closed.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use toml::Value as Toml;

use super::*;
use crate::config::schema;
use crate::limits::TABLE;

/// All keys of a schema with their defaults, as `route.match.host`; forms of a union are put together.
fn keys(schema: &Json, path: &str, found: &mut Vec<(String, Option<Json>)>) {
    for union in ["anyOf", "oneOf"] {
        schema[union].as_array().into_iter().flatten().for_each(|form| keys(form, path, found));
    }
    if schema["items"].is_object() {
        keys(&schema["items"], path, found);
    }
    if schema["additionalProperties"].is_object() {
        keys(&schema["additionalProperties"], &format!("{path}*."), found);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{path}{name}");
        found.push((name.clone(), schema.get("default").cloned()));
        keys(schema, &format!("{name}."), found);
    }
}

/// Calls `visit` with each key of a tree, by its path in the schema; what it says no to is taken out.
fn prune(value: &mut Toml, schema: &Json, path: &str, visit: &mut impl FnMut(&str, &Toml) -> bool) {
    for union in ["anyOf", "oneOf"] {
        schema[union].as_array().into_iter().flatten().for_each(|form| prune(value, form, path, visit));
    }
    match value {
        Toml::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"], path, visit)),
        Toml::Table(table) => table.retain(|name, value| {
            let mut name = format!("{path}{name}");
            let mut inner = &schema["properties"][&name[path.len()..]];
            if inner.is_null() && schema["additionalProperties"].is_object() {
                inner = &schema["additionalProperties"];
                name = format!("{path}*");
            }
            if inner.is_null() {
                return true;
            }
            let keep = name.ends_with('*') || visit(&name, value);
            prune(value, inner, &format!("{name}."), visit);
            keep
        }),
        _ => {}
    }
}

#[test]
fn every_file_that_comes_along_is_right() {
    for (name, text) in FILES {
        if let Err(problems) = parse(text, Path::new(name)) {
            panic!("{problems}");
        }
    }
    if let Err(problems) = parse(&uncommented(GATEWAY), Path::new("gateway.toml, uncommented")) {
        panic!("{problems}");
    }
}

#[test]
fn the_reference_file_has_every_key_with_its_true_default() {
    let schema = schema::schema();
    let mut known = Vec::new();
    keys(&schema, "", &mut known);
    assert!(known.len() > 100, "{known:#?}");

    let full: Toml = toml::from_str(&uncommented(GATEWAY)).unwrap();
    let mut missing: BTreeSet<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let mut defaults: BTreeSet<&str> =
        known.iter().filter(|(_, default)| default.is_some()).map(|(name, _)| name.as_str()).collect();
    let mut bare = full.clone();
    prune(&mut bare, &schema, "", &mut |name, value| {
        missing.remove(name);
        let json = serde_json::to_value(value).unwrap();
        let is_default = known.iter().any(|(known, default)| known == name && default.as_ref() == Some(&json));
        if is_default {
            defaults.remove(name);
        }
        !is_default
    });
    assert_eq!(missing, BTreeSet::new(), "keys that config/gateway.toml does not explain");
    assert_eq!(defaults, BTreeSet::new(), "keys that config/gateway.toml does not show with their default");
    let text = |value: &Toml| toml::to_string(value).unwrap();
    assert_ne!(text(&full), text(&bare));
    let (full, bare) = (without_places(read(&text(&full))), without_places(read(&text(&bare))));
    let differ = full.lines().zip(bare.lines()).find(|(full, bare)| full != bare);
    assert_eq!(differ, None, "a default that is none");
}

#[test]
fn the_schema_is_closed_explained_and_without_null() {
    fn look(schema: &Json, path: &str) {
        if schema["type"] == "object" {
            assert!(!schema["additionalProperties"].is_null(), "{path} takes any key");
        }
        assert_ne!(schema["type"], "null", "{path}");
        assert!(!schema["type"].is_array() && schema["$ref"].is_null(), "{path}: {schema}");
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 5), "{path}.{name}: {schema}");
            look(schema, &format!("{path}.{name}"));
        }
        for inner in ["anyOf", "oneOf"].iter().flat_map(|union| schema[*union].as_array()).flatten() {
            look(inner, path);
        }
        for inner in ["items", "additionalProperties"].map(|key| &schema[key]).into_iter().filter(|s| s.is_object()) {
            look(inner, path);
        }
    }
    let schema = schema::schema();
    look(&schema, "");
    for row in TABLE {
        let default: Json = serde_json::from_str(row.default).unwrap();
        assert_eq!(schema["properties"]["limits"]["properties"][row.name]["default"], default);
    }
}
