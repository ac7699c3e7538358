//! A table whose keys are not the gateway's, as JSON.
//!
//! In: the tree with positions. Out: JSON text with the keys in the order of the file and dates as text, or every value that
//! JSON cannot say. As deep as the TOML parser lets a file be; paths are put together only for what is reported.

use std::fmt::Write;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::join;
use super::report::Report;

/// The table as JSON; `None` when something in it cannot be said, and was reported.
pub(super) fn table(table: &DeTable<'_>, path: &str, report: &mut Report<'_>) -> Option<String> {
    let mut writer = Writer { json: String::new(), whole: true, root: path, steps: Vec::new(), report };
    writer.table(table);
    writer.whole.then_some(writer.json)
}

struct Writer<'r, 't, 'v> {
    json: String,
    whole: bool,
    root: &'v str,
    /// From the root to the value at hand.
    steps: Vec<Step<'v>>,
    report: &'r mut Report<'t>,
}

enum Step<'v> {
    Key(&'v str),
    Item(usize),
}

impl<'v> Writer<'_, '_, 'v> {
    fn table(&mut self, table: &'v DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().collect();
        // The tree is sorted by name.
        entries.sort_by_key(|(key, _)| key.span().start);
        self.json.push('{');
        for (number, (key, value)) in entries.into_iter().enumerate() {
            self.comma(number);
            self.text(key.get_ref());
            self.json.push(':');
            self.below(Step::Key(key.get_ref()), value);
        }
        self.json.push('}');
    }

    fn below(&mut self, step: Step<'v>, value: &'v Spanned<DeValue<'_>>) {
        self.steps.push(step);
        self.value(value);
        self.steps.pop();
    }

    fn value(&mut self, value: &'v Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::String(text) => self.text(text),
            DeValue::Boolean(boolean) => self.display(boolean),
            DeValue::Datetime(date) => self.text(&date.to_string()),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => self.display(number),
                Err(_) => self.refuse(value, "takes a whole number of at most 64 bits"),
            },
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                match number {
                    Some(number) => self.display(number),
                    None => self.refuse(value, "takes a number that JSON can say: not infinite, and not nan"),
                }
            }
            DeValue::Array(items) => {
                self.json.push('[');
                for (number, item) in items.iter().enumerate() {
                    self.comma(number);
                    self.below(Step::Item(number), item);
                }
                self.json.push(']');
            }
            DeValue::Table(table) => self.table(table),
        }
    }

    fn comma(&mut self, number: usize) {
        if number > 0 {
            self.json.push(',');
        }
    }

    fn text(&mut self, text: &str) {
        self.display(serde_json::Value::from(text));
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing to a String does not fail.
        let _ = write!(self.json, "{value}");
    }

    fn refuse(&mut self, value: &Spanned<DeValue<'_>>, message: &str) {
        self.whole = false;
        let steps = if self.report.is_full() { &[] } else { self.steps.as_slice() };
        let path = steps.iter().fold(self.root.to_owned(), |path, step| match step {
            Step::Key(key) => join(&path, key),
            Step::Item(number) => format!("{path}[{number}]"),
        });
        self.report.key(&value.span(), path, message);
    }
}
