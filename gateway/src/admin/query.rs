//! What an order says in its query.
//!
//! In: the query. Out: its parameters by name. Invariant: each of them is one that the order knows, and is there once: an order
//! of which a part was written wrong is not carried out without that part.

use crate::config::problem::suggestion;
use crate::http::RequestHead;
use crate::http::head::query_pairs;

/// The parameters of one order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Those of a request, all of which must be known.
    pub(super) fn of(request: &RequestHead, known: &[&str]) -> Result<Query, String> {
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in query_pairs(request.query().unwrap_or_default()) {
            let [name, value] = pair.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            if !known.contains(&&*name) {
                let meant = suggestion(&name, known.iter().copied());
                return Err(format!("the query has {name:?}, which is not known here{meant}"));
            }
            if all.iter().any(|(other, _)| *other == name) {
                return Err(format!("the query has {name} twice"));
            }
            all.push((name, value));
        }
        Ok(Query(all))
    }

    /// The value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Whether a parameter is there that takes no value.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.text(name).as_deref() {
            None => Ok(false),
            Some("") => Ok(true),
            Some(value) => Err(format!("{name} takes no value, not {value:?}")),
        }
    }
}
