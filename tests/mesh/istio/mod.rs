//! Istio: istiod, its agents and Kubernetes' API server.

mod control_plane;
mod gateway;
mod proxy;

pub use control_plane::ControlPlane;
pub use proxy::Proxy;
