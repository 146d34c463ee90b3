//! What is logged once, however many workers have it to say.

use super::host;

/// Whether `text` is new under `topic`, in this process.
pub fn say_once(topic: &[u8], text: &[u8]) -> bool {
    let said = host::shared_data(topic);
    if said.as_ref().is_some_and(|(said, _)| **said == *text) {
        return false;
    }
    let cas = said.map_or(host::NEVER, |(_, cas)| cas);
    host::set_shared_data(topic, text, cas)
}
