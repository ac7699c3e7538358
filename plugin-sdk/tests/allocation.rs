//! A pick costs no allocation, even when the plugin reads from the request; nor does one of the stock balancers.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gatewright_sdk::mock::{Mock, endpoint, get};
use gatewright_sdk::prelude::*;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Least;

impl Balancer for Least {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> {
        Ok(Least)
    }

    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        // Reads so much that memory would grow, if that of the pick before were not used again.
        let read = (0..20).filter(|_| request.path().len() == 9).count();
        assert_eq!(read, 20);
        endpoints.available().min_by_key(|e| e.latency() * (e.active() + 1)).into()
    }
}

#[test]
fn a_pick_does_not_allocate() {
    let endpoints = (0..100).map(|n| endpoint("10.0.0.1:80").active(100 - n));
    let mut gateway = Mock::balancer::<Least>("{}", endpoints).unwrap();
    let head = get("/a/little");
    gateway.pick(&head);
    let before = COUNT.get();
    assert_eq!(gateway.pick(&head), Pick::Endpoint(0));
    let first = COUNT.get() - before;
    for _ in 0..1000 {
        gateway.pick(&head);
    }
    // What is counted is the mock handing over texts, once for each that is read.
    assert_eq!(COUNT.get() - before, 1001 * first);
    assert_eq!(first, 20);
}

/// Goes by the client, as those do that go by a key.
struct ByClient;

impl Balancer for ByClient {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> {
        Ok(ByClient)
    }

    fn pick(&mut self, request: &Request, _: &Endpoints) -> Pick {
        request.hash_client(0).map_or(Pick::Fallback, |_| Pick::Endpoint(0))
    }
}

fn allocations(mut gateway: Mock) -> usize {
    let head = get("/a/little");
    for index in 0..20 {
        // Whatever is there only for those that warm, fail or report something.
        gateway.endpoint(index).warmth(0.5).error_rate(0.1).load(0.5).latency_us(5000).peak_latency_us(9000);
        gateway.pick(&head);
    }
    for _ in 0..50 {
        gateway.pick(&head);
    }
    let before = COUNT.get();
    for _ in 0..100 {
        assert_ne!(gateway.pick(&head), Pick::Fallback);
    }
    COUNT.get() - before
}

#[test]
fn a_pick_of_a_stock_balancer_does_not_allocate() {
    let endpoints = || (0..100).map(|n| endpoint(&format!("10.0.0.{n}:80")).active(n % 7).weight(1 + n % 3));
    // What is counted is the mock handing over the client's address.
    let by_client = allocations(Mock::balancer::<ByClient>("{}", endpoints()).unwrap());
    for (name, plugin, most) in [
        ("p2c", gatewright_plugin_p2c::plugin(), 0),
        ("round-robin", gatewright_plugin_round_robin::plugin(), 0),
        ("random", gatewright_plugin_random::plugin(), 0),
        ("least-requests", gatewright_plugin_least_requests::plugin(), 0),
        ("fastest", gatewright_plugin_fastest::plugin(), 0),
        ("peak-ewma", gatewright_plugin_peak_ewma::plugin(), 0),
        ("prequal", gatewright_plugin_prequal::plugin(), 0),
        ("reported-load", gatewright_plugin_reported_load::plugin(), 0),
        ("first-available", gatewright_plugin_first_available::plugin(), 0),
        ("maglev", gatewright_plugin_maglev::plugin(), by_client),
        ("ring", gatewright_plugin_ring::plugin(), by_client),
    ] {
        assert_eq!(allocations(Mock::plugin(plugin, "{}", endpoints()).unwrap()), most, "{name}");
    }
}
