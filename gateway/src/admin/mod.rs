//! What operators ask of a running gateway: `GET /metrics`, `GET /status`, `GET /healthz`, `POST /reload`, and about plugins.
//!
//! In: requests at the admin address, in HTTP/1.1. Out: text for Prometheus, JSON for everybody else. Runs on the control thread, so that
//! it answers while workers are busy. Whoever reaches the address may reload and push; it belongs on a loopback or management
//! address. Requests that a browser sends on behalf of another site are refused, and so are those for a name that this other
//! site might have pointed at us. Limits: so many connections; whoever comes then takes the place of the one that has kept
//! us waiting longest; and so many orders that wait, which leave places for those who only look.

mod board;
mod cache;
mod drain;
mod endpoints;
mod places;
mod plugins;
mod query;
mod status;
mod waiting;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Deadline, Watchdog};
use crate::error::{Phase, Side};
use crate::http::h1::io::Io;
use crate::http::h1::server::{Connection, Next, Refused, Responder};
use crate::http::pump::Pump;
use crate::http::{Body, Control, Method, RequestHead, ResponseHead, Scheme, StatusCode, Stream, name};
use crate::limits::Limits;
use crate::reload::{Change, Order};
use crate::worker::Shared;
pub use board::{Board, Ended};
use places::{Place, Places};
use waiting::Orders;

/// To write one answer.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// The one who answers.
pub struct Desk {
    shared: Arc<Shared>,
    orders: mpsc::WeakUnboundedSender<Order>,
    board: Rc<Board>,
    uploads: Rc<Cell<usize>>,
    waiting: Orders,
    limits: Arc<Limits>,
}

/// An answer.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    /// Whether it goes at another time.
    later: bool,
}

