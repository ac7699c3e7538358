//! The table against examples, and against a slow obvious reading of the same rules.

use std::net::Ipv4Addr;

use http::StatusCode;
use proptest::prelude::*;

use super::super::path::{normalise, wide};
use super::*;
use crate::config::model::{Action, Match, Respond, ValuePattern};
use crate::http::{FieldName, Fields, Method, Scheme, Version};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn pattern(text: &str) -> PathPattern {
    let (inner, prefix) = match text.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let segments = inner.split('/').skip(1).map(|segment| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        name.map_or(Segment::Literal(segment.into()), |name| Segment::Capture(name.into()))
    });
    PathPattern { text: text.into(), segments: segments.collect(), prefix }
}

fn host(text: &str) -> HostPattern {
    text.strip_prefix('*').map_or(HostPattern::Exact(text.into()), |rest| HostPattern::Wildcard(rest.into()))
}

fn route(matches: Match) -> Route {
    let respond = Respond { status: StatusCode::OK, body: String::new(), content_type: String::new() };
    Route {
        mirror: None,
        name: String::new(),
        matches,
        action: Action::Respond(respond),
        router: None,
        filters: Vec::new(),
        rewrite: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        retry: None,
        timeouts: Default::default(),
        body_limit: None,
        body_min_rate: None,
        cache: None,
        compress: None,
    }
}

/// `"host/path"`; either may be missing.
fn at(text: &str) -> Match {
    let (hosts, paths) = match text.find('/') {
        Some(slash) => (&text[..slash], vec![pattern(&text[slash..])]),
        None => (text, Vec::new()),
    };
    Match { hosts: (!hosts.is_empty()).then(|| host(hosts)).into_iter().collect(), paths, ..Match::default() }
}

fn table(places: &[&str]) -> RouteTable {
    RouteTable::new(&places.iter().map(|place| route(at(place))).collect::<Vec<_>>())
}

fn get(authority: &str, target: &str) -> RequestHead {
    RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme: Scheme::Http,
        authority: authority.into(),
        target: target.into(),
        upgrade: None,
        fields: Fields::new(),
    }
}

fn index(table: &RouteTable, authority: &str, target: &str) -> Option<usize> {
    table.find(&get(authority, target), CLIENT).map(|found| found.index)
}

#[test]
fn the_most_specific_host_wins() {
    let table = table(&["", "*.example", "*.shop.example", "shop.example", "[::1]"]);
    for (host, wanted) in [
        ("shop.example", 3),
        ("SHOP.example.:8080", 3),
        ("a.shop.example", 2),
        ("a.b.shop.example", 2),
        ("ashop.example", 1),
        ("example", 0),
        (".example", 0),
        ("", 0),
        ("[::1]:80", 4),
    ] {
        assert_eq!(index(&table, host, "/"), Some(wanted), "{host}");
    }
    let long = format!("{}.shop.example", "a.".repeat(200));
    assert_eq!(index(&table, &long, "/"), Some(0));
}

#[test]
fn a_less_specific_host_serves_what_the_more_specific_one_does_not() {
    let table = table(&["/health", "*.example/api/", "shop.example/shop/"]);
    assert_eq!(index(&table, "shop.example", "/shop/1"), Some(2));
    assert_eq!(index(&table, "shop.example", "/api/1"), Some(1));
    assert_eq!(index(&table, "shop.example", "/health"), Some(0));
    assert_eq!(index(&table, "shop.example", "/other"), None);
}

#[test]
fn paths_are_compared_segment_by_segment_from_the_left() {
    let table = table(&["/", "/{any}", "/users/", "/users/{id}", "/users/me", "/users/{id}/files/", "/{a}/b/c/d"]);
    for (path, wanted) in [
        ("/", 0),
        ("/x", 1),
        ("/x/", 0),
        ("/users", 2),
        ("/users/", 2),
        ("/users/me", 4),
        ("/users/7", 3),
        ("/users/7/", 2),
        ("/users/me/files", 5),
        ("/users/me/files/a/b", 5),
        ("/users/b/c/d", 2),
        ("/other/b/c/d", 6),
        ("/users/7?x=/files", 3),
    ] {
        assert_eq!(index(&table, "any", path), Some(wanted), "{path}");
    }
}

