//! keyfence.wasm: Envoy calls [`callbacks`], and the filter calls Envoy through [`host`].
#![cfg(target_family = "wasm")]

mod callbacks;
mod host;
mod hostcalls;
#[cfg(feature = "trap")]
mod trap;
