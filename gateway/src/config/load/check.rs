//! Holds the tree of a file against the schema: unknown keys, missing keys, wrong types, words that are none of those
//! which a key takes, numbers out of range.
//!
//! In: the tree with positions. Out: problems, the key path of every value, and the tree without what was wrong, so
//! that serde takes the rest and the later checks still run. A table without a key that it needs is taken out whole; one
//! whose keys are not ours becomes JSON text.
//! The walk goes only where the schema has something, so it is as deep as the schema and no deeper.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::report::{Report, Span};
use crate::config::hint;
use crate::config::problem::{alternatives, excerpt, suggestion};
use crate::config::shape::{SIZE_PATTERN, TIME_PATTERN};

/// Checks the whole file.
pub(super) fn check(root: &mut Spanned<DeTable<'_>>, schema: &Value, report: &mut Report<'_>) {
    let span = root.span();
    Walk { report }.table(root.get_mut(), &span, schema, "");
}

/// A key as it stands in a path: quoted when it is not bare.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let key = if bare { excerpt(key) } else { format!("{:?}", excerpt(key)) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

struct Walk<'r, 't> {
    report: &'r mut Report<'t>,
}

impl Walk<'_, '_> {
    /// Whether the value may stay.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &Value, path: &str) -> bool {
        let span = value.span();
        self.report.name(span.clone(), path);
        let mut forms = Vec::new();
        alternatives_of(schema, &mut forms);
        let kind = kind(value.get_ref());
        // A whole number is one where others would do, too.
        let fits = |form: &&Value| form["type"] == kind || (form["type"] == "number" && kind == "integer");
        let fitting: Vec<&Value> = forms.iter().copied().filter(fits).collect();
        let Some(&form) = fitting.first() else {
            let hint = instead(value.get_ref(), &forms, path);
            let message = hint.unwrap_or_else(|| format!("takes {}, not {}", takes(&forms), article(kind)));
            self.report.at(&span, message);
            // One table where a list of them stands: with the brackets mended, the rest of it is checked too.
            let list = forms.iter().find(|form| form["items"]["type"] == "object");
            if let (DeValue::Table(table), Some(form)) = (value.get_mut(), list) {
                return self.table(table, &span, &form["items"], &format!("{path}[0]")) && into_list(value, span);
            }
            return false;
        };
        match value.get_mut() {
            DeValue::Table(table) if form["additionalProperties"] == true => {
                let Some(json) = super::json::table(table, path, self.report) else { return false };
                *value.get_mut() = DeValue::String(json.into());
                true
            }
            DeValue::Table(table) => self.table(table, &span, form, path),
            DeValue::Array(items) => {
                if items.is_empty() && form["minItems"].as_u64() > Some(0) {
                    self.report.at(&span, "takes at least one item");
                    return false;
                }
                let mut number = 0;
                let mut kept = DeArray::new();
                for mut item in std::mem::replace(items, DeArray::new()) {
                    if self.value(&mut item, &form["items"], &format!("{path}[{number}]")) {
                        kept.push(item);
                    }
                    number += 1;
                }
                *items = kept;
                // Of a list without any right item nothing more can be said.
                number == 0 || !items.is_empty()
            }
            DeValue::String(text) => self.word(text, &fitting, &span),
            DeValue::Integer(number) if form["type"] != "number" => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.number(number, form, &span)
            }
            _ => true,
        }
    }

    /// Whether the table still has all keys that it needs.
    fn table(&mut self, table: &mut DeTable<'_>, span: &Span, schema: &Value, path: &str) -> bool {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let required = || required.iter().filter_map(Value::as_str);
        let present: Vec<bool> = required().map(|key| table.contains_key(key)).collect();
        let others = &schema["additionalProperties"];
        for (key, mut value) in std::mem::replace(table, DeTable::new()) {
            let name: &str = key.get_ref();
            let keep = match schema["properties"].get(name) {
                Some(schema) => self.value(&mut value, schema, &join(path, name)),
                None if others.is_object() => self.value(&mut value, others, &join(path, name)),
                None => {
                    // When too much is wrong to be shown, nearness is not worth its time.
                    let message = if self.report.is_full() { String::new() } else { unknown(name, schema) };
                    self.report.key(&key.span(), join(path, name), message);
                    false
                }
            };
            if keep {
                table.insert(key, value);
            } else {
                self.report.damage(span);
            }
        }
        let mut whole = true;
        for (key, present) in required().zip(present) {
            if !present {
                self.report.key(span, join(path, key), "is missing");
            }
            whole &= table.contains_key(key);
        }
        whole
    }

    fn word(&mut self, text: &str, forms: &[&Value], span: &Span) -> bool {
        let mut allowed = Vec::new();
        for form in forms {
            let words = words(form);
            if words.is_empty() || words.contains(&text) {
                return true;
            }
            allowed.extend(words);
        }
        let meant = suggestion(text, allowed.iter().copied());
        let allowed: Vec<_> = allowed.iter().map(|word| format!("{word:?}")).collect();
        self.report.at(span, format!("takes {}, not {:?}{meant}", alternatives(&allowed), excerpt(text)));
        false
    }

    fn number(&mut self, number: Option<i64>, form: &Value, span: &Span) -> bool {
        if let Some(allowed) = form["enum"].as_array() {
            if !allowed.iter().any(|value| value.as_i64().is_some() && value.as_i64() == number) {
                let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
                self.report.at(span, format!("takes {}", alternatives(&allowed)));
                return false;
            }
            return true;
        }
        let least = bound(&form["minimum"]).unwrap_or(i64::MIN);
        let most = bound(&form["maximum"]).unwrap_or(i64::MAX);
        if number.is_some_and(|number| (least..=most).contains(&number)) {
            return true;
        }
        let message = match most {
            i64::MAX => format!("takes a whole number from {least}"),
            most => format!("takes a whole number from {least} to {most}"),
        };
        self.report.at(span, message);
        false
    }
}