#[test]
fn captures_carry_the_names_of_their_own_route() {
    let table = table(&["/users/{id}", "/users/{name}/files/{file}"]);
    let found = table.find(&get("", "/users/%61nn/files/a%2fb%20c"), CLIENT).unwrap();
    assert_eq!(found.index, 1);
    assert_eq!(found.captures.iter().collect::<Vec<_>>(), [("name", "ann"), ("file", "a%2Fb%20c")]);
    assert_eq!(found.captures.get("id"), None);
    let found = table.find(&get("", "/users/ann"), CLIENT).unwrap();
    assert_eq!((found.captures.get("id"), found.segments), (Some("ann"), 1));
    // What was captured on a way that led nowhere is forgotten.
    let table = super::tests::table(&["/x/{a}/y", "/{b}/2/z"]);
    let found = table.find(&get("", "/x/2/z"), CLIENT).unwrap();
    assert_eq!(found.captures.iter().collect::<Vec<_>>(), [("b", "x")]);
}

#[test]
fn more_conditions_go_before_fewer_and_then_the_order_of_the_file() {
    let canary = (FieldName::new("x-canary").unwrap(), ValuePattern::Exact("1".into()));
    let cookie = ("beta".to_string(), ValuePattern::Prefix("y".into()));
    let table = RouteTable::new(&[
        route(at("/")),
        route(at("/")),
        route(Match { methods: vec![Method::POST], ..at("") }),
        route(Match { methods: vec![Method::POST], headers: vec![canary.clone()], ..at("/") }),
        route(Match { cookies: vec![cookie], ..at("/") }),
        route(Match { clients: vec!["10.0.0.0/8".parse().unwrap()], ..at("/") }),
    ]);
    let mut request = get("", "/x");
    assert_eq!(table.find(&request, CLIENT).unwrap().index, 0);
    assert_eq!(table.find(&request, "10.1.1.1".parse().unwrap()).unwrap().index, 5);
    assert_eq!(table.find(&request, "::ffff:10.1.1.1".parse().unwrap()).unwrap().index, 5);
    request.fields.append("cookie", b"a=b; beta=yes").unwrap();
    assert_eq!(table.find(&request, CLIENT).unwrap().index, 4);
    request.method = Method::POST;
    assert_eq!(table.find(&request, CLIENT).unwrap().index, 2);
    request.fields.append("x-canary", b"1").unwrap();
    assert_eq!(table.find(&request, CLIENT).unwrap().index, 3);
}

#[test]
fn an_asterisk_is_served_by_routes_without_a_path() {
    assert_eq!(index(&table(&["/", "any"]), "any", "*"), Some(1));
    assert_eq!(index(&table(&["/", "/{x}"]), "any", "*"), None);
}

#[test]
fn there_is_no_way_round_a_guarded_path() {
    let guarded = table(&["/", "/admin/", "/x/", "/pkg/{name}", "/pkg/{scope}/{name}", "/pkg/{name}/edit"]);
    for target in
        ["/admin/", "/admin", "/%61dmin/x", "/x/../admin/", "/x/%2e%2e/admin/", "/./admin/y", "/a/b/../../admin"]
    {
        assert_eq!(index(&guarded, "", target), Some(1), "{target}");
    }
    for target in [
        "/admin%2fusers",
        "/admin%5cusers",
        "/admin\\users",
        "//admin/users",
        "/admin;x=y/users",
        "/%2fadmin/users",
        "/admin%2f..",
        "/x/..%2fadmin/",
        "/x/..;/admin/",
        "/x//../admin/",
        "/pkg/a%2fedit",
        "/../admin/",
        "/%00",
        "/%x",
    ] {
        assert_eq!(index(&guarded, "", target), None, "{target}");
    }
    for (target, wanted) in
        [("/pkg/@a%2fb", 3), ("/pkg/a/b", 4), ("/blog//post", 0), ("/a;v=1/b", 0), ("/x//admin/", 2)]
    {
        assert_eq!(index(&guarded, "", target), Some(wanted), "{target}");
    }
    // One route for everything is never in doubt.
    assert_eq!(index(&table(&["/"]), "", "//a%2fb;c/"), Some(0));
}

