//! Sends each tenant, or each region, to a pool or route of its own, by a table.
//!
//! `by` says what a request tells its tenant with: a header, a cookie, a parameter of the query, the host. The table `tenants` has the target of
//! each; who is not in it goes to `default`, or the way that the route says when there is none. The tenant of those that are in the table stands in the access log as the tag
//! `tenant`. A header can be written by anybody: name one that something before the gateway sets, or that a filter has checked.

use std::collections::HashMap;

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What tells the tenant.
    by: Key,
    /// Where each goes. Names are the same in any case.
    tenants: HashMap<String, Target>,
    /// Where all others go.
    default: Option<Target>,
}

/// The table.
pub struct Tenant {
    by: Key,
    /// By name in small letters.
    tenants: HashMap<String, Target>,
    default: Option<Target>,
}

impl Router for Tenant {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        let mut tenants = HashMap::new();
        for (name, target) in config.tenants {
            if tenants.insert(name.to_ascii_lowercase(), target).is_some() {
                return Err(Error::new(format_args!("tenants: {name:?} is there twice, in large and small letters")));
            }
        }
        if tenants.is_empty() {
            return Err(Error::new("tenants: there is none"));
        }
        Ok(Tenant { by: config.by, tenants, default: config.default })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        if let Some(name) = self.by.value(request)
            && let Some((known, target)) = self.find(name.trim())
        {
            request.set_tag("tenant", known);
            return target.route();
        }
        self.default.as_ref().map_or(Route::CarryOn, Target::route)
    }
}

impl Tenant {
    fn find(&self, name: &str) -> Option<(&String, &Target)> {
        // Most write it as it is.
        self.tenants.get_key_value(name).or_else(|| self.tenants.get_key_value(&name.to_ascii_lowercase()))
    }
}

export!(router: Tenant);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, get};

    const CONFIG: &str = r#"{"by": ["header:x-tenant", "query:tenant"],
        "tenants": {"acme": "one", "Globex": "route:two"}, "default": "shared"}"#;

    #[test]
    fn each_goes_to_its_own_and_strangers_to_the_default() {
        let mut gateway = Mock::router::<Tenant>(CONFIG).unwrap();
        let acme = get("/").header("x-tenant", "ACME ");
        assert_eq!((gateway.route(&acme), acme.tag("tenant").as_deref()), (Route::pool("one"), Some("acme")));
        assert_eq!(gateway.route(&get("/?tenant=globex")), Route::named("two"));
        let stranger = get("/").header("x-tenant", "initech");
        assert_eq!((gateway.route(&stranger), stranger.tag("tenant")), (Route::pool("shared"), None));
        assert_eq!(gateway.route(&get("/")), Route::pool("shared"));
    }

    #[test]
    fn without_a_default_the_route_has_its_say() {
        let mut gateway = Mock::router::<Tenant>(r#"{"by": "host", "tenants": {"eu.example": "eu"}}"#).unwrap();
        assert_eq!(gateway.route(&get("https://eu.example:8443/")), Route::pool("eu"));
        assert_eq!(gateway.route(&get("https://us.example/")), Route::CarryOn);
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        for (config, words) in [
            (r#"{"by": "host", "tenants": {}}"#, "tenants: there is none"),
            (r#"{"by": "host", "tenants": {"a": "x", "A": "y"}}"#, "tenants: "),
            (r#"{"tenants": {"a": "x"}}"#, "missing field `by`"),
            (r#"{"by": "host", "tenants": {"a": "rout:x"}}"#, "tenants.a: takes the name of a pool"),
        ] {
            let wrong = Mock::router::<Tenant>(config).err().unwrap().to_string();
            assert!(wrong.starts_with(words), "{wrong}");
        }
    }
}
