//! The one place that knows the host: Envoy, through proxy-wasm.

pub mod pairs;
pub mod plugin_configuration;

#[cfg(target_family = "wasm")]
mod buffer;
#[cfg(target_family = "wasm")]
mod callbacks;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod in_force;
#[cfg(target_family = "wasm")]
mod limits;
#[cfg(target_family = "wasm")]
mod metrics;
#[cfg(target_family = "wasm")]
mod once;
#[cfg(target_family = "wasm")]
mod plugin;
#[cfg(target_family = "wasm")]
mod stream;
#[cfg(all(target_family = "wasm", feature = "trap"))]
mod trap;
