//! Rate limits, counted over all workers in the host's shared data. Each key has one slot. All clients of all keys share a table of fixed
//! size, with one slot for each of its buckets.

use std::num::NonZeroU32;

use keyfence_core::decision::Refusal;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::client_table::{self, BUCKETS, Place};
use keyfence_core::decision::rate::{self, Admission, RateStatus};
use keyfence_core::policy::Key;

use crate::host::{self, Host, HostError, HostErrorKind};
use crate::secret;

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

/// Where a client is counted, and the shared-data key of its bucket.
fn bucket(host: &impl Host, key: Option<&Key>, client: &Client) -> host::Result<(Place, Vec<u8>)> {
    let place = Place::new(&secret::get(host)?, key.map(Key::id), client, BUCKETS);
    Ok((place, format!("keyfence/client/{}", place.bucket()).into_bytes()))
}

/// Counts one request against the limit of `key`, or of anonymous requests.
pub fn admit(host: &impl Host, key: Option<&Key>, limit: NonZeroU32) -> host::Result<Result<RateStatus, Refusal>> {
    count(host, &slot_name(key), |slot, now| rate::admit(slot, limit, now))
}

/// Counts one request against the limit that each client of `key`, or of anonymous requests, has.
pub fn admit_client(
    host: &impl Host,
    key: Option<&Key>,
    client: &Client,
    limit: NonZeroU32,
) -> host::Result<Result<RateStatus, Refusal>> {
    let (place, name) = bucket(host, key, client)?;
    count(host, &name, |bucket, now| {
        client_table::admit(bucket, &place, limit, now)
    })
}

/// Counts one request in a slot. It retries after a lost race, but not after a failed call.
fn count<S: AsRef<[u8]>>(
    host: &impl Host,
    name: &[u8],
    admit: impl Fn(Option<&[u8]>, u64) -> Admission<S>,
) -> host::Result<Result<RateStatus, Refusal>> {
    for _ in 0..MAX_ATTEMPTS {
        let slot = host.shared_data(name)?;
        let (bytes, cas) = slot
            .as_ref()
            .map_or((None, host::ABSENT_CAS), |(bytes, cas)| (Some(&**bytes), *cas));
        let admission = admit(bytes, host::unix_seconds(host)?);
        let is_stored = match admission.store {
            Some(value) => host.set_shared_data(name, value.as_ref(), cas)?,
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
    read(host, &slot_name(key), |slot, now| rate::peek(slot, limit, now))
}

/// The status of the limit of one client. It counts nothing.
pub fn peek_client(
    host: &impl Host,
    key: Option<&Key>,
    client: &Client,
    limit: NonZeroU32,
) -> host::Result<RateStatus> {
    let (place, name) = bucket(host, key, client)?;
    read(host, &name, |bucket, now| {
        client_table::peek(bucket, &place, limit, now)
    })
}

/// Reads the status of a limit from a slot.
fn read(
    host: &impl Host,
    name: &[u8],
    peek: impl FnOnce(Option<&[u8]>, u64) -> RateStatus,
) -> host::Result<RateStatus> {
    let slot = host.shared_data(name)?;
    let now = host::unix_seconds(host)?;
    Ok(peek(slot.as_ref().map(|(bytes, _)| &**bytes), now))
}