/// Takes the address.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Desk {
    /// Answers from what is shared; passes orders on.
    pub fn new(shared: Arc<Shared>, orders: mpsc::WeakUnboundedSender<Order>, board: Rc<Board>) -> Desk {
        // Short, since there are few places: whoever connects has something to ask.
        let (idle_time, header_time) = (Duration::from_secs(10), Duration::from_secs(2));
        let limits = Limits { idle_time, header_time, body_size: 0, ..Limits::default() };
        let (uploads, waiting) = Default::default();
        Desk { shared, orders, board, uploads, waiting, limits: Arc::new(limits) }
    }

    /// Answers until the thread ends.
    pub async fn serve(self, socket: std::net::TcpListener) {
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::error!(%error, "the admin address does not answer"),
        };
        let desk = Rc::new(self);
        let mut places = Places::default();
        loop {
            match socket.accept().await {
                Ok((tcp, _)) => {
                    let (desk, place) = (desk.clone(), Place::default());
                    places.make_room().await;
                    let answering = place.clone();
                    let task = tokio::task::spawn_local(async move { desk.connection(tcp, &answering).await });
                    places.take(place, task.abort_handle());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connection(&self, tcp: TcpStream, place: &Place) {
        let io = Io::new(Stream::cleartext(tcp), BytesMut::new());
        let mut connection = Connection::new(io, Scheme::Http, self.limits.clone());
        let (control, mut watchdog) = (Control::default(), Watchdog::default());
        loop {
            let (answer, head_only, mut responder) = match connection.next(&control, &mut watchdog).await {
                Next::Request(mut received) => {
                    if received.head.fields.contains(name::EXPECT) && received.head.method == Method::POST {
                        received.responder.inform(&ResponseHead::new(StatusCode::CONTINUE));
                        let _ = poll_fn(|cx| crate::http::pump::Outlet::poll_flush(&mut received.responder, cx)).await;
                    }
                    let answer = place.keep(self.answer(&received.head, received.body, &mut watchdog)).await;
                    (answer, received.head.method == Method::HEAD, received.responder)
                }
                Next::Refused(Refused { error, .. }, responder) => {
                    let Some(status) = error.outcome().status else { return };
                    (Answer::text(status, format!("{error}\n")), false, responder)
                }
                Next::Over(_) => return,
            };
            let deadline = Deadline::after(WRITE_TIME, Phase::BodyIdle, Side::Client);
            let sent = watchdog.within(deadline, send(&mut responder, answer, head_only)).await;
            drop(responder);
            if sent.is_err() || connection.finish(&mut watchdog).await.is_some() {
                return;
            }
        }
    }

    async fn answer(&self, request: &RequestHead, body: Body, watchdog: &mut Watchdog) -> Answer {
        if !is_ours(request) {
            let text = "ask for it by an address or as localhost: other names may be another site's\n";
            return Answer::text(StatusCode::FORBIDDEN, text.into());
        }
        let reading = request.method == Method::GET || request.method == Method::HEAD;
        let ordering = request.method == Method::POST;
        if ordering && (request.fields.contains(name::ORIGIN) || request.fields.contains("sec-fetch-site")) {
            // A page that somebody looks at can send this too; its browser says so.
            return Answer::text(StatusCode::FORBIDDEN, "not from a browser\n".into());
        }
        match request.path() {
            "/metrics" if reading => Answer {
                status: StatusCode::OK,
                content_type: crate::metrics::CONTENT_TYPE,
                body: self.shared.metrics_text(),
                later: false,
            },
            "/status" if reading => Answer::json(StatusCode::OK, &status::status(&self.shared)),
            "/healthz" if reading => Answer::text(StatusCode::OK, "ok\n".into()),
            "/" if reading => Answer::text(StatusCode::OK, HELP.into()),
            "/plugins" if reading => self.plugins(),
            "/reload" if ordering => self.reload().await,
            "/plugins/push" if ordering => self.push(request, body, watchdog).await,
            "/plugins/rollback" if ordering => self.roll_back(request).await,
            "/plugins/promote" if ordering => self.promote(request).await,
            "/drain" if ordering => self.drain(request, true),
            "/undrain" if ordering => self.drain(request, false),
            "/cache" if reading => self.cache().await,
            "/cache/list" if reading => self.cache_list(request).await,
            "/cache/purge" if ordering => self.purge(request).await,
            "/metrics" | "/status" | "/healthz" | "/" | "/reload" | "/plugins" | "/plugins/push"
            | "/plugins/rollback" | "/plugins/promote" | "/drain" | "/undrain" | "/cache" | "/cache/list"
            | "/cache/purge" => Answer::text(StatusCode::METHOD_NOT_ALLOWED, HELP.into()),
            _ => Answer::text(StatusCode::NOT_FOUND, HELP.into()),
        }
    }

    async fn reload(&self) -> Answer {
        let Some(_waiting) = self.waiting.long() else { return Answer::full() };
        let (reply, answer) = oneshot::channel();
        self.order(Change::Reload(reply));
        match answer.await {
            Ok(Ok(changes)) => {
                Answer::json(StatusCode::OK, &serde_json::json!({ "reloaded": true, "changes": changes }))
            }
            Ok(Err(error)) => {
                let problems = error.to_string();
                let problems: Vec<&str> = problems.lines().collect();
                let body = serde_json::json!({ "reloaded": false, "problems": problems });
                Answer::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
            }
            Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n".into()),
        }
    }
}

impl Desk {
    fn order(&self, change: Change) {
        // Without a control thread there is no answer, which whoever waits for it sees.
        let _ = self.orders.upgrade().map(|orders| orders.send(Order::Change(change)));
    }
}

/// Whether a request is for a name that nobody else can point at us: a page of a site that does would be of the same origin
/// to a browser, and read what we answer.
fn is_ours(request: &RequestHead) -> bool {
    let host = request.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // Without a name it is no browser: HTTP/1.0.
    host.is_empty() || host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

const HELP: &str = "\
GET  /metrics   counters and histograms, for Prometheus
GET  /status    what is in force: listeners, routes, pools; how each endpoint is, as JSON
GET  /healthz   200 while the gateway runs
GET  /plugins   versions of plugins: in force, on trial, and before; what is done, and how that ended
POST /reload    reads the configuration file again; 422 and the problems when it stays as it was
POST /drain?pool=NAME&address=ADDRESS    takes an endpoint out of use; /undrain puts it back
GET  /cache     how much is kept; /cache/list?prefix=URL what, /cache/list?url=URL with its headers
POST /cache/purge?url=URL           throws away what is kept of it; or prefix=URL, tag=TAG, all;
                                    with &soft it is only made stale
POST /plugins/push?plugin=NAME      brings the module that is the body into force; with &shadow=1m,
                                    &canary=10%25&for=30s or &at_once not as the configuration says
POST /plugins/rollback?plugin=NAME  goes back to the version before, or to=VERSION
POST /plugins/promote?plugin=NAME   ends a trial: the version is in force
                                    both: 409 unless trial=ID (or none) runs and version=VERSION is
                                    in force, where that is said
";

impl Answer {
    fn text(status: StatusCode, body: String) -> Answer {
        Answer { status, content_type: "text/plain; charset=utf-8", body, later: false }
    }

    fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
        Answer { status, content_type: "application/json", body: format!("{value:#}\n"), later: false }
    }

    /// Too many wait already.
    fn full() -> Answer {
        let problem = "too many orders wait for their turn already; try again when some of them are carried out";
        Answer { later: true, ..Answer::problem(StatusCode::SERVICE_UNAVAILABLE, problem) }
    }
}

async fn send(responder: &mut Responder, answer: Answer, head_only: bool) -> Result<(), crate::error::Error> {
    let mut head = ResponseHead::new(answer.status);
    let _ = head.fields.set(name::CONTENT_TYPE, answer.content_type.as_bytes());
    let _ = head.fields.set(name::CACHE_CONTROL, b"no-store");
    if answer.later {
        let _ = head.fields.set(name::RETRY_AFTER, b"1");
    }
    let mut body = Body::full(answer.body);
    let length = body.length();
    if !responder.head(&head, length, true) || head_only {
        body = Body::Empty;
        return poll_fn(|cx| crate::http::pump::Outlet::poll_flush(responder, cx)).await.map(|()| drop(body));
    }
    let mut pump = Pump::default();
    poll_fn(|cx| pump.poll(&mut body, responder, cx)).await
}
