//! Picks an endpoint for each request to a pool.

use gatewright_sdk::prelude::*;

/// The table `config` of the plugin in the gateway's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Requests that one endpoint may work on.
    #[serde(default = "plenty")]
    most: u32,
}

fn plenty() -> u32 {
    1000
}

struct LeastBusy {
    most: u32,
}

impl Balancer for LeastBusy {
    type Config = Config;

    fn configure(config: Config, _: &Endpoints) -> Result<Self> {
        Ok(LeastBusy { most: config.most })
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        endpoints
            .available()
            .filter(|endpoint| endpoint.active() < self.most)
            .min_by_key(|endpoint| endpoint.active())
            .into() // none left: the pool's fallback decides
    }
}

export!(balancer: LeastBusy);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, endpoint, get};

    #[test]
    fn the_least_busy_is_picked() {
        let endpoints = [endpoint("10.0.0.1:80").active(7), endpoint("10.0.0.2:80").active(3)];
        let mut gateway = Mock::balancer::<LeastBusy>("{}", endpoints).unwrap();
        assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(1));
        gateway.endpoint(1).active(1000);
        assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(0));
    }
}
