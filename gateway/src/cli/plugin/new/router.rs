//! Sends some requests elsewhere than their route says.

use gatewright_sdk::prelude::*;

/// The table `config` of the plugin in the gateway's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The pool for those who have the cookie `beta=yes`.
    #[serde(default = "beta")]
    pool: String,
}

fn beta() -> String {
    "beta".into()
}

struct Beta {
    pool: String,
}

impl Router for Beta {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        Ok(Beta { pool: config.pool })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        if request.cookie("beta") != Some("yes") {
            return Route::CarryOn;
        }
        request.set_tag("beta", "yes"); // stands in the access log
        Route::pool(self.pool.clone())
    }
}

export!(router: Beta);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, get};

    #[test]
    fn the_cookie_leads_to_the_other_pool() {
        let mut gateway = Mock::router::<Beta>("{}").unwrap();
        assert_eq!(gateway.route(&get("http://shop.example/")), Route::CarryOn);
        let request = get("http://shop.example/").header("cookie", "beta=yes");
        assert_eq!(gateway.route(&request), Route::pool("beta"));
    }
}
