//! Envoy Gateway, as it runs without Kubernetes: it reads its resources from a folder, and Envoy runs beside it.
//!
//! Some of what is tested here is bad and cannot be changed in keyfence, such as a gateway that is open. It is tested all the same, so that
//! a new version that changes it is noticed: `envoy/envoy-gateway/README.md` says the same to operators.

mod control_plane;
mod requests;
mod resources;

pub use control_plane::EnvoyGateway;
