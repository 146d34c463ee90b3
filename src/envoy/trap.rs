//! Ends the VM on demand, to test Envoy's reaction. Only with the feature `trap`, which is for tests.

use keyfence_filter::host::{Host, MapType};
use keyfence_filter::pairs::Pairs;

use super::host::Envoy;

/// Ends the VM if `map` has the header `x-keyfence-trap`.
pub fn on_demand(map: MapType) {
    let headers = Envoy.headers(map);
    if headers.is_ok_and(|headers| {
        Pairs::of(&headers).is_some_and(|mut pairs| pairs.any(|(name, _)| name == b"x-keyfence-trap"))
    }) {
        core::arch::wasm32::unreachable();
    }
}