/// Makes a list of one item out of it; it may stay then.
fn into_list(value: &mut Spanned<DeValue<'_>>, span: Span) -> bool {
    let mut list = DeArray::new();
    let only = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    list.push(Spanned::new(span, only));
    *value.get_mut() = DeValue::Array(list);
    true
}

/// What to write instead of a value of a wrong type, where that can be told.
fn instead(value: &DeValue<'_>, forms: &[&Value], path: &str) -> Option<String> {
    let of = |kind: &str| forms.iter().any(|form| form["type"] == kind);
    match value {
        DeValue::Table(_) if forms.iter().any(|form| form["items"]["type"] == "object") && !path.contains('.') => {
            Some(format!("takes a list: {}", hint::double_brackets(path)))
        }
        DeValue::Array(items) if of("object") && items.iter().all(|item| item.get_ref().is_table()) => {
            let name = if matches!(path, "plugin" | "pool") { format!("{path}.NAME") } else { path.to_owned() };
            Some(format!("takes one table: write [{name}] with one bracket on either side"))
        }
        DeValue::Integer(number) if forms.iter().any(|form| form["pattern"] == TIME_PATTERN) => {
            let number: u64 = number.as_str().parse().ok()?;
            Some(format!("takes a time with its unit: write \"{number}s\""))
        }
        DeValue::String(text) if of("integer") && text.parse::<u64>().is_ok() => {
            Some(format!("takes a whole number: write {} without quotes", excerpt(text)))
        }
        DeValue::String(text) if of("boolean") && matches!(&**text, "true" | "false") => {
            Some(format!("takes true or false: write {text} without quotes"))
        }
        _ => None,
    }
}

/// Bounds are written as integers by hand and as floating-point numbers by derived code.
fn bound(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|bound| bound as i64))
}

/// The forms that a value may have, with those of unions taken apart.
fn alternatives_of<'s>(schema: &'s Value, forms: &mut Vec<&'s Value>) {
    let mut union = false;
    for key in ["anyOf", "oneOf"] {
        for form in schema[key].as_array().into_iter().flatten() {
            union = true;
            alternatives_of(form, forms);
        }
    }
    if !union {
        forms.push(schema);
    }
}

/// The type of a value by its name in JSON Schema.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

/// The words that a form takes; none when it takes any text.
fn words(form: &Value) -> Vec<&str> {
    let several = form["enum"].as_array().into_iter().flatten();
    several.chain(form.get("const")).filter_map(Value::as_str).collect()
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number with a fraction",
        "boolean" => "true or false",
        "date" => "a date or time",
        "array" => "a list",
        _ => "a table",
    }
}

fn takes(forms: &[&Value]) -> String {
    let mut takes: Vec<String> = Vec::new();
    for form in forms {
        let words = words(form);
        match words.as_slice() {
            [] if form["pattern"] == TIME_PATTERN => takes.push("a time such as \"250ms\"".to_owned()),
            [] if form["pattern"] == SIZE_PATTERN => takes.push("a size such as \"64KiB\"".to_owned()),
            [] => {
                let example = form["examples"][0].as_str().map(|example| format!(" such as {example:?}"));
                let what = article(form["type"].as_str().unwrap_or_default());
                takes.push(format!("{what}{}", example.unwrap_or_default()));
            }
            words => takes.extend(words.iter().map(|word| format!("{word:?}"))),
        }
    }
    takes.dedup();
    alternatives(&takes)
}

fn unknown(name: &str, schema: &Value) -> String {
    let known = || schema["properties"].as_object().into_iter().flat_map(|keys| keys.keys()).map(String::as_str);
    match suggestion(name, known()) {
        meant if !meant.is_empty() => format!("unknown key{meant}"),
        _ => {
            let known: Vec<_> = known().collect();
            // The bounds are too many for one line.
            if known.len() > 16 {
                return format!(
                    "unknown key; the {} that there are stand in config/README.md, \"Limits\"",
                    known.len()
                );
            }
            format!("unknown key; there are: {}", known.join(", "))
        }
    }
}
