//! Sends each tenant, or each region, to a pool or route of its own, by a table.
//!
//! `by` says what a request tells its tenant with: a header, a cookie, a parameter of the query, the host. The table `tenants` has the target of
//! each; who is not in it goes to `default`, or the way that the route says when there is none. With `cache_apart` the cache keeps what each tenant gets for that tenant alone,
//! and what strangers get for all strangers. The tenant of those that are in the table stands in the access log as the tag
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
    /// Each tenant has a cache of its own.
    #[serde(default)]
    cache_apart: bool,
}

/// The table.
pub struct Tenant {
    by: Key,
    /// By name in small letters.
    tenants: HashMap<String, Target>,
    default: Option<Target>,
    cache_apart: bool,
}

impl Router for Tenant {
    type Config = Config;

    fn configure(mut config: Config) -> Result<Self> {
        let mut tenants = HashMap::new();
        for (name, target) in std::mem::take(&mut config.tenants) {
            if tenants.insert(name.to_ascii_lowercase(), target).is_some() {
                return Err(Error::new(format_args!("tenants: {name:?} is there twice, in large and small letters")));
            }
        }
        if tenants.is_empty() {
            return Err(Error::new("tenants: there is none"));
        }
        let Config { by, default, cache_apart, .. } = config;
        Ok(Tenant { by, tenants, default, cache_apart })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        if let Some(name) = self.by.value(request)
            && let Some((known, target)) = self.find(name.trim())
        {
            request.set_tag("tenant", known);
            if self.cache_apart {
                request.cache_key(known);
            }
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
    fn each_may_have_a_cache_of_its_own() {
        for (apart, key) in [("true", &[b"acme"][..]), ("false", &[])] {
            let config =
                format!(r#"{{"by": "header:x-tenant", "tenants": {{"acme": "one"}}, "cache_apart": {apart}}}"#);
            let mut gateway = Mock::router::<Tenant>(&config).unwrap();
            let (acme, stranger) = (get("/").header("x-tenant", "Acme"), get("/").header("x-tenant", "initech"));
            gateway.route(&acme);
            gateway.route(&stranger);
            assert_eq!(acme.cache().key, key);
            assert!(stranger.cache().key.is_empty());
        }
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
