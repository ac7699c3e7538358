//! Plugins in C: the boundary is what its text says, and no more than that.

use std::path::Path;
use std::process::Command;

use crate::harness::{Gateway, Origin, RawOrigin, Wire, guests};

/// The C code of `ABI.md`, and the command below it that compiles it.
fn shown() -> (String, Vec<String>) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-sdk/ABI.md")).unwrap();
    let (_, rest) = text.split_once("```c\n").expect("C code");
    let (code, rest) = rest.split_once("```").expect("an end of it");
    let command = rest.split('`').find(|piece| piece.starts_with("clang ")).expect("a command");
    (code.to_owned(), command.split(' ').map(str::to_owned).collect())
}

#[tokio::test]
async fn the_balancer_that_the_text_of_the_boundary_shows_avoids_the_busy() {
    if !guests::has_clang() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (code, command) = shown();
    std::fs::write(folder.path().join("least.c"), code).unwrap();
    guests::compile(Command::new(&command[0]).args(&command[1..]).current_dir(folder.path()));
    let module = std::fs::read(folder.path().join("least.wasm")).unwrap();

    let (slow, quick) = (RawOrigin::start().await, Origin::says("quick").await);
    let text = "
        [plugin.least]
        source = 'least.wasm'
        [pool.a]
        endpoints = ['<slow>', '<quick>']
        balance = 'least'
        [[route]]
        pool = 'a'";
    let gateway = Gateway::of(text).with("slow", &slow).with("quick", &quick).file("least.wasm", module).start().await;
    // The first endpoint is picked as long as both are idle, and is busy from then on.
    let mut waits = gateway.raw().await;
    waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut busy = slow.accept().await;
    busy.request().await;
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "quick");
    }
}
