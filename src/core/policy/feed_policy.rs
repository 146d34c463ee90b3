//! What of a policy the keys of its feed depend on.

use hashbrown::HashTable;

use super::Key;
use super::id_hash::id_hash;
use super::token_verifier::KnownTokenKey;
use super::upstream_headers::{UpstreamHeader, UpstreamHeaders};
use crate::config::api_key::KeyDigest;
use crate::config::key::Enforcement;
use crate::config::key_source::KeySource;
use crate::config::keys_from::KeysFrom;
use crate::config::scope::Scope;
use crate::config::token::HeaderName;

/// The feed of a policy, and what of the policy its keys are read and compiled with.
#[derive(Debug)]
pub struct FeedPolicy {
    /// Where keys come from.
    pub settings: KeysFrom,
    /// Where a request may carry its key.
    pub(super) key_sources: Vec<KeySource>,
    /// The scopes that keys name.
    pub(super) scopes: Vec<Scope>,
    /// The headers that keys may set.
    pub(super) header_names: Vec<HeaderName>,
    /// Of keys that say nothing of it.
    pub(super) enforcement: Enforcement,
    /// The indexes of the policy's own keys, by the hash of their id.
    pub(super) ids: HashTable<usize>,
    /// The token secrets and public keys of the policy's own keys.
    pub(super) token_keys: HashTable<KnownTokenKey>,
}

impl FeedPolicy {
    /// Where a request may carry its key.
    pub fn key_sources(&self) -> &[KeySource] {
        &self.key_sources
    }

    /// Whether keys take the same from both policies.
    pub fn compiles_like(&self, other: &FeedPolicy) -> bool {
        self.scopes == other.scopes && self.header_names == other.header_names && self.enforcement == other.enforcement
    }

    /// Whether the policy lets keys set all these headers.
    pub(super) fn lists(&self, headers: &UpstreamHeaders) -> bool {
        let is_listed = |header: &UpstreamHeader| self.header_names.iter().any(|name| name.is(&header.name));
        headers.as_slice().iter().all(is_listed)
    }

    /// The scopes with these names. `None` if the policy does not have all of them.
    pub(super) fn scopes_of(&self, names: &[Box<str>]) -> Option<Vec<&Scope>> {
        let found = names
            .iter()
            .map(|name| self.scopes.iter().find(|scope| *scope.name == **name));
        found.collect()
    }

    /// Whether one of the policy's own `keys` has this id.
    pub(super) fn has_id(&self, keys: &[Key], id: &str) -> bool {
        let is = |index: &usize| keys.get(*index).is_some_and(|key| *key.id == *id);
        self.ids.find(id_hash(id), is).is_some()
    }

    /// Whether one of the policy's own keys has these bytes as a secret, if they are a public key, or the reverse.
    pub(super) fn has_reverse(&self, digest: &KeyDigest, is_secret: bool) -> bool {
        let known = self.token_keys.find(digest.hash(), |known| known.digest == *digest);
        known.is_some_and(|known| known.is_secret != is_secret)
    }
}