#[test]
fn ten_thousand_routes_cost_as_many_steps_as_ten() {
    let tenant = |n: usize| {
        let header = (FieldName::new("x-tenant").unwrap(), ValuePattern::Exact(format!("{n}")));
        Match { headers: vec![header], ..at("/") }
    };
    type Make<'m> = Box<dyn Fn(usize) -> Match + 'm>;
    let kinds: [(&str, Make<'_>); 6] = [
        ("hosts", Box::new(|n| at(&format!("h{n}.example/")))),
        ("wildcards", Box::new(|n| at(&format!("*.h{n}.example/")))),
        ("prefixes", Box::new(|n| at(&format!("one.example/p{n}/")))),
        ("exact paths", Box::new(|n| at(&format!("one.example/a/b/p{n}")))),
        ("captures", Box::new(|n| at(&format!("/users/{{id}}/p{n}")))),
        ("headers", Box::new(tenant)),
    ];
    for (kind, make) in &kinds {
        let steps = [10, 10_000].map(|count| {
            let routes: Vec<Route> = (0..count).map(|n| route(make(n))).collect();
            let table = RouteTable::new(&routes);
            let last = count - 1;
            let (authority, target) = match *kind {
                "hosts" => (format!("h{last}.example"), "/x".to_string()),
                "wildcards" => (format!("www.h{last}.example"), "/x".to_string()),
                "prefixes" => ("one.example".to_string(), format!("/p{last}/x")),
                "exact paths" => ("one.example".to_string(), format!("/a/b/p{last}")),
                "captures" => (String::new(), format!("/users/7/p{last}")),
                _ => (String::new(), "/x".to_string()),
            };
            let mut request = get(&authority, &target);
            request.fields.append("x-tenant", format!("{last}").as_bytes()).unwrap();
            let (found, steps) = table.find_counted(&request, CLIENT);
            assert_eq!(found.map(|found| found.index), Some(last), "{kind}");
            request.target = "/none/of/them".into();
            request.authority = "nobody.example".into();
            request.fields.clear();
            let (found, missed) = table.find_counted(&request, CLIENT);
            assert!(found.is_none(), "{kind}");
            (steps, missed)
        });
        assert_eq!(steps[0], steps[1], "{kind}");
        assert!(steps[1].0 <= 6, "{kind}: {:?}", steps[1]);
    }
}

/// How a route ranks for a request by one host and one path pattern: by host, by path, by conditions, by order.
type Rank = (usize, Vec<u8>, usize, usize);

/// The rules of the module's documentation, read one route after another. Also says up to which segment of the
/// winning pattern there is a literal.
fn by_the_book(routes: &[Route], request: &RequestHead, path: &str) -> Option<(usize, usize)> {
    let host = request.host().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let mut ranks: Vec<(Rank, usize)> = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let conditions = Conditions::new(&route.matches);
        if !conditions.hold(request, CLIENT) {
            continue;
        }
        let mut hosts: Vec<usize> = route.matches.hosts.iter().filter_map(|pattern| host_rank(pattern, host)).collect();
        if route.matches.hosts.is_empty() {
            hosts.push(usize::MAX);
        }
        let mut paths: Vec<(Vec<u8>, usize)> =
            route.matches.paths.iter().filter_map(|pattern| path_rank(pattern, path)).collect();
        if route.matches.paths.is_empty() {
            paths.push((vec![2], 0));
        }
        for host in &hosts {
            for (path, literal) in &paths {
                ranks.push(((*host, path.clone(), 100 - conditions.count(), number), *literal));
            }
        }
    }
    ranks.into_iter().min().map(|(rank, literal)| (rank.3, literal))
}

fn host_rank(pattern: &HostPattern, host: &str) -> Option<usize> {
    match pattern {
        HostPattern::Exact(name) => (name == host).then_some(0),
        HostPattern::Wildcard(end) => (host.len() > end.len() && host.ends_with(end)).then_some(1000 - end.len()),
    }
}

