//! The stock plugins on the path of requests, and as modules.

use std::sync::Arc;
use std::time::Duration;

use gatewright::balance::{Candidate, Endpoint};
use gatewright::config::model;
use gatewright::plugin::request::{Edit, Edits, Head, Side, What};
use gatewright::plugin::{Budget, Compiler, Decision, Engine, Instance, Mould, Native, Services, Time};
use gatewright::stock;
use gatewright_abi::{Column, flag, kind, text};

use crate::harness::{Gateway, Origin, RawOrigin, Wire, empty, full, guests};

/// What routers are configured with; balancers need nothing, but here some are given something.
const CONFIGS: &[(&str, &str)] = &[
    ("canary", r#"{"to": "next", "percent": 30, "key": "cookie:user", "header": "x-canary"}"#),
    ("read-write", r#"{"primary": "p", "replicas": "r", "writes": ["/items/1"]}"#),
    (
        "tenant",
        r#"{"by": "cookie:user", "tenants": {"user-1": "one", "user-2": "route:two"}, "default": "rest", "cache_apart": true}"#,
    ),
    ("maglev", r#"{"key": ["header:x-user", "path"], "table": 1009}"#),
    ("sticky", r#"{"secret": "a secret of this test"}"#),
];

/// A request of one of many.
struct Asked(usize);

impl Head for Asked {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let number = self.0;
        let value = match what {
            What::Text(text::METHOD) => ["GET", "POST", "HEAD"][number % 3].to_owned(),
            What::Text(text::SCHEME) => "https".to_owned(),
            What::Text(text::PATH) => format!("/items/{}", number % 7),
            What::Text(text::CLIENT) => format!("192.0.2.{}", number % 50),
            What::Text(text::POOL) => "app".to_owned(),
            What::Cookie(b"user") => format!("user-{}", number % 20),
            What::Header(Side::Request, b"x-user") if number.is_multiple_of(2) => format!("user-{}", number % 20),
            What::Header(Side::Request, b"x-canary") if number.is_multiple_of(5) => "always".to_owned(),
            _ => return false,
        };
        reader(value.as_bytes());
        true
    }

    fn each_header(&self, _: Side, _: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        false
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}

/// Endpoints of which some are busy, slow, out of order, warming or report a load.
fn endpoints() -> Vec<Candidate> {
    let candidate = |number: u16| {
        let weight = 1 + number % 3;
        let endpoint = model::Endpoint { address: format!("192.0.2.{number}:80"), weight };
        let endpoint = Arc::new(Endpoint::new(&endpoint, None));
        let of = u32::from(number);
        for (column, word) in [
            (Column::Active, of * 7919 % 13),
            (Column::Latency, 500 + of * 7919 % 4001),
            (Column::PeakLatency, 900 + of * 7919 % 9001),
            (Column::Rate, (f32::from(number) * 3.5).to_bits()),
            (Column::Errors, (f32::from(number % 4) * 0.1).to_bits()),
            (
                Column::Load,
                if number.is_multiple_of(5) { f32::NAN.to_bits() } else { (f32::from(number) * 0.05).to_bits() },
            ),
            (Column::Warmth, if number == 4 { 0.5f32.to_bits() } else { 1f32.to_bits() }),
            (
                Column::Flags,
                [flag::HEALTHY, flag::HEALTHY | flag::WARMING, 0]
                    [usize::from(number == 4) + 2 * usize::from(number == 7)],
            ),
        ] {
            endpoint.stats.pretend(column, word);
        }
        Candidate { weight, priority: of % 2, ..Candidate::of(endpoint) }
    };
    (0..12).map(candidate).collect()
}

/// What an instance decided and wants changed.
fn told(decision: impl std::fmt::Debug, edits: &Edits) -> String {
    let words = |edit: Edit<'_>| match edit {
        Edit::Set(side, name, value) | Edit::Add(side, name, value) => {
            format!("{side:?} {} {}", name.escape_ascii(), value.escape_ascii())
        }
        Edit::Tag(name, value) => format!("tag {} {}", name.escape_ascii(), value.escape_ascii()),
        other => format!("{other:?}"),
    };
    format!("{decision:?} {:?}", edits.iter().map(words).collect::<Vec<_>>())
}

#[test]
fn every_stock_plugin_decides_as_a_module_as_it_does_linked_in() {
    let engine = Arc::new(Engine::new().expect("an engine"));
    let compiler = Compiler::new(engine.clone(), None).expect("a compiler");
    let budget = Budget { decision: Duration::from_secs(1), configure: Duration::from_secs(10), memory: 64 << 20 };
    for (name, module) in guests::stock() {
        let (_, plugin) = stock::all().find(|(known, _)| *known == name).expect("a plugin");
        let compiled = compiler.compile(&std::fs::read(module).expect("a module"), budget.memory).expect(name);
        assert_eq!(compiled.interface.kinds, plugin().kinds(), "{name}");
        let config = CONFIGS.iter().find(|(known, _)| *known == name).map_or("{}", |(_, config)| *config);
        let (kinds, endpoints) = (plugin().kinds(), endpoints());
        let mut of_wasm = Vec::new();
        let mut of_native = Vec::new();
        // Each form has time and chance of its own, and both the same.
        let services = || Arc::new(Services::timed("a", Time::told()));
        let (services, others) = (services(), services());
        let mould = |services| Mould { services, budget, kinds, config, endpoints: &endpoints, seed: 7 };
        services.tell(1_000_000, 1_000_000_000, 7);
        others.tell(1_000_000, 1_000_000_000, 7);
        let mut wasm = Instance::new(&compiled, &engine, &mould(&services)).expect(name);
        let mut native = Native::new(&plugin(), &mould(&others)).expect(name);
        for number in 0..200 {
            for services in [&services, &others] {
                services.tell(1_000_000 + number as u64 * 250_000, 1_000_000_000, 7);
            }
            let (head, tried) = (Asked(number), [number % 12]);
            if kinds & kind::BALANCER != 0 {
                let attempt = u32::from(number.is_multiple_of(4));
                let tried = &tried[..attempt as usize];
                let decision = wasm.pick(&head, &endpoints, tried, attempt).expect(name);
                of_wasm.push(told(decision, wasm.edits()));
                let decision = native.pick(&head, &endpoints, tried, attempt).expect(name);
                of_native.push(told(decision, native.edits()));
            } else {
                let decision = wasm.route(&head).expect(name);
                of_wasm.push(told(decision, wasm.edits()));
                let decision = native.route(&head).expect(name);
                of_native.push(told(decision, native.edits()));
            }
            if number % 20 == 19 {
                let next = wasm.tick().expect(name);
                assert_eq!(next, native.tick(&endpoints).expect(name), "{name}");
            }
        }
        assert_eq!(of_wasm, of_native, "{name}");
        of_native.sort();
        of_native.dedup();
        assert!(of_native.len() > 1, "{name} always says {of_native:?}");
    }
}

/// A request of one of very many, who are known by a header.
struct User(usize);

impl Head for User {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        match what {
            What::Header(Side::Request, b"x-user") => reader(format!("user-{}", self.0).as_bytes()),
            What::Text(text::POOL) => reader(b"app"),
            _ => return false,
        }
        true
    }

    fn each_header(&self, _: Side, _: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        false
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}

/// Endpoints with these numbers, alike in all but their address.
fn alike(numbers: impl Iterator<Item = u16>) -> Vec<Candidate> {
    let candidate = |number: u16| {
        let endpoint = model::Endpoint { address: format!("192.0.2.{number}:80"), weight: 1 };
        let endpoint = Arc::new(Endpoint::new(&endpoint, None));
        endpoint.stats.pretend(Column::Latency, 1000);
        endpoint.stats.pretend(Column::PeakLatency, 1000);
        endpoint.stats.pretend(Column::Load, 0.5f32.to_bits());
        Candidate::of(endpoint)
    };
    numbers.map(candidate).collect()
}

/// Where each of the clients goes, by the address of its endpoint.
fn homes(balancer: &mut Native, pool: &[Candidate], clients: usize) -> Vec<String> {
    let pick = |client: usize| match balancer.pick(&User(client), pool, &[], 0) {
        Ok(Decision::Endpoint(index)) => pool[index].endpoint.address.clone(),
        other => panic!("{other:?}"),
    };
    (0..clients).map(pick).collect()
}

#[test]
fn shares_stay_even_when_endpoints_come_and_go_and_hardly_any_client_with_a_home_moves() {
    const CLIENTS: usize = 3000;
    let budget = Budget { decision: Duration::MAX, configure: Duration::MAX, memory: 0 };
    let by_header = r#"{"key": "header:x-user"}"#;
    // How many of a hundred clients may move beside those whose home has gone, or is the new one.
    let homing = [("maglev", by_header, 5), ("ring", by_header, 0), ("sticky", by_header, 0)];
    for (name, plugin) in stock::all().filter(|(_, plugin)| plugin().kinds() & kind::BALANCER != 0) {
        let (mut pool, services) = (alike(0..10), Arc::new(Services::timed("a", Time::told())));
        services.tell(1_000_000, 1_000_000_000, 7);
        let home = homing.iter().find(|(known, ..)| *known == name);
        let config = home.map_or("{}", |(_, config, _)| config);
        let mould = Mould { services: &services, budget, kinds: kind::BALANCER, config, endpoints: &pool, seed: 7 };
        let mut balancer = Native::new(&plugin(), &mould).expect(name);
        let all = homes(&mut balancer, &pool, CLIENTS);
        pool.pop();
        assert!(balancer.change_endpoints(&pool).expect(name));
        let fewer = homes(&mut balancer, &pool, CLIENTS);
        pool.extend(alike(20..21));
        assert!(balancer.change_endpoints(&pool).expect(name));
        let others = homes(&mut balancer, &pool, CLIENTS);
        let (gone, new) = ("192.0.2.9:80", "192.0.2.20:80");
        for (homes, count) in [(&all, 10), (&fewer, 9), (&others, 10)] {
            let mut counts = std::collections::BTreeMap::<&String, usize>::new();
            homes.iter().for_each(|home| *counts.entry(home).or_default() += 1);
            // It fills one before it takes the next.
            let expected = if name == "first-available" { 1 } else { count };
            assert_eq!(counts.len(), expected, "{name}: {counts:?}");
            let share = CLIENTS / expected;
            assert!(counts.values().all(|count| (share / 2..=share * 3 / 2).contains(count)), "{name}: {counts:?}");
        }
        let Some((_, _, most)) = home else { continue };
        let moved = |before: &[String], after: &[String]| {
            let pairs = before.iter().zip(after);
            pairs.filter(|(before, after)| before != after && *before != gone && *after != new).count()
        };
        for moved in [moved(&all, &fewer), moved(&fewer, &others)] {
            assert!(moved * 100 <= most * CLIENTS, "{name}: {moved} of {CLIENTS} clients moved");
        }
    }
}

#[tokio::test]
async fn a_client_reads_from_the_primary_what_it_has_just_written() {
    let (primary, replica) = (Origin::says("primary").await, Origin::says("replica").await);
    let text = "
        [plugin.split]
        source = 'builtin:read-write'
        config = { primary = 'primary', replicas = 'replicas', own_writes = '1h' }
        [pool.primary]
        endpoints = ['<primary>']
        [pool.replicas]
        endpoints = ['<replica>']
        [[route]]
        router = 'split'
        pool = 'primary'";
    let gateway = Gateway::of(text).with("primary", &primary).with("replica", &replica).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "replica");
    let written = gateway.client(Wire::H1).await.call("POST", "/", full("x")).await;
    assert_eq!(written.text(), "primary");
    let set = written.header("set-cookie").expect("a cookie").to_owned();
    assert!(set.ends_with("; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = set.split(';').next().unwrap_or_default();
    let read = gateway.get("a/", &[&format!("cookie: {cookie}")]).await;
    assert_eq!((read.text().as_str(), read.field("set-cookie")), ("primary", None));
}

const STICKY: &str = "
    [pool.app]
    endpoints = ['<one>', '<two>', '<three>']
    balance = 'sticky'
    [[route]]
    pool = 'app'
    response_headers = { set = { x-by = 'gateway' } }";

fn cookie(set: &str) -> String {
    format!("cookie: {}", set.split(';').next().unwrap_or_default())
}

#[tokio::test]
async fn the_cookie_is_that_of_the_endpoint_which_answered_and_stands_once() {
    let dead = [RawOrigin::start().await.to_string(), RawOrigin::start().await.to_string()];
    let origin = Origin::says("hi").await;
    let gateway = Gateway::of(STICKY).with("one", &dead[0]).with("two", &dead[1]).with("three", &origin).start().await;
    // One in three has it at once; the others are sent again first.
    for _ in 0..12 {
        let reply = gateway.client(Wire::H1).await.get("/").await;
        let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
        assert_eq!((reply.text(), reply.header("x-by"), cookies.len()), ("hi", Some("gateway"), 1));
        let kept = gateway.get("a/", &[&cookie(reply.header("set-cookie").unwrap_or_default())]).await;
        assert_eq!((kept.text().as_str(), kept.field("set-cookie")), ("hi", None));
    }
}

#[tokio::test]
async fn over_tls_the_cookie_is_for_tls_only_and_a_reload_does_not_change_what_it_says() {
    let origins = [Origin::says("1").await, Origin::says("2").await, Origin::says("3").await];
    let [one, two, three] = &origins;
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\ntls = [{ certificate = 'server.pem', key = 'server.key' }]";
    let text = format!("{listener}{STICKY}");
    for wire in [Wire::H1Tls, Wire::H2Tls] {
        let gateway = Gateway::of(&text).with("one", one).with("two", two).with("three", three).start().await;
        let first = gateway.client(wire).await.get("/").await;
        let set = first.header("set-cookie").expect("a cookie").to_owned();
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
        gateway.apply(&text.replace("x-by", "x-other")).await.expect("a reload");
        for _ in 0..10 {
            let mut client = gateway.client(wire).await;
            let request = client.request("GET", "/").header("cookie", set.split(';').next().unwrap_or_default());
            let reply = client.exchange(request.body(empty()).expect("a request")).await.expect("a response");
            assert_eq!((reply.text(), reply.header("set-cookie")), (first.text(), None));
            assert_eq!(reply.header("x-other"), Some("gateway"));
        }
    }
}
