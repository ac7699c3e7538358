//! Which route serves a request.
//!
//! In: a request head and the client's address. Out: the index of the route, what its path captured, and (in
//! [`rewrite`]) the target and header changes that follow from them. Pure; built once for each configuration, shared by
//! all workers, never changed.
//!
//! # Which route wins
//!
//! 1. **Host.** An exact name before a longer wildcard, before a shorter wildcard, before routes for any host. Case,
//!    port and a dot at the end do not count.
//! 2. **Path**, compared segment by segment from the left: a literal before a capture, before "ends here as a prefix".
//!    So an exact path goes before a prefix, and a longer prefix before a shorter one. A route without a path counts as
//!    `/`.
//! 3. **Conditions.** More of them before fewer: the scheme is one, the methods are one, each header, query and cookie is one, the
//!    client networks are one.
//! 4. **The order of the file.**
//!
//! When no route of the most specific host fits by path and conditions, the next less specific host is asked, down to
//! the routes for any host; likewise for paths. (nginx stops at the server block and Envoy at the virtual host; here
//! a route for one host adds to those for all hosts and does not hide them.)
//!
//! A method is compared exactly, but a route for `GET` serves `HEAD` too (RFC 9110 section 9.3.2: the same as GET
//! without the content), as in nginx and in most routers of applications. A route that names `HEAD` itself has no
//! precedence over it by that; it goes first in the file.
//!
//! # What is compared
//!
//! Paths in the normal form that [`path`] makes; there it also says how tricks with dots and escapes are kept from
//! going round a route. Headers: one field line must fit as a whole. Query: names and values with escapes and `+`
//! decoded; one of several of the same name must fit. Cookies: the first of that name.

mod conditions;
mod hash;
pub mod path;
pub mod rewrite;
pub mod table;

pub use conditions::{cookie_fits, header_fits};
pub use path::{PathProblem, normalise};
pub use table::{Captures, Found, RouteTable};
