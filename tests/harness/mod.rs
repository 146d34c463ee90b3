//! A real Envoy with the built filter, an upstream that keeps what reaches it, and clients that
//! send bytes as they are told. For every integration test:
//!
//! ```ignore
//! #[path = "../harness/mod.rs"]
//! mod harness;
//!
//! let upstream = Upstream::start();
//! let gateway = Gateway::in_front_of(&upstream)
//!     .listener(Listener::new("main", &json!({"keys": []})))
//!     .listener(Listener::new("behind-a-proxy", &policy).trusted_hops(1))
//!     .start();
//! let request = Request::get("/v1").header("Origin", "https://yourapp.com").from("127.0.0.5");
//! let response = gateway.send("main", &request);
//! assert_eq!(response.status, 401);
//! assert_eq!(upstream.take().len(), 0);
//! ```
//!
//! - [`gateway`]: the process, its ports, its logs, its admin interface, new policies for it.
//! - [`listener`]: one HTTP listener with one policy; every listener also has the paths
//!   `/redirect`, `/direct` and `/dead`, which Envoy answers itself.
//! - [`upstream`]: records requests byte for byte; a test may set its answers.
//! - [`witness`]: an upstream for millions of requests, which keeps none and holds each to the rules.
//! - [`rate_limit_service`]: what Envoy's rate limit filter asks; [`rate_limit_example`]: the example with that filter.
//! - [`feed_server`]: feeds keys, as it should or with lies.
//! - [`client`]: HTTP/1.1 and HTTP/2 from any address of 127.0.0.0/8, or raw bytes;
//!   [`burst`]: many requests at once.
//! - [`command_line`]: `keyfence` itself; [`control_server`]: keyfence-control.
//! - [`token`]: makes scoped tokens; [`token_cases`] has their expected results.
//! - [`skipped`]: says and collects what is left out.
//!
//! A gateway is stopped when it goes out of scope, or with the test process however that ends. Its
//! log is then searched for panics, and shown where the test failed.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

pub mod burst;
pub mod client;
pub mod command_line;
pub mod control_server;
pub mod feed_server;
pub mod gateway;
pub mod http2;
pub mod listener;
pub mod memory;
pub mod prometheus;
pub mod rate_limit_example;
pub mod rate_limit_service;
pub mod skipped;
pub mod token;
pub mod token_cases;
pub mod traffic_for_graphs;
pub mod upstream;
pub mod witness;

pub use client::{Request, Response, Version};
pub use feed_server::FeedServer;
pub use gateway::Gateway;
pub use listener::Listener;
pub use upstream::Upstream;
pub use witness::Witness;
