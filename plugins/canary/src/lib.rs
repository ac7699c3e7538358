//! Sends some users to the next version of a service: a percentage of them, and those who ask for it.
//!
//! A user is known by `key`, the client's address unless something better is configured, and stays on the same side as long as
//! the percentage does: what counts is a hash. When it grows, others come over and nobody goes back; when it shrinks, those who came last
//! leave first. Two canaries with different targets take different users.
//!
//! `header` and `cookie` name what puts a request on a side by itself: the value `always` sends it to the canary, `never` keeps it
//! away, anything else leaves it to the percentage; the header goes before the cookie. A request that went to the canary has the tag `canary`, with the target's name, in the access log.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the canary is.
    to: Target,
    /// Users that go there, of a hundred.
    #[serde(default)]
    percent: f64,
    /// What a user is known by.
    #[serde(default)]
    key: Key,
    /// The header that decides.
    header: Option<String>,
    /// The cookie that decides.
    cookie: Option<String>,
}

/// Who goes where.
pub struct Canary {
    config: Config,
    /// Makes users of this canary others than those of the next.
    seed: u64,
}

impl Router for Canary {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        if !(0.0..=100.0).contains(&config.percent) {
            return Err(Error::new(format_args!("percent: takes 0 to 100, not {}", config.percent)));
        }
        if config.percent == 0.0 && config.header.is_none() && config.cookie.is_none() {
            return Err(Error::new("nobody would go there: needs percent, header or cookie"));
        }
        Ok(Canary { seed: hash::bytes(config.to.name(), 0), config })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        let Config { header, cookie, .. } = &self.config;
        let said = header.as_deref().and_then(|name| side(request.header(name)?));
        let said = said.or_else(|| cookie.as_deref().and_then(|name| side(request.cookie(name)?)));
        if !said.unwrap_or_else(|| self.draws(request)) {
            return Route::CarryOn;
        }
        request.set_tag("canary", self.config.to.name());
        self.config.to.route()
    }
}

impl Canary {
    fn draws(&self, request: &Request) -> bool {
        let user = self.config.key.hash(request, self.seed).unwrap_or_else(random::bits);
        // The hash once more, for even short keys to be spread.
        hash::fraction(hash::mix(user, self.seed)) * 100.0 < self.config.percent
    }
}

fn side(value: &str) -> Option<bool> {
    match value {
        "always" => Some(true),
        "never" => Some(false),
        _ => None,
    }
}

export!(router: Canary);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Head, Mock, get};

    fn canary(percent: f64) -> Mock {
        let config = format!(
            r#"{{"to": "next", "percent": {percent}, "key": "cookie:user", "header": "x-canary", "cookie": "canary"}}"#
        );
        Mock::router::<Canary>(&config).unwrap()
    }

    fn user(number: usize) -> Head {
        get("/").header("cookie", format!("user=user-{number}"))
    }

    fn users(gateway: &mut Mock) -> Vec<usize> {
        (0..4000).filter(|number| gateway.route(&user(*number)) == Route::pool("next")).collect()
    }

    #[test]
    fn a_percentage_of_users_goes_and_they_stay_when_it_grows() {
        let (one, five, fifty) = (users(&mut canary(1.0)), users(&mut canary(5.0)), users(&mut canary(50.0)));
        assert!(one.len().abs_diff(40) < 25 && five.len().abs_diff(200) < 60 && fifty.len().abs_diff(2000) < 130);
        assert!(one.iter().all(|user| five.contains(user)) && five.iter().all(|user| fifty.contains(user)));
        assert_eq!((users(&mut canary(0.0)).len(), users(&mut canary(100.0)).len()), (0, 4000));
    }

    #[test]
    fn another_canary_takes_other_users() {
        let mut other =
            Mock::router::<Canary>(r#"{"to": "route:other", "percent": 50, "key": "cookie:user"}"#).unwrap();
        let ours = users(&mut canary(50.0));
        let both = ours.iter().filter(|number| other.route(&user(**number)) == Route::named("other")).count();
        assert!(both.abs_diff(1000) < 130, "{both}");
    }

    #[test]
    fn header_and_cookie_decide_and_the_log_is_told() {
        let mut gateway = canary(0.0);
        let asked = user(1).header("x-canary", "always");
        assert_eq!(gateway.route(&asked), Route::pool("next"));
        assert_eq!(asked.tag("canary").as_deref(), Some("next"));
        assert_eq!(gateway.route(&get("/").header("cookie", "canary=always")), Route::pool("next"));
        assert_eq!(gateway.route(&user(1).header("x-canary", "yes")), Route::CarryOn);
        let refused = get("/").header("x-canary", "never").header("cookie", "canary=always");
        assert_eq!(canary(100.0).route(&refused), Route::CarryOn);
    }

    #[test]
    fn who_has_no_key_is_known_by_the_address() {
        let mut gateway = canary(50.0);
        let mut side = |client: &str| gateway.route(&get("/").client(client)) == Route::CarryOn;
        let sides: Vec<bool> = (0..40).map(|n| side(&format!("10.0.0.{n}"))).collect();
        assert!(sides.contains(&true) && sides.contains(&false));
        assert!((0..40).all(|n| side(&format!("10.0.0.{n}")) == sides[n]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (config, words) in [
            (r#"{"percent": 5}"#, "missing field `to`"),
            (r#"{"to": "a", "percent": 101}"#, "percent: takes 0 to 100"),
            (r#"{"to": "a"}"#, "nobody would go there"),
            (r#"{"to": "a", "percent": 1, "key": "user"}"#, "key: takes \"client\""),
        ] {
            let wrong = Mock::router::<Canary>(config).err().unwrap().to_string();
            assert!(wrong.starts_with(words), "{wrong}");
        }
    }
}
