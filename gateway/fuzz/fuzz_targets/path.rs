//! Paths from the wire: one normal form, no dot segments left, and no route found that the normal form would not find. What a folder
//! looks up for them lies below it.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use gatewright::config::model::{Action, Candidate, HostPattern, Match, PathPattern, Respond, Route, Segment};
use gatewright::files::pattern::Pattern;
use gatewright::files::resolve::{Ask, candidate, resolve, sibling, with_slash};
use gatewright::http::encoding::Coding;
use gatewright::http::{Fields, Method, RequestHead, Scheme, StatusCode, Version};
use gatewright::route::{RouteTable, normalise};
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 7] = ["/", "/a/", "/a/b", "/{x}/b/", "/a/{y}", "/admin/", "/{x}/{y}/c"];
static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let hosts = [None, Some(HostPattern::Exact("a.b".into())), Some(HostPattern::Wildcard(".b".into()))];
    let routes = hosts.iter().flat_map(|host| PATHS.map(|path| route(host.clone(), path)));
    RouteTable::new(&routes.collect::<Vec<_>>())
});

fn route(host: Option<HostPattern>, path: &str) -> Route {
    let segments = path.split('/').filter(|segment| !segment.is_empty()).map(|segment| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        name.map_or(Segment::Literal(segment.into()), |name| Segment::Capture(name.into()))
    });
    let path = PathPattern { text: path.into(), segments: segments.collect(), prefix: path.ends_with('/') };
    let respond = Respond { status: StatusCode::OK, body: String::new(), content_type: String::new() };
    Route {
        name: String::new(),
        matches: Match { hosts: host.into_iter().collect(), paths: vec![path], ..Match::default() },
        action: Action::Respond(respond),
        router: None,
        filters: Vec::new(),
        rewrite: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        timeouts: Default::default(),
        retry: None,
        mirror: None,
        body_limit: None,
        body_min_rate: None,
        cache: None,
        compress: None,
    }
}

/// `try_files` as people write them.
fn candidates() -> [Candidate; 5] {
    let fixed = |before: &str| Candidate { before: before.into(), takes_path: false, ..Candidate::path() };
    let around = |before: &str, after: &str| Candidate { before: before.into(), after: after.into(), takes_path: true };
    [Candidate::path(), around("", ".html"), around("/old", ""), around("", "/index.htm"), fixed("/index.html")]
}

fn looked_up_below(path: &str) {
    assert!(with_slash(path, None).starts_with("./"));
    let mut names = Vec::new();
    if resolve(path, &mut names).is_err() {
        return;
    }
    let names = String::from_utf8(names).expect("names are UTF-8");
    let lies_below = |path: &str| {
        assert!(path.is_empty() || path.starts_with('/'), "{path:?}");
        for name in path.split('/').skip(1) {
            let hidden = name.starts_with('.') && !name.starts_with(".well-known");
            assert!(!name.is_empty() && !hidden && !name.contains(['\\', '\0']), "{path:?}");
        }
    };
    for ask in [Ask::File, Ask::Folder, Ask::Either] {
        for one in &candidates() {
            let Some((path, _)) = candidate(one, &names, ask) else { continue };
            lies_below(&path);
            Coding::ALL.into_iter().filter_map(|coding| sibling(&path, coding)).for_each(|path| lies_below(&path));
        }
    }
    for pattern in ["*-{hash}.*", "/**/*.js", "*"] {
        let _ = Pattern::new(pattern).fits(&names);
    }
}

fuzz_target!(|input: (String, String)| {
    let (authority, target) = input;
    looked_up_below(&target);
    let mut request = RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme: Scheme::Http,
        authority,
        target,
        upgrade: None,
        fields: Fields::new(),
    };
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let found = TABLE.find(&request, client).map(|found| found.index);
    let Ok(normal) = normalise(request.path()).map(|path| path.into_owned()) else {
        assert_eq!(found, None);
        return;
    };
    assert!(normal == "*" || normal.starts_with('/'));
    assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
    assert_eq!(normalise(&normal).as_deref(), Ok(&*normal));
    request.target = normal;
    assert_eq!(TABLE.find(&request, client).map(|found| found.index), found);
});
