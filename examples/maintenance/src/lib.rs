//! While a site is being worked on: everybody gets a page that says so, but for those who hold the key.

use gatewright_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The value of the cookie `preview` that lets pass.
    key: String,
    /// Seconds after which clients may ask again.
    retry_after: u32,
}

struct Maintenance(Config);

impl Filter for Maintenance {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        if config.key.len() < 8 {
            return Err(Error::new("key: it needs at least eight characters"));
        }
        Ok(Maintenance(config))
    }

    fn on_request(&mut self, request: &RequestMut) -> Verdict {
        if request.cookie("preview") == Some(self.0.key.as_str()) {
            return Verdict::CarryOn;
        }
        let seconds = self.0.retry_after.to_string();
        Answer::new(503).header("retry-after", seconds).body("We will be back soon.\n").into()
    }

    fn on_response(&mut self, _: &Request, response: &Response) -> Verdict {
        response.set_header("cache-control", "no-store"); // nobody keeps what is not for everybody
        Verdict::CarryOn
    }
}

export!(filter: Maintenance);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, get, response};

    const CONFIG: &str = r#"{"key": "open sesame", "retry_after": 60}"#;

    #[test]
    fn only_who_holds_the_key_passes() {
        let mut gateway = Mock::filter::<Maintenance>(CONFIG).unwrap();
        let Verdict::Answer(answer) = gateway.on_request(&get("/")) else { panic!("it passed") };
        assert_eq!((answer.status(), answer.fields().next()), (503, Some(("retry-after", &b"60"[..]))));
        let with_key = get("/").header("cookie", "a=b; preview=open sesame");
        assert_eq!(gateway.on_request(&with_key), Verdict::CarryOn);
    }

    #[test]
    fn what_they_see_is_not_kept() {
        let mut gateway = Mock::filter::<Maintenance>(CONFIG).unwrap();
        let seen = response(200).header("cache-control", "max-age=3600");
        assert_eq!(gateway.on_response(&get("/"), &seen), Verdict::CarryOn);
        assert_eq!(seen.fields(), [("cache-control".to_owned(), "no-store".to_owned())]);
    }

    #[test]
    fn a_key_that_is_too_short_is_refused() {
        let refused = Mock::filter::<Maintenance>(r#"{"key": "open", "retry_after": 60}"#);
        assert_eq!(refused.unwrap_err().to_string(), "key: it needs at least eight characters");
    }
}
