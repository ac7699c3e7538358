//! A pick costs no allocation: not when the plugin reads what it read before.

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

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        endpoints.available().min_by_key(|e| e.latency() * (e.active() + 1)).into()
    }
}

#[test]
fn a_pick_does_not_allocate() {
    let endpoints = (0..100).map(|n| endpoint("10.0.0.1:80").active(100 - n));
    let mut gateway = Mock::balancer::<Least>("{}", endpoints).unwrap();
    let head = get("/").header("x-key", "k");
    gateway.pick(&head);
    let before = COUNT.get();
    for _ in 0..10 {
        assert_eq!(gateway.pick(&head), Pick::Endpoint(0));
    }
    assert_eq!(COUNT.get() - before, 0);
}
