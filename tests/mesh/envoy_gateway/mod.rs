//! Envoy Gateway, as it runs without Kubernetes, where it reads its resources from a folder, and once with Kubernetes.
//!
//! Some of what is tested here is bad and cannot be changed in keyfence, such as a gateway that is open. It is tested all the same, so that
//! a new version that changes it is noticed: `envoy/envoy-gateway/README.md` says the same to operators.

mod bootstrap;
mod control_plane;
mod failures;
mod guide;
mod observability;
mod requests;
mod resources;
mod routes;
mod updates;

pub use control_plane::EnvoyGateway;
