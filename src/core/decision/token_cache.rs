//! What a worker remembers of scoped tokens, so that it verifies each one once. It is bounded, and a token that it has forgotten is verified
//! again.

use std::mem;
use std::sync::Arc;

use hashbrown::HashTable;

use super::scoped_token::{ScopedToken, TokenError, Verdict};
use crate::config::api_key::KeyDigest;
use crate::config::timestamp::Timestamp;

/// The most bytes that good tokens take: about 8,000 of one user each.
const GOOD_BYTES: usize = 8 << 20;

/// The most bytes that the digests of bad tokens take: about 7,000.
const BAD_BYTES: usize = 1 << 20;

/// The most bytes that a cache takes.
pub const MAX_BYTES: usize = GOOD_BYTES + BAD_BYTES;

/// Tells policies apart: a token that is good under one may be bad under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyId(pub u32);

/// Verdicts on tokens. Good and bad ones are apart, so that a flood of forged tokens displaces no good one.
#[derive(Debug)]
pub struct TokenCache {
    good: Generations<Arc<ScopedToken>>,
    bad: Generations<TokenError>,
}

impl Default for TokenCache {
    fn default() -> Self {
        TokenCache::with_limits(GOOD_BYTES, BAD_BYTES)
    }
}

impl TokenCache {
    /// An empty cache with other limits, in bytes.
    pub fn with_limits(good: usize, bad: usize) -> TokenCache {
        TokenCache {
            good: Generations::new(good),
            bad: Generations::new(bad),
        }
    }

    /// What was found of the token with this digest under this policy. A token that has expired is forgotten.
    pub fn get(&mut self, policy: PolicyId, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        if let Some(token) = self.good.get(policy, digest) {
            if now >= token.expires_at() {
                self.good.remove(policy, digest);
            }
            return Some(Ok(token));
        }
        self.bad.get(policy, digest).map(Err)
    }

    /// Remembers a verdict that [`TokenCache::get`] did not have.
    pub fn insert(&mut self, policy: PolicyId, digest: KeyDigest, verdict: &Verdict) {
        match verdict {
            Ok(token) => self.good.insert(policy, digest, token.clone(), token.bytes()),
            Err(error) => self.bad.insert(policy, digest, *error, 0),
        }
    }

    /// Forgets all verdicts under this policy.
    pub fn forget(&mut self, policy: PolicyId) {
        self.good.forget(policy);
        self.bad.forget(policy);
    }
}

/// Two tables, of which each takes half of the bytes. A new entry, and an old one that is used, goes into the young table. When that is full it
/// becomes the old one, whose entries are dropped. So what was used of late is kept, and nothing has to be searched for what was not.
#[derive(Debug)]
struct Generations<V> {
    young: HashTable<Entry<V>>,
    old: HashTable<Entry<V>>,
    young_bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<V> {
    policy: PolicyId,
    digest: KeyDigest,
    value: V,
    /// What the value takes besides the entry.
    bytes: usize,
}

/// Clients choose the texts, so they can make digests that begin alike. That costs them more than it costs the look-up of one.
fn hash(digest: &KeyDigest) -> u64 {
    digest.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn is<V>(policy: PolicyId, digest: &KeyDigest) -> impl Fn(&Entry<V>) -> bool + '_ {
    move |entry| entry.digest == *digest && entry.policy == policy
}

impl<V: Clone> Generations<V> {
    /// A table that grows has the new entries beside the old ones for a moment, of which at most seven in eight are used.
    const ENTRY_BYTES: usize = 3 * size_of::<Entry<V>>();

    fn new(limit: usize) -> Self {
        Generations {
            young: HashTable::new(),
            old: HashTable::new(),
            young_bytes: 0,
            limit,
        }
    }

    fn get(&mut self, policy: PolicyId, digest: &KeyDigest) -> Option<V> {
        if let Some(entry) = self.young.find(hash(digest), is(policy, digest)) {
            return Some(entry.value.clone());
        }
        let (entry, _) = self.old.find_entry(hash(digest), is(policy, digest)).ok()?.remove();
        let value = entry.value.clone();
        self.push(entry);
        Some(value)
    }

    fn insert(&mut self, policy: PolicyId, digest: KeyDigest, value: V, bytes: usize) {
        self.push(Entry {
            policy,
            digest,
            value,
            bytes,
        });
    }

    fn push(&mut self, entry: Entry<V>) {
        let bytes = entry.bytes + Self::ENTRY_BYTES;
        if self.young_bytes + bytes > self.limit / 2 {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young
            .insert_unique(hash(&entry.digest), entry, |entry| hash(&entry.digest));
    }

    fn remove(&mut self, policy: PolicyId, digest: &KeyDigest) {
        for table in [&mut self.young, &mut self.old] {
            if let Ok(entry) = table.find_entry(hash(digest), is(policy, digest)) {
                entry.remove();
            }
        }
    }

    fn forget(&mut self, policy: PolicyId) {
        self.young.retain(|entry| entry.policy != policy);
        self.old.retain(|entry| entry.policy != policy);
        let bytes = self.young.iter().map(|entry| entry.bytes + Self::ENTRY_BYTES);
        self.young_bytes = bytes.sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> KeyDigest {
        KeyDigest::of(&number.to_le_bytes())
    }

    const ONE: PolicyId = PolicyId(1);
    const OTHER: PolicyId = PolicyId(2);

    fn has(cache: &mut TokenCache, policy: PolicyId, number: u32) -> bool {
        cache.get(policy, &digest(number), Timestamp(0)).is_some()
    }

    #[test]
    fn a_verdict_is_of_one_policy() {
        let mut cache = TokenCache::default();
        cache.insert(ONE, digest(1), &Err(TokenError::Signature));
        assert!(has(&mut cache, ONE, 1) && !has(&mut cache, OTHER, 1) && !has(&mut cache, ONE, 2));
        cache.insert(OTHER, digest(1), &Err(TokenError::Signature));
        cache.forget(ONE);
        assert!(!has(&mut cache, ONE, 1) && has(&mut cache, OTHER, 1));
    }

    #[test]
    fn a_flood_takes_no_more_than_the_limit_and_displaces_what_is_not_used() {
        const LIMIT: usize = 64 << 10;
        let mut cache = TokenCache::with_limits(LIMIT, LIMIT);
        cache.insert(ONE, digest(0), &Err(TokenError::Signature));
        cache.insert(ONE, digest(1), &Err(TokenError::Signature));
        for number in 2..10_000 {
            cache.insert(ONE, digest(number), &Err(TokenError::Signature));
            assert!(has(&mut cache, ONE, 1), "used after {number}");
            let tables = [&cache.bad.young, &cache.bad.old];
            let bytes: usize = tables.map(|table| table.allocation_size()).iter().sum();
            assert!(bytes <= LIMIT, "{bytes} after {number}");
        }
        assert!(!has(&mut cache, ONE, 0), "not used");
        assert!(has(&mut cache, ONE, 9_999), "the newest");
    }
}
