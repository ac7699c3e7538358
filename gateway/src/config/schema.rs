//! The JSON Schema of the configuration: for editors, and for the check of keys and types in `load`.
//!
//! Draft 7 without references, since that is what TOML editors know; the configuration has no recursion.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::File;

/// The JSON Schema of the configuration.
pub fn schema() -> Value {
    shared().clone()
}

/// The same, made once.
pub(super) fn shared() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
        without_null(&mut schema);
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".into(), "Gatewright configuration".into());
        }
        schema
    })
}

/// TOML has no null: a key that may be left out is simply not required.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if key != "default" && key != "enum" && key != "examples" {
                    without_null(value);
                }
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            for union in ["anyOf", "oneOf"] {
                let Some(Value::Array(forms)) = object.get_mut(union) else { continue };
                forms.retain(|form| form.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = forms.as_slice() {
                    let only = only.clone();
                    object.remove(union);
                    // What the key says of itself goes before what its type says.
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            // A format names a Rust type of a number; range and type say it all.
            if object.get("format").is_some_and(Value::is_string) {
                object.remove("format");
            }
            if let Some(Value::Array(allowed)) = object.get_mut("enum") {
                allowed.retain(|value| !value.is_null());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
