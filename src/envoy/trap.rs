//! Fails on demand, for the tests of what Envoy then does: with the feature `trap`, which no shipped filter has.

use keyfence_filter::host::{Host, MapType};
use keyfence_filter::pairs::Pairs;

use super::host::Envoy;

/// Ends the VM where the headers ask for it.
pub fn on_demand(map: MapType) {
    let headers = Envoy.headers(map);
    if headers.is_ok_and(|headers| Pairs::of(&headers).any(|(name, _)| name == b"x-keyfence-trap")) {
        core::arch::wasm32::unreachable();
    }
}
