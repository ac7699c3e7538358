//! Looking at the cache, and throwing away what it keeps, while it is used.

use super::{gateway, response};
use crate::harness::{Gateway, RawOrigin};

/// Has the origin answer what is asked for.
async fn fill(gateway: &Gateway, origin: &RawOrigin, path: &str, answer: &str, step: usize) {
    let target = format!("a.example{path}");
    let (got, ()) = tokio::join!(gateway.get(&target, &[]), async {
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(response(answer, step, false)).await;
    });
    assert_eq!(got.text(), step.to_string());
}

async fn is_kept(gateway: &Gateway, origin: &RawOrigin, path: &str, step: usize) {
    assert_eq!(gateway.get(&format!("a.example{path}"), &[]).await.text(), step.to_string());
    origin.is_untouched();
}

async fn purged(gateway: &Gateway, query: &str) -> u64 {
    let (status, answer) = gateway.order(&format!("/cache/purge?{query}"), b"").await;
    assert_eq!(status, 200, "{answer}");
    answer["purged"].as_u64().unwrap()
}

/// No client request fails.
#[tokio::test]
async fn what_is_purged_is_asked_for_again() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let fresh = "200 | cache-control: max-age=60 | etag: \"a\" | surrogate-key: one two";
    fill(&gateway, &origin, "/a", fresh, 0).await;
    fill(&gateway, &origin, "/b/c", "200 | cache-control: max-age=60 | cache-tag: two, three", 1).await;
    assert_eq!(purged(&gateway, "url=http%3A%2F%2FA.example%3A80%2Fa").await, 1);
    is_kept(&gateway, &origin, "/b/c", 1).await;
    fill(&gateway, &origin, "/a", fresh, 2).await;
    assert_eq!(purged(&gateway, "prefix=HTTP://A.example:80/b").await, 1);
    is_kept(&gateway, &origin, "/a", 2).await;
    fill(&gateway, &origin, "/b/c", "200 | cache-control: max-age=60 | cache-tag: two, three", 3).await;
    assert_eq!(purged(&gateway, "tag=three").await, 1);
    is_kept(&gateway, &origin, "/a", 2).await;
    fill(&gateway, &origin, "/b/c", fresh, 4).await;
    assert_eq!(purged(&gateway, "tag=two").await, 2);
    fill(&gateway, &origin, "/a", fresh, 5).await;
    assert_eq!(purged(&gateway, "all").await, 1);
    fill(&gateway, &origin, "/a", fresh, 6).await;
}

/// No client request fails.
#[tokio::test]
async fn what_is_purged_softly_may_still_hold() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    fill(&gateway, &origin, "/a", "200 | cache-control: max-age=60 | etag: \"a\"", 0).await;
    assert_eq!(purged(&gateway, "url=http://a.example/a&soft").await, 1);
    let (got, ()) = tokio::join!(gateway.get("a.example/a", &[]), async {
        let mut upstream = origin.accept().await;
        assert!(upstream.request().await.has("if-none-match", "\"a\""));
        upstream.send(response("304", 1, false)).await;
    });
    assert_eq!(got.text(), "0");
    is_kept(&gateway, &origin, "/a", 0).await;
}

/// No client request fails.
#[tokio::test]
async fn what_is_kept_can_be_looked_at() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    fill(&gateway, &origin, "/a?b", "200 | cache-control: max-age=60 | age: 5 | vary: foo | cache-tag: x", 0).await;
    fill(&gateway, &origin, "/c", "200 | cache-control: max-age=60", 1).await;
    let look = async |path: &str| -> serde_json::Value {
        let (status, text) = gateway.admin("GET", path).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let list = look("/cache/list").await;
    let urls: Vec<_> = list["entries"].as_array().unwrap().iter().map(|entry| entry["url"].as_str().unwrap()).collect();
    assert_eq!(urls, ["http://a.example/a?b", "http://a.example/c"]);
    let one = &look("/cache/list?url=http://A.example/a?b").await["entries"][0];
    assert_eq!(
        (one["status"].as_u64(), one["tags"][0].as_str(), one["vary"][0].as_str()),
        (Some(200), Some("x"), Some("foo"))
    );
    assert!(one["fields"].as_array().unwrap().iter().any(|field| field == "cache-control: max-age=60"), "{one}");
    let stats = look("/cache").await;
    assert!(stats["bytes"].as_u64().unwrap() > 1000 && stats["bytes_most"].as_u64() == Some(256 << 20), "{stats}");
    for (query, status) in [("", 400), ("url=http://a.example/&tag=x", 400), ("tags=x", 400), ("prefix=", 400)] {
        assert_eq!(gateway.order(&format!("/cache/purge?{query}"), b"").await.0, status, "{query}");
    }
}

/// No client request fails.
#[tokio::test]
async fn what_is_kept_survives_a_reload() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    fill(&gateway, &origin, "/a", "200 | cache-control: max-age=60", 0).await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\nname = '/'\npool = 'a'\ncache = true\n[[route]]\nmatch.path = '/x'\nrespond = 'x'\n<admin>";
    gateway.apply(text).await.unwrap();
    is_kept(&gateway, &origin, "/a", 0).await;
}
