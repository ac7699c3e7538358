//! Plugins of all kinds, called as the gateway calls them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use gatewright_sdk::mock::{Level, Mock, endpoint, get, request, response, tcp};
use gatewright_sdk::native::Table;
use gatewright_sdk::prelude::*;

/// Does as its configuration says.
#[derive(Default)]
struct Any {
    how: String,
    seen: Vec<String>,
    ticks: u32,
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    how: String,
}

impl Balancer for Any {
    type Config = How;

    fn configure(config: How, endpoints: &Endpoints) -> Result<Self> {
        if config.how == "refuse" {
            return Err(Error::new(format_args!("not with {} endpoints", endpoints.len())));
        }
        Ok(Any { how: config.how, ..Any::default() })
    }

    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        match self.how.as_str() {
            "list" => Pick::list(endpoints.all()),
            "hedge" => match (endpoints.get(0), endpoints.get(1)) {
                (Some(first), Some(second)) => Pick::hedge(first, second, Duration::from_millis(3)),
                _ => Pick::fallback(),
            },
            "hash" => {
                let key = request.hash_cookie("user", 7).unwrap_or(0);
                endpoints.available().max_by_key(|e| hash::mix(e.id(), key)).into()
            }
            "random" => endpoints.get(random::below(endpoints.len())).into(),
            "two" => match random::two_below(endpoints.len()) {
                Some((first, second)) => {
                    Pick::list([endpoints.get(first), endpoints.get(second)].into_iter().flatten())
                }
                None => Pick::Fallback,
            },
            "attempt" => endpoints.get(request.attempt() as usize).into(),
            "zone" => endpoints.all().find(|e| e.zone() == "b" && e.metadata("tier") == Some("gold")).into(),
            "client" => Pick::refuse(if request.client().is_some() && request.method().is_empty() { 500 } else { 400 }),
            "everything" => {
                let Some(e) = endpoints.get(0) else { return Pick::Fallback };
                self.seen.push(format!(
                    "{} {} {:?} {:?} {} {} {:?} {} {} {} {}",
                    e.active(),
                    e.latency(),
                    e.peak_latency(),
                    e.error_rate(),
                    e.request_rate(),
                    e.warmth(),
                    e.load(),
                    e.weight(),
                    e.priority(),
                    e.id(),
                    e.address(),
                ));
                log::info!("{}", self.seen.last().map_or("", |seen| seen));
                e.into()
            }
            _ => endpoints.available().min_by_key(|e| e.active()).into(),
        }
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        log::info!("{} endpoints, generation {}", endpoints.len(), endpoints.generation());
    }

    fn outcome(&mut self, outcome: &Outcome, endpoints: &Endpoints) {
        let address = endpoints.get(outcome.endpoint).map_or("", |e| e.address());
        self.seen.push(format!("{address} {:?} {}", outcome.status, outcome.latency));
    }

    fn tick(&mut self, _: &Endpoints) -> Option<Duration> {
        self.ticks += 1;
        (self.ticks != 2).then_some(Duration::from_secs(5))
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(self.seen.join(",").into_bytes())
    }

    fn restore(&mut self, state: &[u8], _: &Endpoints) -> Result<()> {
        self.seen = str::from_utf8(state)?.split(',').map(str::to_owned).collect();
        Ok(())
    }
}

impl Router for Any {
    type Config = How;

    fn configure(config: How) -> Result<Self> {
        Ok(Any { how: config.how, ..Any::default() })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        match request.path() {
            "/route" => Route::named("beta"),
            "/pool" => Route::pool(format!("pool-{}", request.query_value("n").unwrap_or_default())),
            "/away" => Route::redirect(308, "https://example.org/"),
            "/answer" => Answer::new(200).header("x-a", "1").body("hello").into(),
            "/refuse" => Route::refuse(403),
            "/edit" => {
                assert!(request.set_header("x-host", request.host()));
                assert!(request.add_header("x-host", "again"));
                assert!(request.remove_header("X-Secret"));
                assert!(request.set_path("/edited?by=router"));
                assert!(request.set_tag("who", "router"));
                assert_eq!(request.header("x-secret"), Some("s"));
                assert_eq!(request.path(), "/edit");
                assert_eq!(request.tag("who"), Some("router"));
                assert!(!request.set_header("transfer-encoding", "chunked"));
                assert!(!request.set_header("x", "a\r\nb: c"));
                Route::CarryOn
            }
            _ => Route::CarryOn,
        }
    }

