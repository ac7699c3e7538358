//! `[[route]]`.

use super::*;

#[test]
fn a_body_with_what_looks_like_a_placeholder_is_warned_of() {
    let warnings = |text: &str| {
        let text =
            format!("[[listener]]\naddress = '127.0.0.1:0'\n[[route]]\nmatch = {{ path = '/u/{{id}}' }}\n{text}");
        read(&text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let line = "5:11: route[0].respond: warning: {client} is sent as it stands here: a body has no placeholders";
    assert_eq!(warnings("respond = 'you are {client}'"), [line]);
    let found = warnings("respond = { body = 'user {id}' }");
    assert!(found.len() == 1 && found[0].contains("route[0].respond.body: warning: {id} is sent"), "{found:?}");
    assert!(warnings("respond = '{\"status\": \"ok\", \"host\": {}}'").is_empty());
}

#[test]
fn routes_are_checked() {
    let says = |keys: &str, expected: &str| {
        says(&format!("[pool.a]\nendpoints = [\"a:80\"]\n[[route]]\n{keys}"), expected);
    };
    says("", "route[0]: needs one of");
    says("pool = \"a\"\nrespond = \"x\"", "stands beside \"pool\"");
    says("pool = \"a\"\nname = \"x\"\n[[route]]\npool = \"a\"\nname = \"x\"", "line 7 already");
    says("pool = \"a\"\nmatch.host = []", "at least one");
    says("pool = \"a\"\nmirror = { pool = \"a\" }", "is the pool that answers");
    says("pool = \"a\"\nmirror = { pool = \"b\" }", "there is no [pool.b]");
    says("pool = \"a\"\nmirror = { share = \"10%\" }", "pool");
    says("respond = \"x\"\nmirror = { pool = \"a\" }", "only on a route with a pool");
    says("pool = \"a\"\nmatch.header = { host = \"x\" }", "matched by \"host\"");
    says("pool = \"a\"\nmatch.header = { \"a b\" = \"x\" }", "route[0].match.header.\"a b\": \"a b\" is not a header");
    says("pool = \"a\"\nmatch.cookie = { a = 5 }", "takes true or false or a string");
    says("pool = \"a\"\nspeed = true", "route[0].speed: unknown key");
    says("respond = \"x\"\ncache = true", "cache: has a meaning only");
    says("static = \"\"", "takes a path");
    says("static = { listing = true }", "static.root: is missing");
    says("redirect = \"www.example\"", "takes an address");
    says("redirect = { to = \"/\", status = 200 }", "takes 301, 302, 303, 307 or 308");
    says("respond = { status = 101 }", "from 200 to 599");
    says("respond = { status = 204, body = \"x\" }", "no body");
    says("respond = { type = \"html\" }", "media type");
    says("respond = \"x\"\nrewrite = { path = \"/\" }", "only on a route with a pool");
    says("respond = \"x\"\ntimeouts = { connect = \"1s\" }", "timeouts.connect: has a meaning only");
    says("pool = \"a\"\nrewrite = {}", "needs \"strip_prefix\"");
    says("pool = \"a\"\nrewrite = { path = \"/\", add_prefix = \"/x\" }", "cannot stand beside");
    says("pool = \"a\"\nrewrite = { path = \"/{id}\" }", "does not know \"{id}\"");
    says("pool = \"a\"\nmatch.path = [\"/{id}\", \"/b\"]\nrewrite = { path = \"/{id}\" }", "does not know \"{id}\"");
    says("pool = \"a\"\nmatch.path = [\"/{id}\", \"b\"]\nrewrite = { path = \"/{id}\" }", "begins with a slash");
    says("pool = \"a\"\nrequest_headers.set = { content-length = \"1\" }", "writes it itself");
    says("pool = \"a\"\nrequest_headers.set = { X-a = \"1\", x-A = \"1\" }", "set twice");
    says("pool = \"a\"\nrequest_headers.remove = [\"Host\"]", "can be set");
    says("pool = \"a\"\nresponse_headers.add = { a = \"x\\ny\" }", "control characters");
    says("pool = \"a\"\nbody_limit = \"1X\"", "takes a size");
    says("pool = \"a\"\nbody_min_rate = \"slow\"", "takes a size");
    says("respond = \"x\"\nbody_min_rate = 0", "only on a route with a pool");
    let right =
        "pool = \"a\"\nrequest_headers.set = { host = \"b\" }\nresponse_headers.add = { link = [\"a\", \"b\"] }";
    let text = format!("{LISTENER}[pool.a]\nendpoints = [\"a:80\"]\n[[route]]\n{right}");
    assert_eq!(read(&text).routes[0].response_headers.add.len(), 2);
}
