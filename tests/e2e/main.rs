//! The filter in a real Envoy.

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

mod failure;
mod manifests;
mod monitoring;
mod observability;
mod without_filter;
