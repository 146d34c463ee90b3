//! Fails on demand, for the tests of what Envoy then does: with the feature `trap`, which no shipped filter has.

use super::pairs::Pairs;

/// Ends the VM where the headers ask for it.
pub fn on_demand(mut headers: Pairs<'_>) {
    if headers.any(|(name, _)| name == b"x-keyfence-trap") {
        core::arch::wasm32::unreachable();
    }
}
