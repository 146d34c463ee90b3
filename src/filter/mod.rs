//! The filter: what it does over any [`host::Host`], and the one place that knows Envoy, through proxy-wasm.

pub mod host;
mod limits;
mod metrics;
mod once;
pub mod pairs;
pub mod plugin;
pub mod plugin_configuration;
mod policy_cache;
pub mod stream;

#[cfg(target_family = "wasm")]
mod callbacks;
#[cfg(target_family = "wasm")]
mod envoy;
#[cfg(target_family = "wasm")]
mod hostcalls;
#[cfg(all(target_family = "wasm", feature = "trap"))]
mod trap;
