//! What is logged once, however many workers have it to say.

use crate::host::{self, Host};

/// Whether `text` is new under `topic`, in this process. Where the host does not tell, it is.
pub fn log_once(host: &impl Host, topic: &[u8], text: &[u8]) -> bool {
    let Ok(known) = host.shared_data(topic) else {
        return true;
    };
    if known.as_ref().is_some_and(|(known, _)| **known == *text) {
        return false;
    }
    let cas = known.map_or(host::NEVER, |(_, cas)| cas);
    host.set_shared_data(topic, text, cas).unwrap_or(true)
}
