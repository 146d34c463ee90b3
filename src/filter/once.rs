//! Log lines that all workers would write, and only the first one does.

use crate::host::{self, Host};

/// Whether to log `text`: it differs from what any worker of this process last logged under `topic`. If shared data fails, every line is logged.
pub fn log_once(host: &impl Host, topic: &[u8], text: &[u8]) -> bool {
    let Ok(logged) = host.shared_data(topic) else {
        return true;
    };
    if logged.as_ref().is_some_and(|(logged, _)| **logged == *text) {
        return false;
    }
    let cas = logged.map_or(host::ABSENT_CAS, |(_, cas)| cas);
    host.set_shared_data(topic, text, cas).unwrap_or(true)
}
