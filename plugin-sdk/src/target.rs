//! Where a router sends requests, as a configuration says it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::decide::Route;

/// Where requests are sent: `"NAME"` is a pool, `"route:NAME"` a route.
///
/// ```
/// # use gatewright_sdk::prelude::*;
/// #[derive(Deserialize)]
/// struct Config {
///     beta: Target,
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    name: String,
    is_route: bool,
}

impl Target {
    /// To go there.
    pub fn route(&self) -> Route {
        let name = Cow::Owned(self.name.clone());
        if self.is_route { Route::Named(name) } else { Route::Pool(name) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (name, is_route) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some(("pool", name)) => (name, false),
            Some(("route", name)) => (name, true),
            Some(_) => ("", false),
        };
        if name.is_empty() {
            return Err(D::Error::custom(format_args!("takes the name of a pool, or \"route:NAME\", not {text:?}")));
        }
        Ok(Target { name: name.to_owned(), is_route })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_pool_unless_it_says_otherwise() {
        let read = |json: &str| serde_json::from_str::<Target>(json);
        assert_eq!(read("\"beta\"").unwrap().route(), Route::pool("beta"));
        assert_eq!(read("\"pool:beta\"").unwrap().route(), Route::pool("beta"));
        assert_eq!(read("\"route:beta\"").unwrap().route(), Route::named("beta"));
        for wrong in ["\"\"", "\"route:\"", "\"rout:x\""] {
            assert!(read(wrong).unwrap_err().to_string().starts_with("takes the name of a pool"), "{wrong}");
        }
    }
}
