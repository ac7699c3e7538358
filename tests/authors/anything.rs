//! Does whatever its configuration says: a plugin with every kind, decision and service, for `gatewright plugin test`.

use gatewright_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    how: String,
}

struct Anything {
    how: String,
    count: u8,
}

impl Anything {
    fn of(config: Config) -> Result<Self> {
        match config.how.as_str() {
            "refuse" => Err(Error::new("how: not like this")),
            _ => Ok(Anything { how: config.how, count: 0 }),
        }
    }
}

impl Balancer for Anything {
    type Config = Config;

    fn configure(config: Config, _: &Endpoints) -> Result<Self> {
        Anything::of(config)
    }

    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        self.count += 1;
        let at = |index: u64| endpoints.get((index % endpoints.len().max(1) as u64) as usize).into();
        match self.how.as_str() {
            "list" => Pick::list(endpoints.available()),
            "hedge" => match (endpoints.get(0), endpoints.get(1)) {
                (Some(first), Some(second)) => Pick::hedge(first, second, Duration::from_millis(3)),
                _ => Pick::Fallback,
            },
            "no" => Pick::refuse(429),
            "random" => at(random::bits()),
            "time" => at(clock::unix_time().as_secs() + (clock::now() - clock::now()).get()),
            "hash" => at(request.hash_cookie("user", 7).unwrap_or_default() ^ request.hash_client(1).unwrap_or_default()),
            "attempt" => at(request.attempt().into()),
            "slot" => at(Slot::new(3).fetch_add(1) as u64),
            "shared" if shared::get("turn").is_some() => at(1),
            "shared" => {
                shared::set("turn", "taken", Some(Duration::from_secs(1)));
                at(0)
            }
            "facts" => {
                let known = |e: &Endpoint<'_>| e.zone() == "b" && e.metadata("tier") == Some("gold") && e.load() == Some(0.5);
                endpoints.all().filter(known).max_by_key(|e| (e.weight(), e.priority(), e.id(), e.peak_latency())).into()
            }
            "tag" => {
                request.set_tag("who", request.header("host").unwrap_or("nobody"));
                Pick::Fallback
            }
            "width" => at(usize::BITS as u64 / 64),
            "panic" => panic!("as it was told to"),
            _ => endpoints.available().min_by_key(|e| e.active()).into(),
        }
    }

    fn outcome(&mut self, outcome: &Outcome, _: &Endpoints) {
        self.count += if outcome.is_failure() { 10 } else { 100 };
    }

    fn tick(&mut self, _: &Endpoints) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_millis(1500))
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        (self.count > 0).then(|| vec![self.count])
    }

    fn restore(&mut self, state: &[u8], _: &Endpoints) -> Result<()> {
        self.count = *state.first().ok_or_else(|| Error::new("there is none"))?;
        Ok(())
    }
}

impl Router for Anything {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        Anything::of(config)
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        match request.path() {
            "/named" => Route::named("other"),
            "/pool" => Route::pool(request.query_value("name").unwrap_or("none").to_owned()),
            "/away" => Route::redirect(308, format!("https://{}/", request.host())),
            "/answer" => Answer::new(200).header("x-a", "1").body(vec![0, 255]).into(),
            "/no" => Route::refuse(404),
            _ => {
                request.set_header("x-one", "1");
                request.set_header("host", "not allowed");
                request.add_header("x-one", b"\xff");
                request.remove_header("x-two");
                request.set_tag("kind", request.protocol());
                request.set_path("/elsewhere?a=b");
                Route::CarryOn
            }
        }
    }
}

impl Filter for Anything {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        Anything::of(config)
    }

    fn on_request(&mut self, request: &RequestMut) -> Verdict {
        match request.method() {
            "DELETE" => Verdict::refuse(403),
            "PUT" => {
                request.bypass_cache();
                Verdict::CarryOn
            }
            _ => {
                // The second is too long, and sends the request past the cache.
                request.cache_key(b"a\xff part");
                request.cache_key([b'x'; 257]);
                request.cache_for(Duration::from_millis(7900));
                Verdict::CarryOn
            }
        }
    }

    fn on_fetch(&mut self, request: &Request, response: &Fetched) {
        match response.header("x-kind") {
            Some("private") => response.do_not_store(),
            _ => response.cache_tag(request.path()) && response.cache_tag("") | response.cache_for(Duration::from_secs(9)),
        };
        request.set_tag("fetched", response.status().to_string());
    }

    fn on_response(&mut self, request: &Request, response: &Response) -> Verdict {
        response.set_header("x-path", request.path());
        response.set_status(response.status() + 1);
        Verdict::CarryOn
    }
}

