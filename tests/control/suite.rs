//! The server of keys, `keyfence-control`, as gateways and operators meet it: the built program with real files, on loopback.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

mod answers;
mod client;
mod files;
mod guide;
mod operation;
mod policy;
mod server;
mod start;
mod tls;