    fn tick(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }
}

impl Filter for Any {
    type Config = How;

    fn configure(config: How) -> Result<Self> {
        Ok(Any { how: config.how, ..Any::default() })
    }

    fn on_request(&mut self, request: &RequestMut) -> Verdict {
        match self.how.as_str() {
            "refuse" => Verdict::refuse(403),
            "fields" => {
                let fields: Vec<String> =
                    request.headers().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
                Answer::new(200).body(fields.join(" ")).into()
            }
            "texts" => {
                let all = [
                    request.method(),
                    request.scheme(),
                    request.authority(),
                    request.host(),
                    request.path(),
                    request.query().unwrap_or("-"),
                    request.id(),
                    request.protocol(),
                    request.tls_version().unwrap_or("-"),
                    request.tls_name().unwrap_or("-"),
                    request.tls_subject().unwrap_or("-"),
                    request.route().unwrap_or("-"),
                    request.pool().unwrap_or("-"),
                ];
                Answer::new(200).body(all.join(" ")).into()
            }
            _ => Verdict::CarryOn,
        }
    }

    fn on_response(&mut self, request: &Request, response: &Response) -> Verdict {
        if response.status() == 404 {
            response.set_status(410);
            response.set_header("x-path", request.path());
            response.remove_header("server");
        }
        Verdict::CarryOn
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(b"filter".to_vec())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        if state == b"filter" { Ok(()) } else { Err(Error::new("whose is this?")) }
    }
}

mod all_kinds {
    use super::Any;

    gatewright_sdk::export! {
        filter: Any,
        balancer: Any,
        router: Any,
    }
}

fn balancer(how: &str) -> Mock {
    let config = format!(r#"{{"how": "{how}"}}"#);
    let endpoints = [
        endpoint("10.0.0.1:80").active(3),
        endpoint("10.0.0.2:80").active(1).zone("b"),
        endpoint("10.0.0.3:80").active(2).zone("b").metadata("rack", "r").metadata("tier", "gold"),
    ];
    Mock::balancer::<Any>(&config, endpoints).unwrap()
}

#[test]
fn a_balancer_sees_live_values_as_they_are_at_each_pick() {
    let mut gateway = balancer("");
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(1));
    gateway.endpoint(1).active(9);
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(2));
    gateway.endpoint(2).tried(true);
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(0));
    gateway.endpoint(0).healthy(false);
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(1));
    gateway.endpoint(1).draining(true);
    assert_eq!(gateway.pick(&get("/")), Pick::Fallback);
    gateway.endpoint(1).draining(false).ejected(true);
    assert_eq!(gateway.pick(&get("/")), Pick::Fallback);
}

#[test]
fn all_columns_are_what_the_gateway_wrote() {
    let one = endpoint("[::1]:80")
        .active(1)
        .latency_us(2)
        .peak_latency_us(3)
        .error_rate(0.5)
        .request_rate(8.0)
        .warmth(0.25)
        .load(0.75)
        .weight(4)
        .priority(5)
        .id(6);
    let mut gateway = Mock::balancer::<Any>(r#"{"how": "everything"}"#, [one]).unwrap();
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(0));
    let expected = "1 2 µs Micros(3) 0.5 8 0.25 Some(0.75) 4 5 6 [::1]:80";
    assert_eq!(gateway.logs(), [(Level::Info, expected.to_owned())]);
}

#[test]
fn a_table_wants_the_columns_that_are_read_and_no_others() {
    let mut gateway = balancer("");
    gateway.pick(&get("/"));
    assert_eq!(format!("{gateway:?}"), "Mock { table: Table { count: 3, wanted: [Flags, Active], .. }, .. }");

    let mut table = Table::new();
    assert_eq!((table.count(), table.wanted().count()), (0, 0));
    table.reset(2);
    assert_eq!(table.generation(), 1);
    assert!(table.words(gatewright_abi::Column::Active).iter().map(Cell::get).eq([0, 0]));
    assert!(table.words(gatewright_abi::Column::Id).is_empty());
    table.set_id(9, 1);
    table.set_text(gatewright_abi::Column::Active, 0, b"no text");
}

