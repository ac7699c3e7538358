//! Each tenant has a pool of its own, and is known by the first part of the host: `acme.example` belongs to `acme`.

use std::collections::HashMap;

use gatewright_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The pool of each tenant.
    pools: HashMap<String, String>,
}

struct Tenants {
    pools: HashMap<String, String>,
    strangers: Counter,
}

impl Router for Tenants {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        Ok(Tenants { pools: config.pools, strangers: Counter::new("strangers") })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        let tenant = request.host().split('.').next().unwrap_or_default();
        let Some(pool) = self.pools.get(tenant) else {
            self.strangers.increment();
            return Route::refuse(404);
        };
        request.set_header("x-tenant", tenant); // whatever the client said of itself is gone
        request.set_tag("tenant", tenant); // stands in the access log
        Route::pool(pool.clone())
    }
}

export!(router: Tenants);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, get};

    const CONFIG: &str = r#"{"pools": {"acme": "one", "globex": "two"}}"#;

    #[test]
    fn each_tenant_goes_to_its_pool_and_is_told_to_it() {
        let mut gateway = Mock::router::<Tenants>(CONFIG).unwrap();
        let request = get("https://acme.example:8443/").header("x-tenant", "globex");
        assert_eq!(gateway.route(&request), Route::pool("one"));
        assert_eq!(
            (request.field("x-tenant").as_deref(), request.tag("tenant").as_deref()),
            (Some("acme"), Some("acme"))
        );
        assert_eq!(gateway.route(&get("http://globex.example/")), Route::pool("two"));
    }

    #[test]
    fn who_is_no_tenant_is_refused_and_counted() {
        let mut gateway = Mock::router::<Tenants>(CONFIG).unwrap();
        assert_eq!(gateway.route(&get("http://initech.example/")), Route::refuse(404));
        assert_eq!(gateway.metric("strangers"), 1.0);
    }
}