export!(balancer: Anything, router: Anything, filter: Anything);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get, request, response, tcp};

    fn pool() -> [MockEndpoint; 3] {
        let second = endpoint("10.0.0.2:80").zone("b").metadata("tier", "gold").load(0.5).weight(7);
        [endpoint("10.0.0.1:80"), second, endpoint("10.0.0.3:80").healthy(false)]
    }

    fn gateway(how: &str) -> Mock {
        Mock::plugin(plugin(), &format!("{{\"how\": \"{how}\"}}"), pool()).unwrap()
    }

    #[test]
    fn all_that_a_balancer_can_say() {
        for how in ["", "list", "hedge", "no", "random", "hash", "facts", "tag", "attempt", "slot", "slot"] {
            let mut gateway = gateway(how);
            for attempt in 0..3 {
                gateway.pick_again(&get("http://shop.example/").header("cookie", "user=alice"), attempt);
                gateway.endpoint(0).active(attempt + 1).tried(attempt == 1).latency_us(20);
            }
            gateway.pick(&tcp("192.0.2.7"));
        }
        assert!(Mock::plugin(plugin(), r#"{"how": "refuse"}"#, []).is_err());
        assert!(Mock::plugin(plugin(), r#"{"how": 1}"#, []).is_err());
    }

    #[test]
    fn time_and_chance() {
        let mut gateway = gateway("shared");
        assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(0));
        assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(1));
        gateway.advance(Duration::from_secs(1));
        assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(0));
        for seed in 1..20 {
            let mut gateway = self::gateway(if seed % 2 == 0 { "random" } else { "time" });
            gateway.seed(seed);
            gateway.set_unix_time(Duration::from_secs(seed));
            gateway.pick(&get("/"));
            gateway.pick(&get("/"));
        }
    }

    #[test]
    fn what_is_remembered() {
        let mut gateway = gateway("");
        assert_eq!((gateway.tick(), gateway.snapshot()), (None, None));
        assert!(gateway.restore(&[1]).is_err());
        let ended = |status| Outcome { endpoint: 1, status, attempt: 0, latency: Micros::new(5), bytes: 1 };
        gateway.pick(&get("/"));
        gateway.outcome(ended(None));
        gateway.outcome(ended(Some(200)));
        let state = gateway.snapshot().unwrap();
        gateway.change_endpoints([endpoint("a"), endpoint("b")]);
        gateway.endpoint(0).active(1);
        assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(1));
        assert!(self::gateway("").restore(&state).is_ok());
    }

    #[test]
    fn heads() {
        let mut gateway = gateway("");
        for url in ["/", "/named", "/pool?name=a%20b", "https://a.b/away", "/answer", "/no"] {
            gateway.route(&get(url).header("x-two", "2"));
        }
        gateway.on_request(&request("DELETE", "/"));
        gateway.on_request(&get("/"));
        let head = response(200);
        gateway.on_response(&get("/x"), &head);
        assert_eq!(head.status(), 201);
        let (keyed, past) = (get("/"), request("PUT", "/"));
        gateway.on_request(&keyed);
        gateway.on_request(&past);
        let said = keyed.cache();
        assert_eq!((said.key, said.bypass, said.ttl), (vec![b"a\xff part".to_vec()], true, Some(Duration::from_secs(7))));
        assert!(past.cache().bypass);
        let (shared, private) = (response(200), response(404).header("x-kind", "private"));
        gateway.on_fetch(&get("/x"), &shared);
        gateway.on_fetch(&get("/x"), &private);
        assert_eq!((shared.cache().tags, shared.cache().ttl), (vec!["/x".to_owned()], Some(Duration::from_secs(9))));
        assert!(private.cache().no_store && !shared.cache().no_store);
    }

    #[test]
    #[should_panic(expected = "as it was told to")]
    fn panics() {
        gateway("panic").pick(&get("/"));
    }

    #[test]
    fn width() {
        assert_eq!(gateway("width").pick(&get("http://shop.example/cart")), Pick::Endpoint(1));
    }
}
