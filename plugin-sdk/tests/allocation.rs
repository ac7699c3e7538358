//! A pick costs no allocation, even when the plugin reads from the request.

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
