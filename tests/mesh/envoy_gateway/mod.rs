//! Envoy Gateway. In most tests it runs without Kubernetes and reads its resources from a folder; `guide.rs` and `feed.rs` run it with Kubernetes.
//!
//! keyfence cannot change some of the bad behaviour here, such as a gateway that is open. These tests notice a new version that behaves
//! better; `envoy/envoy-gateway/README.md` tells operators the same.

mod cluster;
mod control_plane;
mod failures;
mod feed;
mod guide;
mod observability;
mod requests;
mod resources;
mod routes;
mod updates;

pub use control_plane::EnvoyGateway;
