//! Lets requests with a key pass, and answers the others.

use gatewright_sdk::prelude::*;

/// The table `config` of the plugin in the gateway's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What `x-key` must be; anything when it is not given.
    key: Option<String>,
}

struct Keys {
    key: Option<String>,
    refused: Counter,
}

impl Filter for Keys {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        Ok(Keys { key: config.key, refused: Counter::new("refused") })
    }

    fn on_request(&mut self, request: &RequestMut) -> Verdict {
        let fits = request.header("x-key").is_some_and(|key| self.key.as_deref().is_none_or(|wanted| wanted == key));
        if fits {
            request.remove_header("x-key"); // nobody behind us needs it
            return Verdict::CarryOn;
        }
        self.refused.increment();
        Answer::new(401).header("content-type", "text/plain").body("no key\n").into()
    }

    fn on_response(&mut self, _: &Request, response: &Response) -> Verdict {
        response.remove_header("server");
        Verdict::CarryOn
    }
}

export!(filter: Keys);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, get};

    #[test]
    fn the_right_key_passes() {
        let mut gateway = Mock::filter::<Keys>(r#"{"key": "open"}"#).unwrap();
        assert_eq!(gateway.on_request(&get("http://shop.example/").header("x-key", "open")), Verdict::CarryOn);
        assert_ne!(gateway.on_request(&get("http://shop.example/").header("x-key", "shut")), Verdict::CarryOn);
        assert_eq!(gateway.metric("refused"), 1.0);
    }
}
