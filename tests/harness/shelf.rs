//! A server with plugins: files by their paths, or a registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Body, Origin, Wire, eventually, full};

type Answer = Box<dyn Fn(&Request<Incoming>) -> Response<Body> + Send>;

/// A server whose answers the test puts there, path by path; 404 elsewhere.
pub(crate) struct Shelf {
    origin: Origin,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
}

/// What has which hash, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An answer without a body.
pub(crate) fn status(status: u16) -> Response<Body> {
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

impl Shelf {
    pub(crate) async fn over(wire: Wire) -> Shelf {
        let answers: Arc<Mutex<HashMap<String, Answer>>> = Arc::default();
        let known = answers.clone();
        let answer = move |request: Request<Incoming>| {
            let answers = known.lock().expect("no panic");
            let answer = answers.get(request.uri().path()).map_or_else(|| status(404), |answer| answer(&request));
            std::future::ready(answer)
        };
        Shelf { origin: Origin::start(wire, answer).await, answers }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Goes, and is gone: nobody gets a connection any more.
    pub(crate) async fn close(self) {
        let address = self.origin.to_string();
        drop(self);
        eventually("the server to be gone", async || TcpStream::connect(&*address).await.is_err()).await;
    }

    /// Answers so at this path.
    pub(crate) fn at(&self, path: &str, answer: impl Fn(&Request<Incoming>) -> Response<Body> + Send + 'static) {
        self.answers.lock().expect("no panic").insert(path.to_owned(), Box::new(answer));
    }

    /// Has these bytes at this path.
    pub(crate) fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref().to_vec();
        self.at(path, move |_| Response::new(full(bytes.clone())));
    }

    /// Has an image of a module at `/v2/a/b`, by its tag and its digest. The digest of its manifest.
    pub(crate) fn image(&self, tag: &str, module: &[u8], kind: &str) -> String {
        let layer = json!({ "mediaType": kind, "digest": format!("sha256:{}", sha256(module)), "size": module.len() });
        let config = json!({ "mediaType": "application/vnd.wasm.config.v0+json", "digest": "sha256:0", "size": 2 });
        self.put(&format!("/v2/a/b/blobs/sha256:{}", sha256(module)), module);
        self.manifest(tag, &json!({ "schemaVersion": 2, "config": config, "layers": [layer] }))
    }

    /// Has a manifest at `/v2/a/b`. Its digest.
    pub(crate) fn manifest(&self, tag: &str, manifest: &Value) -> String {
        let text = manifest.to_string();
        let digest = sha256(text.as_bytes());
        self.put(&format!("/v2/a/b/manifests/sha256:{digest}"), &text);
        self.put(&format!("/v2/a/b/manifests/{tag}"), text);
        digest
    }

    /// Lets nobody have anything without this in `Authorization`, and says where it is to be had.
    pub(crate) fn guard(&self, authorization: &'static str, challenge: &str) {
        let mut answers = self.answers.lock().expect("no panic");
        let challenge: hyper::header::HeaderValue = challenge.parse().expect("a value");
        for (path, answer) in std::mem::take(&mut *answers) {
            let challenge = challenge.clone();
            let guarded: Answer = Box::new(move |request| {
                if request.headers().get("authorization").is_some_and(|given| given == authorization) {
                    return answer(request);
                }
                let mut refusal = status(401);
                refusal.headers_mut().insert("www-authenticate", challenge.clone());
                refusal
            });
            answers.insert(path, guarded);
        }
    }
}
