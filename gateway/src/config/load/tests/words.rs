//! What is said of what is wrong.

use super::*;

#[test]
fn an_unknown_limit_is_answered_with_the_nearest_or_with_where_they_stand() {
    let found = wrong("[limits]\nx = 1\nidle_tim = '1s'\n");
    assert!(
        found.iter().any(|line| line.contains("limits.x: unknown key; the ") && line.contains("README")),
        "{found:?}"
    );
    assert!(found.iter().any(|line| line.contains("did you mean \"idle_time\"?")), "{found:?}");
}

#[test]
fn all_problems_come_at_once_and_in_order() {
    let problems = parse(
        r#"wokers = 4
[[listener]]
address = "nowhere"
tls = 5

[pool.api]
endpoints = ["127.0.0.1:9001", { address = "b:80", weight = 0 }, "c:80"]
balance = "p3c"

[[route]]
match = { hots = "a.example", path = ["/a/{id}", "b"] }
pool = "apy"

[[route]]
match.method = "get"
redirect = "/{nope}"

[limits]
header_tine = "1s"
idle_time = 7
connections = "7"
"#,
        Path::new("etc/gateway.toml"),
    )
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        r#"etc/gateway.toml:1:1: wokers: unknown key; did you mean "workers"?
etc/gateway.toml:3:11: listener[0].address: takes an address and a port, such as "0.0.0.0:8080" or "[::]:8443", not "nowhere"
etc/gateway.toml:4:7: listener[0].tls: takes "dev", a list or a table, not a whole number
etc/gateway.toml:7:61: pool.api.endpoints[1].weight: takes a whole number from 1 to 65535
etc/gateway.toml:8:11: pool.api.balance: takes the name of a plugin or of a built-in balancer, not "p3c"; did you mean "p2c"?
etc/gateway.toml:11:11: route[0].match.hots: unknown key; did you mean "host"?
etc/gateway.toml:11:50: route[0].match.path[1]: takes a path that begins with a slash, not "b"
etc/gateway.toml:12:8: route[0].pool: there is no [pool.apy]; did you mean "api"?
etc/gateway.toml:15:16: route[1].match.method: methods are case-sensitive; did you mean "GET"?
etc/gateway.toml:16:12: route[1].redirect: does not know "{nope}". There are {scheme}, {host}, {path}, {query}, {uri}, {client}, {request_id} and what every path of the route captures
etc/gateway.toml:19:1: limits.header_tine: unknown key; did you mean "header_time"?
etc/gateway.toml:20:13: limits.idle_time: takes a time with its unit: write "7s"
etc/gateway.toml:21:15: limits.connections: takes a whole number: write 7 without quotes"#
    );
}

#[test]
fn brackets_that_are_too_few_or_too_many_are_named() {
    let one = |text: &str| match parse(text, Path::new("g")).unwrap_err().problems.as_slice() {
        [problem] => problem.to_string(),
        problems => panic!("{text}\n{problems:#?}"),
    };
    let listener = "[listener]\naddress = \"127.0.0.1:0\"\n";
    let two = "with two brackets on either side, once for each";
    assert_eq!(one(listener), format!("1:1: listener: takes a list: write [[listener]] {two} listener"));
    let route = "[route]\nrespond = \"a\"\n";
    assert_eq!(one(&format!("{LISTENER}{route}")), format!("3:1: route: takes a list: write [[route]] {two} route"));
    assert_eq!(one(&format!("{LISTENER}{route}{route}")), format!("5:2: write [[route]] {two} route"));
    assert_eq!(one(&format!("{listener}{LISTENER}")), format!("1:2: write [[listener]] {two} listener"));
    says("[[admin]]\naddress = \"127.0.0.1:1\"", "admin: takes one table: write [admin] with one bracket");
    says("[[pool.a]]\nendpoints = [\"a:80\"]", "pool.a: takes one table: write [pool.a]");
    // What stands in such a table is checked as if the brackets were right.
    let inner = wrong("[route]\nrespond = 5\nmatch.hots = \"a\"");
    assert!(inner.len() == 3 && inner[2].contains("route[0].match.hots"), "{inner:#?}");
}

