//! Where clients connect.

pub mod proxy_protocol;