fn path_rank(pattern: &PathPattern, path: &str) -> Option<(Vec<u8>, usize)> {
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (mut rank, mut literal) = (Vec::new(), 0);
    for (depth, wanted) in pattern.segments.iter().enumerate() {
        let segment = segments.get(depth)?;
        match wanted {
            Segment::Literal(text) if key(segment) == text.as_bytes() => {
                rank.push(0);
                literal = depth + 1;
            }
            Segment::Capture(_) if !segment.is_empty() => rank.push(1),
            _ => return None,
        }
    }
    match (pattern.prefix, segments.len() == pattern.segments.len()) {
        (false, true) => rank.push(0),
        (true, _) => rank.push(2),
        (false, false) => return None,
    }
    Some((rank, literal))
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["x-one", "x-two"])
}

fn any_match() -> impl Strategy<Value = Match> {
    let host = prop::sample::select(vec!["a.b", "b", "c.a.b", "*.b", "*.a.b"]);
    let path = prop::collection::vec(prop::sample::select(vec!["x", "y", "z", "{n}", ""]), 0..4);
    let path = (path, any::<bool>()).prop_filter_map("never written so", |(segments, prefix)| {
        let text = segments.iter().fold(String::new(), |text, segment| text + "/" + segment);
        let written = if prefix { format!("{text}/") } else { text };
        (!written.is_empty() && (prefix || !written.ends_with('/'))).then_some(written)
    });
    let value = prop::sample::select(vec![
        ValuePattern::Present,
        ValuePattern::Absent,
        ValuePattern::Exact("1".into()),
        ValuePattern::Exact("2".into()),
        ValuePattern::Prefix("1".into()),
    ]);
    let header = (any_name(), value.clone());
    (
        prop::collection::vec(host, 0..2),
        prop::collection::vec(path, 0..3),
        prop::option::weighted(0.3, prop::sample::select(vec![Method::GET, Method::POST, Method::HEAD])),
        prop::collection::vec(header, 0..3),
        prop::option::weighted(0.2, value),
    )
        .prop_map(|(hosts, paths, method, headers, query)| Match {
            hosts: hosts.into_iter().map(super::tests::host).collect(),
            paths: paths.iter().map(|path| pattern(path)).collect(),
            methods: method.into_iter().collect(),
            headers: headers.into_iter().map(|(name, value)| (FieldName::new(name).unwrap(), value)).collect(),
            query: query.into_iter().map(|value| ("q".to_string(), value)).collect(),
            ..Match::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn the_table_agrees_with_the_rules(
        matches in prop::collection::vec(any_match(), 0..40),
        host in prop::sample::select(vec!["a.b", "A.B.:80", "b", "x.b", "x.a.b", "c.a.b", "", "other"]),
        path in "(/(x|y|z|%78|x%2fy|x;1|\\.|\\.\\.|n|)){1,4}|\\*",
        query in prop::sample::select(vec!["", "?q=1", "?q=12", "?p=1&q=2"]),
        method in prop::sample::select(vec![Method::GET, Method::POST, Method::HEAD]),
        headers in prop::collection::vec((any_name(), prop::sample::select(vec!["1", "2", "12"])), 0..4),
    ) {
        let mut request = get(host, &format!("{path}{query}"));
        request.method = method;
        for (name, value) in headers {
            request.fields.append(name, value.as_bytes()).unwrap();
        }
        let routes: Vec<Route> = matches.into_iter().map(route).collect();
        let table = RouteTable::new(&routes);
        let found = table.find(&request, CLIENT);
        let wanted = normalise(&path).ok().and_then(|path| {
            let (first, _) = by_the_book(&routes, &request, &path)?;
            if let Some(wide) = wide(&path)
                && let Some((other, literal)) = by_the_book(&routes, &request, &wide.path)
                && other != first
                && literal > wide.same
            {
                return None;
            }
            Some(first)
        });
        prop_assert_eq!(found.as_ref().map(|found| found.index), wanted);
        if let Some(found) = found {
            let paths = &routes[found.index].matches.paths;
            let fits = paths.is_empty() || paths.iter().any(|pattern| {
                let captures = pattern.segments.iter().filter(|segment| matches!(segment, Segment::Capture(_)));
                captures.count() == found.captures.iter().count()
            });
            prop_assert!(fits);
        }
    }

    #[test]
    fn any_target_is_survived(target in "\\PC{0,60}", authority in "\\PC{0,30}") {
        let table = table(&["/", "a/{b}/c/", "*.x/{y}"]);
        let _ = table.find(&get(&authority, &target), CLIENT);
    }
}
