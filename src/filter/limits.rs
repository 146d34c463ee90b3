//! Rate limits in Envoy's shared data, one slot a key, over all workers.

use std::num::NonZeroU32;

use crate::decision::rate::{RateStatus, admit, peek};
use crate::policy::Key;

use super::host;

/// Each failed try is another worker's success, so this many in a row do not happen; if they do, the request is refused.
const TRIES: usize = 10_000;

/// Where a key's window stands. Ids have no `/`, so that nothing else has this name.
fn slot_name(key: Option<&Key>) -> Vec<u8> {
    match key {
        Some(key) => [b"keyfence/rate/key/", key.id.as_bytes()].concat(),
        None => b"keyfence/rate/anonymous".to_vec(),
    }
}

fn now() -> u64 {
    host::nanoseconds() / 1_000_000_000
}

/// Takes one request from the limit; the error is a limit that is used up.
pub fn take(key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, RateStatus> {
    let name = slot_name(key);
    for _ in 0..TRIES {
        let slot = host::shared_data(&name);
        let (bytes, cas) = slot
            .as_ref()
            .map_or((None, host::NEVER), |(bytes, cas)| (Some(&**bytes), *cas));
        let admission = admit(bytes, limit, now());
        let stored = admission
            .store
            .is_none_or(|value| host::set_shared_data(&name, &value, cas));
        match (stored, admission.admitted) {
            (true, true) => return Ok(admission.status),
            (true, false) => return Err(admission.status),
            (false, _) => {}
        }
    }
    Err(look(key, limit))
}

/// The limit as it stands.
pub fn look(key: Option<&Key>, limit: NonZeroU32) -> RateStatus {
    let slot = host::shared_data(&slot_name(key));
    peek(slot.as_ref().map(|(bytes, _)| &**bytes), limit, now())
}
