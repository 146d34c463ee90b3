//! A policy as compiled, and as the operator wrote it.

use keyfence_core::config::key::{Key, KeyContext};
use keyfence_core::config::nearest::nearest;
use keyfence_core::config::{self, Config, Diagnostics};
use keyfence_core::policy::Policy;

use super::{Failure, now};

/// A policy without errors.
pub struct WrittenPolicy<'t> {
    pub policy: Policy,
    pub config: Config<'t>,
    pub keys: Vec<Key<'t>>,
}

impl<'t> WrittenPolicy<'t> {
    /// Reads a policy's JSON text. `None` if it has errors.
    pub fn read(json: &'t [u8]) -> Option<WrittenPolicy<'t>> {
        let mut diagnostics = Diagnostics::default();
        let policy = Policy::load(json, now()).ok()?.policy;
        let config = config::read(json, &mut diagnostics)?;
        let context = KeyContext {
            now: now(),
            sources: &config.key_sources,
            has_identity_header: config.identity_header.is_some(),
        };
        let mut keys = Vec::new();
        config::read_keys(json, context, &mut diagnostics, &mut |_, key, _, _| keys.push(key));
        Some(WrittenPolicy { policy, config, keys })
    }
}

/// The key that `--key-id` names.
pub fn key_of_id<'k, 't>(config: &Config<'_>, keys: &'k [Key<'t>], id: &str) -> Result<&'k Key<'t>, Failure> {
    keys.iter().find(|key| key.id == id).ok_or_else(|| {
        let near = nearest(id, keys.iter().map(|key| &*key.id));
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let feed = config
            .keys_from
            .as_ref()
            .map_or("", |_| "; keys of the feed are not known here");
        Failure(format!("--key-id: no key of the policy has the id {id:?}{near}{feed}"))
    })
}