#[test]
fn lists_hedges_and_refusals_are_picks() {
    let pick = balancer("list").pick(&get("/"));
    let Pick::List(list) = pick else { panic!("{pick:?}") };
    assert!(list.iter().eq([0, 1, 2]));
    assert_eq!((list.len(), pick.first()), (3, Some(0)));

    let many = Mock::balancer::<Any>(r#"{"how": "list"}"#, (0..40).map(|n| endpoint(&n.to_string())));
    let Pick::List(list) = many.unwrap().pick(&get("/")) else { panic!() };
    assert_eq!(list.len(), 16);
    assert_eq!(Mock::balancer::<Any>(r#"{"how": "list"}"#, []).unwrap().pick(&get("/")), Pick::Fallback);

    let after = Micros::new(3000);
    assert_eq!(balancer("hedge").pick(&get("/")), Pick::Hedge { first: 0, second: 1, after });
    assert_eq!(balancer("client").pick(&tcp("192.0.2.1")), Pick::Refuse(500));
    assert_eq!(balancer("client").pick(&get("/")), Pick::Refuse(400));
}

#[test]
fn the_same_key_picks_the_same_endpoint_until_that_goes() {
    let mut gateway = balancer("hash");
    let of = |gateway: &mut Mock, user: u32| gateway.pick(&get("/").header("cookie", format!("a=b; user={user}")));
    let first: Vec<Pick> = (0..100).map(|user| of(&mut gateway, user)).collect();
    assert!((0..3).all(|n| first.iter().filter(|pick| **pick == Pick::Endpoint(n)).count() > 20));
    gateway.endpoint(2).healthy(false);
    for (user, pick) in (0..100).zip(&first) {
        let now = of(&mut gateway, user);
        assert!(now == *pick || *pick == Pick::Endpoint(2), "{user}: {pick:?} became {now:?}");
    }
}

#[test]
fn random_numbers_are_even_and_the_same_for_the_same_seed() {
    let picks = |seed| {
        let mut gateway = balancer("random");
        gateway.seed(seed);
        (0..3000).map(|_| gateway.pick(&get("/"))).collect::<Vec<_>>()
    };
    assert_eq!(picks(1), picks(1));
    assert_ne!(picks(1), picks(2));
    for n in 0..3 {
        let share = picks(3).iter().filter(|pick| **pick == Pick::Endpoint(n)).count();
        assert!((900..1100).contains(&share), "{share} of 3000");
    }
    // Outside of a call there is a generator too, which is always the same.
    assert_eq!((random::below(0), random::below(1)), (0, 0));
    assert_eq!((random::two_below(1), random::two_below(0)), (None, None));
    assert!(matches!(random::two_below(2), Some((0, 1) | (1, 0))));
    assert!((0.0..1.0).contains(&random::fraction()));
}

#[test]
fn two_random_numbers_are_different_and_every_pair_is_as_likely() {
    let mut gateway = balancer("two");
    let mut seen = std::collections::HashMap::new();
    for _ in 0..6000 {
        let Pick::List(list) = gateway.pick(&get("/")) else { panic!() };
        *seen.entry(list.iter().collect::<Vec<_>>()).or_insert(0) += 1;
    }
    assert!(seen.len() == 6 && seen.keys().all(|pair| pair[0] != pair[1]), "{seen:?}");
    assert!(seen.values().all(|count| (850..1150).contains(count)), "{seen:?}");
}

#[test]
fn attempts_zones_and_metadata_can_be_seen() {
    let mut gateway = balancer("attempt");
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(0));
    assert_eq!(gateway.pick_again(&get("/"), 2), Pick::Endpoint(2));
    assert_eq!(gateway.pick_again(&get("/"), 3), Pick::Fallback);
    assert_eq!(balancer("zone").pick(&get("/")), Pick::Endpoint(2));
}

#[test]
fn outcomes_go_into_the_state_that_the_next_version_takes_over() {
    let mut gateway = balancer("");
    let outcome = Outcome { endpoint: 1, status: None, attempt: 0, latency: Micros::new(1500), bytes: 0 };
    assert!(outcome.is_failure() && !Outcome { status: Some(404), ..outcome }.is_failure());
    gateway.outcome(outcome);
    let state = gateway.snapshot().unwrap();
    let mut next = balancer("");
    next.restore(&state).unwrap();
    assert_eq!(next.snapshot(), Some(state.clone()));
    assert!(state.ends_with(b"10.0.0.2:80 None 1500 \xc2\xb5s"));
    for cut in 1..state.len() {
        assert!(balancer("").restore(&state[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Mock::router::<Any>("{}").unwrap().restore(&state).is_ok(), "what is not there any more is left behind");
}

#[test]
fn endpoints_come_and_go() {
    let mut gateway = balancer("");
    gateway.change_endpoints([endpoint("a").active(5), endpoint("b").active(4)]);
    assert_eq!(gateway.logs(), [(Level::Info, "2 endpoints, generation 2".to_owned())]);
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(1));
    gateway.change_endpoints([]);
    assert_eq!(gateway.pick(&get("/")), Pick::Fallback);
}

#[test]
fn what_configure_refuses_is_said() {
    let error = Mock::balancer::<Any>(r#"{"how": "refuse"}"#, [endpoint("a")]).unwrap_err();
    assert_eq!(error.to_string(), "not with 1 endpoints");
    let error = Mock::filter::<Any>(r#"{"how": 3}"#).unwrap_err();
    assert_eq!(error.to_string(), "how: invalid type: integer `3`, expected a string");
}

#[test]
fn a_router_decides_and_changes() {
    let mut gateway = Mock::router::<Any>("{}").unwrap();
    assert_eq!(gateway.route(&get("/")), Route::CarryOn);
    assert_eq!(gateway.route(&get("/route")), Route::named("beta"));
    assert_eq!(gateway.route(&get("/pool?m=1&n=a%2Fb+c")), Route::pool("pool-a/b c"));
    assert_eq!(gateway.route(&get("/away")), Route::redirect(308, "https://example.org/"));
    assert_eq!(gateway.route(&get("/refuse")), Route::Refuse(403));
    let Route::Answer(answer) = gateway.route(&get("/answer")) else { panic!() };
    assert_eq!((answer.status(), answer.body_bytes()), (200, &b"hello"[..]));
    assert!(answer.fields().eq([("x-a", &b"1"[..])]));

    let head = get("http://[::1]:8080/edit?x").header("x-secret", "s");
    assert_eq!(gateway.route(&head), Route::CarryOn);
    let fields = head.fields();
    let expected = [("x-host", "[::1]"), ("x-host", "again")];
    assert!(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{fields:?}");
    assert_eq!(head.path(), "/edited?by=router");
    assert_eq!(head.tag("who").as_deref(), Some("router"));
    let logs = gateway.logs();
    assert!(logs.iter().all(|(level, _)| *level == Level::Warn));
    assert_eq!(logs[0].1, r#"header "transfer-encoding" is not set: it is not allowed"#);
    assert_eq!(logs.len(), 2);
}

#[test]
fn a_filter_sees_both_heads() {
    assert_eq!(Mock::filter::<Any>(r#"{"how": "refuse"}"#).unwrap().on_request(&get("/")), Verdict::Refuse(403));
    let mut gateway = Mock::filter::<Any>(r#"{"how": "fields"}"#).unwrap();
    let head = get("/").header("A", "1").header("b", b"\xff").header("long", "x".repeat(3000));
    let Verdict::Answer(answer) = gateway.on_request(&head) else { panic!() };
    // The host is shown as a field, as the gateway does.
    let expected = format!("host=localhost a=1 b=\\xff long={}", "x".repeat(3000));
    assert_eq!(answer.body_bytes(), expected.as_bytes());

    let mut gateway = Mock::filter::<Any>(r#"{"how": "texts"}"#).unwrap();
    let head = request("PUT", "https://shop.example:8443/a?b").route("r").pool("p").tls_subject("CN=x");
    let Verdict::Answer(answer) = gateway.on_request(&head) else { panic!() };
    let expected = "PUT https shop.example:8443 shop.example /a b test HTTP/1.1 TLSv1.3 shop.example:8443 CN=x r p";
    assert_eq!(str::from_utf8(answer.body_bytes()).unwrap(), expected);

    let head = response(404).header("server", "old");
    assert_eq!(gateway.on_response(&get("/gone"), &head), Verdict::CarryOn);
    assert_eq!((head.status(), head.fields()), (410, vec![("x-path".to_owned(), "/gone".to_owned())]));
}

#[test]
fn several_kinds_share_a_module_and_not_a_value() {
    let plugin = all_kinds::plugin();
    assert_eq!(plugin.kinds(), 7);
    let mut gateway = Mock::plugin(plugin, "{}", [endpoint("a")]).unwrap();
    assert_eq!(gateway.pick(&get("/")), Pick::Endpoint(0));
    assert_eq!(gateway.route(&get("/route")), Route::named("beta"));
    assert_eq!(gateway.on_request(&get("/")), Verdict::CarryOn);
    // The balancer stops after the second tick, the filter after the first, the router never.
    let ticks: Vec<_> = (0..4).map(|_| gateway.tick()).collect();
    assert_eq!(ticks, [Some(Duration::from_secs(2)); 4]);
    let state = gateway.snapshot().unwrap();
    gateway.restore(&state).unwrap();
    // A gateway that uses only one of them.
    let mut filter = Mock::filter::<Any>("{}").unwrap();
    assert_eq!(filter.route(&get("/route")), Route::CarryOn);
    assert_eq!(filter.tick(), None);
    filter.restore(&state).unwrap();
}

#[test]
fn ticks_end_when_the_plugin_says_so() {
    let mut gateway = balancer("");
    assert_eq!(gateway.tick(), Some(Duration::from_secs(5)));
    assert_eq!(gateway.tick(), None);
    assert_eq!(gateway.tick(), None, "the plugin is not asked again");
}

#[test]
fn services_are_there_during_a_call_and_nothing_outside_of_one() {
    struct Services(Counter, Gauge, Histogram, clock::Instant);

    impl Filter for Services {
        type Config = NoConfig;

        fn configure(_: NoConfig) -> Result<Self> {
            let wrong = Counter::new("no-name");
            wrong.increment();
            let label = Counter::labelled("seen", "kind", "a");
            Ok(Services(label, Gauge::new("level"), Histogram::new("size"), clock::now()))
        }

        fn on_request(&mut self, _: &RequestMut) -> Verdict {
            const SEEN: Slot = Slot::new(63);
            self.0.add(2.0);
            self.1.set(5.0);
            self.1.add(-1.0);
            self.2.record(0.5);
            self.2.record(1.5);
            assert_eq!(SEEN.fetch_add(2), 0);
            assert_eq!((SEEN.compare_exchange(2, 9), SEEN.compare_exchange(2, 10)), (Ok(()), Err(9)));
            SEEN.store(SEEN.load() + 1);
            assert!(shared::set("key", "value", None));
            assert!(shared::set("soon", vec![1; 2000], Some(Duration::from_millis(20))));
            assert!(!shared::set("", "value", None));
            assert_eq!(shared::get("soon"), Some(vec![1; 2000]));
            Verdict::CarryOn
        }

        fn tick(&mut self) -> Option<Duration> {
            assert_eq!(self.3.elapsed(), Micros::new(30_000));
            assert!(self.3 < self.3 + Duration::from_secs(1));
            assert_eq!(clock::unix_time(), Duration::from_secs(1_000));
            assert_eq!((shared::get("key"), shared::get("soon")), (Some(b"value".to_vec()), None));
            assert!(shared::remove("key") && !shared::remove("key"));
            log::error!("plain");
            log::debug!("a{}", "ä".repeat(600));
            None
        }
    }

    let mut gateway = Mock::filter::<Services>("{}").unwrap();
    assert_eq!(gateway.logs(), [(Level::Warn, r#"metric "no-name" is not set: it is not allowed"#.to_owned())]);
    gateway.on_request(&get("/"));
    assert_eq!(gateway.labelled_metric("seen", "kind", "a"), 2.0);
    assert_eq!((gateway.metric("level"), gateway.metric("absent")), (4.0, 0.0));
    assert_eq!(gateway.recorded("size"), [0.5, 1.5]);
    gateway.logs();
    gateway.advance(Duration::from_millis(30));
    gateway.set_unix_time(Duration::from_secs(1_000));
    gateway.tick();
    let logs = gateway.logs();
    assert_eq!(logs[0], (Level::Error, "plain".to_owned()));
    assert_eq!(logs[1], (Level::Debug, format!("a{}", "ä".repeat(511))));

    assert_eq!((shared::get("key"), Slot::new(0).load(), clock::unix_time()), (None, 0, Duration::ZERO));
    log::error!("goes nowhere");
}

#[test]
fn a_panic_leaves_no_host_behind() {
    struct Panics;

    impl Filter for Panics {
        type Config = NoConfig;

        fn configure(_: NoConfig) -> Result<Self> {
            Ok(Panics)
        }

        fn on_request(&mut self, _: &RequestMut) -> Verdict {
            panic!("a plugin may panic")
        }
    }

    let mut gateway = Mock::filter::<Panics>("{}").unwrap();
    gateway.set_unix_time(Duration::from_secs(7));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gateway.on_request(&get("/"))));
    assert!(caught.is_err());
    assert_eq!(clock::unix_time(), Duration::ZERO);
}
