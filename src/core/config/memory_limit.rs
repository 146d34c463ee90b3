//! The most memory that a policy may take of a VM.

use super::diagnostic::{DiagnosticKind, Diagnostics, Message};

/// In bytes, the policy's JSON text included. Envoy's VM has at most 1,023 MiB, in which a policy and its successor must both fit while
/// the policy is updated.
const MAX_BYTES: usize = 384 << 20;

/// Refuses a policy that takes more than [`MAX_BYTES`]. `bytes` is what its text and its compilation take together.
pub fn check(bytes: usize) -> Result<(), Diagnostics> {
    match bytes > MAX_BYTES {
        true => Err(Diagnostics::only(&TooLarge { bytes })),
        false => Ok(()),
    }
}

struct TooLarge {
    bytes: usize,
}

impl DiagnosticKind for TooLarge {
    fn message(&self) -> Message {
        Message::error(
            format!(
                "it takes {} MiB of memory on each worker, and a policy may take {} MiB",
                self.bytes.div_ceil(1 << 20),
                MAX_BYTES >> 20
            ),
            "take keys out, or give gateways policies of their own",
        )
    }
}
