//! The filter in a real Envoy, held to the specification table by table.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]
#![allow(clippy::type_complexity, reason = "the type of a table is its columns")]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../render/special.rs"]
mod special;

mod anonymous;
mod client_address;
mod client_limit;
mod configuration;
mod cors;
mod decision;
mod demo;
mod errors;
mod explain;
mod failure;
mod feed;
mod fleet;
mod grpc;
mod hostile_input;
mod hostile_traffic;
mod identity;
mod keys_from;
mod manifests;
mod monitoring;
mod node;
mod observability;
mod open_streams;
mod per_host;
mod preflight;
mod query_key;
mod rate_limit;
mod render;
mod report_mode;
mod rotation;
mod scoped_tokens;
mod scopes;
mod security_headers;
mod traffic;
mod under_load;
mod updates;
mod upstream_headers;
mod without_filter;
