//! keyfence.wasm: Envoy calls [`callbacks`], and is called through [`host`].
#![cfg(target_family = "wasm")]

mod callbacks;
mod host;
mod hostcalls;
#[cfg(feature = "trap")]
mod trap;
