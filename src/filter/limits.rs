//! Rate limits in the host's shared data, one slot a key, over all workers.

use std::num::NonZeroU32;

use keyfence_core::decision::Refusal;
use keyfence_core::decision::rate::{RateStatus, admit, peek};
use keyfence_core::policy::Key;

use crate::host::{self, Host, HostError};

/// Each lost race is another worker's success, so this many in a row do not happen; if they do, the request is refused.
const TRIES: usize = 10_000;

/// Where a key's window is. Ids have no `/`, so that nothing else has this name.
fn slot_name(key: Option<&Key>) -> Vec<u8> {
    match key {
        Some(key) => [b"keyfence/rate/key/", key.id().as_bytes()].concat(),
        None => b"keyfence/rate/anonymous".to_vec(),
    }
}

/// Takes one request from the limit. Only a lost race is tried again, not a call that fails.
pub fn take(host: &impl Host, key: Option<&Key>, limit: NonZeroU32) -> host::Result<Result<RateStatus, Refusal>> {
    let name = slot_name(key);
    for _ in 0..TRIES {
        let slot = host.shared_data(&name)?;
        let (bytes, cas) = slot
            .as_ref()
            .map_or((None, host::NEVER), |(bytes, cas)| (Some(&**bytes), *cas));
        let admission = admit(bytes, limit, host::unix_seconds(host)?);
        let is_stored = match admission.store {
            Some(value) => host.set_shared_data(&name, &value, cas)?,
            None => true,
        };
        if is_stored {
            return Ok(if admission.admitted {
                Ok(admission.status)
            } else {
                Err(Refusal::UsedUp(admission.status))
            });
        }
    }
    Err(HostError {
        call: "proxy_set_shared_data",
        status: 8,
    })
}

/// The limit as it is.
pub fn look(host: &impl Host, key: Option<&Key>, limit: NonZeroU32) -> host::Result<RateStatus> {
    let slot = host.shared_data(&slot_name(key))?;
    let now = host::unix_seconds(host)?;
    Ok(peek(slot.as_ref().map(|(bytes, _)| &**bytes), limit, now))
}
