//! keyfence under Istio and Envoy Gateway, and beside the rate limit service: real programs, in a network namespace of their own.
//!
//! Ignored unless asked for: `make test-mesh` builds the programs and runs the tests inside `tests/mesh/namespace`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod envoy_gateway;
mod fed_keys;
mod guide;
mod istio;
mod key_server;
mod kubernetes;
mod process;
mod rate_limit;
mod registry;
