//! The endpoint with the least expected latency, as long as it is not too busy.

use gatewright_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    spare: u32,
}

struct Fastest {
    spare: u32,
}

impl Balancer for Fastest {
    type Config = Config;

    fn configure(config: Config, _: &Endpoints) -> Result<Self> {
        Ok(Fastest { spare: config.spare })
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        endpoints.available().filter(|e| e.active() < self.spare).min_by_key(|e| e.latency() * (e.active() + 1)).into() // none left: the pool's fallback decides
    }
}

export!(balancer: Fastest);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, endpoint, get};

    #[test]
    fn the_fastest_is_picked_until_it_is_busy() {
        let endpoints = [endpoint("10.0.0.1:80").latency_us(900), endpoint("10.0.0.2:80").latency_us(300)];
        let mut gateway = Mock::balancer::<Fastest>(r#"{"spare": 10}"#, endpoints).unwrap();
        assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(1));
        gateway.endpoint(1).active(3);
        assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(0));
        gateway.endpoint(0).active(10);
        gateway.endpoint(1).active(10);
        assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Fallback);
    }
}
