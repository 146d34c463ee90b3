//! A secret of the process, which no client and no operator knows. It is made once, from the host's random numbers, and all workers have
//! the same.

use crate::host::{self, Host, HostError, HostErrorKind};

const NAME: &[u8] = b"keyfence/secret";

/// Attempts to store the secret. After a lost race, the next attempt reads what the other worker has stored.
const MAX_ATTEMPTS: usize = 100;

/// The secret. The first worker that needs it makes it.
pub fn get(host: &impl Host) -> host::Result<Vec<u8>> {
    for _ in 0..MAX_ATTEMPTS {
        if let Some((secret, _)) = host.shared_data(NAME)? {
            return Ok(secret.to_vec());
        }
        let secret = host.random()?;
        if host.set_shared_data(NAME, &secret, host::ABSENT_CAS)? {
            return Ok(secret.to_vec());
        }
    }
    Err(HostError {
        call: "proxy_set_shared_data",
        kind: HostErrorKind::LostRaces,
    })
}
