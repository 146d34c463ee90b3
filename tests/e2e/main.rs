//! The filter in a real Envoy.

#[path = "../harness/mod.rs"]
mod harness;

mod manifests;
mod without_filter;
