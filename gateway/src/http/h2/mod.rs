//! HTTP/2 (RFC 9113) with HPACK (RFC 7541), as server and as client, from one core.

mod hpack;
