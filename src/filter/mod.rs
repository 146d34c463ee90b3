//! The filter: what it does over any [`host::Host`], and the one place that knows Envoy, through proxy-wasm.

pub mod host;
mod limits;
mod metrics;
mod once;
pub mod pairs;
pub mod plugin;
pub mod plugin_configuration;
mod policy_cache;
mod stream;

#[cfg(target_family = "wasm")]
mod buffer;
#[cfg(target_family = "wasm")]
mod callbacks;
#[cfg(target_family = "wasm")]
mod envoy;
#[cfg(all(target_family = "wasm", feature = "trap"))]
mod trap;
