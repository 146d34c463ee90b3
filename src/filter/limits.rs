//! Rate limits, counted over all workers: each key has one slot in the host's shared data.

use std::num::NonZeroU32;

use keyfence_core::decision::Refusal;
use keyfence_core::decision::rate::{self, RateStatus};
use keyfence_core::policy::Key;

use crate::host::{self, Host, HostError, HostErrorKind};

/// Attempts to write a slot before the request is denied. Each lost race is the success of another worker, so a request does not lose this
/// many.
const MAX_ATTEMPTS: usize = 10_000;

/// The shared-data key of a rate-limit window. An id contains no `/`, so these names are unique.
fn slot_name(key: Option<&Key>) -> Vec<u8> {
    match key {
        Some(key) => [b"keyfence/rate/key/", key.id().as_bytes()].concat(),
        None => b"keyfence/rate/anonymous".to_vec(),
    }
}

/// Counts one request against the limit of `key`, or of anonymous requests. It retries after a lost race, but not after a failed call.
pub fn admit(host: &impl Host, key: Option<&Key>, limit: NonZeroU32) -> host::Result<Result<RateStatus, Refusal>> {
    let name = slot_name(key);
    for _ in 0..MAX_ATTEMPTS {
        let slot = host.shared_data(&name)?;
        let (bytes, cas) = slot
            .as_ref()
            .map_or((None, host::ABSENT_CAS), |(bytes, cas)| (Some(&**bytes), *cas));
        let admission = rate::admit(bytes, limit, host::unix_seconds(host)?);
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
        kind: HostErrorKind::LostRaces,
    })
}

/// The status of the limit of `key`, or of anonymous requests. It counts nothing.
pub fn peek(host: &impl Host, key: Option<&Key>, limit: NonZeroU32) -> host::Result<RateStatus> {
    let slot = host.shared_data(&slot_name(key))?;
    let now = host::unix_seconds(host)?;
    Ok(rate::peek(slot.as_ref().map(|(bytes, _)| &**bytes), limit, now))
}