#[test]
fn what_to_write_instead_is_said() {
    says("[limits]\ndrain_time = 30", "limits.drain_time: takes a time with its unit: write \"30s\"");
    says("[limits]\ndrain_time = \"30\"", "not \"30\"; write \"30s\"");
    says("[limits]\nbody_size = \"10m\"", "not \"10m\"; write \"10MiB\"");
    says("[admin]\naddress = 9901", "takes a string such as \"127.0.0.1:9901\", not a whole number");
    says("[admin]\naddress = \":9901\"", "for this machine alone \"127.0.0.1:9901\"");
    says("[pool.a]\nendpoints = [\"unix:/run/a.sock\"]", "unix sockets are not supported");
    says("[[route]]\nrespond = \"a\"\nmatch.path = \"^/api\"", "write \"/api/\" for it and everything below");
    says("[[route]]\nrespond = \"a\"\nmatch.header.Upgrade = \"websocket\"", "so this would never match; WebSockets");
    says("[[route]]\nrespond = \"a\"\nmatch.header.proxy-authorization = true", "so this would never match");
    says("[pool.a]\nendpoints = [\"a:80\"]\ntls = \"true\"", "takes true or false: write true without quotes");
}

#[test]
fn what_is_allowed_but_hardly_meant_is_warned_of() {
    let warnings = |text: &str| -> Vec<String> {
        read(&format!("{LISTENER}{text}")).warnings.iter().map(Problem::to_string).collect()
    };
    let twice =
        "[[route]]\nmatch.path = \"/a\"\nrespond = \"1\"\n[[route]]\nmatch = { path = \"/a\" }\nrespond = \"2\"\n";
    let said = "6:1: route[1]: warning: can never win: the route in line 3 goes before it and takes every request that \
                this one matches";
    assert_eq!(warnings(twice), [said]);
    let odd = "[[route]]\nmatch.path = [\"/a\", \"/users/:id\"]\nrespond = \"1\"\n";
    assert_eq!(
        warnings(odd),
        [
            "4:21: route[0].match.path[1]: warning: \":id\" is compared letter by letter; for any one segment write \"{id}\""
        ]
    );
    assert_eq!(warnings(""), ["1:1: warning: there is no [[route]]: every request is answered 404"]);
    let any = "[pool.api]\nendpoints = [\"a:80\"]\ntls = { dangerously_accept_any_certificate = true }\n\
               [[route]]\npool = \"api\"\n";
    let said = "5:46: pool.api.tls.dangerously_accept_any_certificate: warning: the endpoints of pool \"api\" are not";
    assert!(warnings(any)[0].starts_with(said), "{:?}", warnings(any));
    assert_eq!(warnings(&any.replace("true", "false")), [""; 0]);
    for (name, text) in FILES {
        assert_eq!(parse(text, Path::new(name)).unwrap().warnings, [], "{name}");
    }
}

#[test]
fn errors_of_syntax_name_their_place() {
    says("[pool.a\n", "3:");
    says("x = \n", "3:5: ");
    says("admin.address = \"ü\" \"\n", "3:21: ");
    let twice = wrong("a = 1\na = 2\nb = 1\nb = 1\n");
    assert_eq!(twice.len(), 2, "{twice:?}");
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(!wrong(&deep).is_empty());
    assert!(!wrong(&format!("a{} = 1", ".a".repeat(100_000))).is_empty());
    assert!(!wrong(&format!("[a{}]", ".a".repeat(70))).is_empty());
}

#[test]
fn a_problem_is_reported_once() {
    // What is unknown or of a wrong type is not also missing, and what names it is not wrong for that.
    says(
        "[pool.a]\nendpoint = [\"a:80\"]\nendpoints = [\"a:80\"]\n[[route]]\npool = \"a\"",
        "did you mean \"endpoints\"",
    );
    says("[pool.a]\nendpoints = 5\n[[route]]\npool = \"a\"", "endpoints: takes a list");
    says("[[route]]\npol = \"a\"", "did you mean \"pool\"");
    says(
        "[pool.a]\nendpoints = [\"a:80\"]\n[[route]]\npool = \"a\"\nrewrite = { paht = \"/\" }",
        "did you mean \"path\"",
    )
}

#[test]
fn too_many_problems_are_counted() {
    let text: String = (0..5000).map(|number| format!("key{number} = 1\n")).collect();
    let problems = parse(&text, Path::new("g")).unwrap_err();
    assert_eq!((problems.problems.len(), problems.omitted), (1000, 4000));
}
