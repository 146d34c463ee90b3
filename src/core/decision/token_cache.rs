//! What a worker remembers of scoped tokens, so that it verifies each one once. It is bounded, and a token that it has forgotten is verified
//! again.

use std::mem;

use hashbrown::HashTable;

use super::scoped_token::Verdict;
use crate::config::api_key::KeyDigest;
use crate::config::timestamp::Timestamp;

/// The most bytes that good tokens take: about 8,000 of one user each.
const GOOD_BYTES: usize = 8 << 20;

/// The most bytes that bad tokens take, of which only the digests are kept: about 5,000.
const BAD_BYTES: usize = 1 << 20;

/// The most bytes that a cache takes.
pub const MAX_BYTES: usize = GOOD_BYTES + BAD_BYTES;

/// Tells policies apart: a token that is good under one may be bad under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyId(pub u32);

/// Verdicts on tokens. Good and bad ones are apart, so that a flood of forged tokens displaces no good one.
#[derive(Debug)]
pub struct TokenCache {
    good: Generations,
    bad: Generations,
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

    /// The verdict on a token with this text that is good, if this policy has found it. One that has expired is forgotten.
    pub fn good(&mut self, policy: PolicyId, text: &str, now: Timestamp) -> Option<Verdict> {
        let is = |entry: &Entry| entry.policy == policy && entry.text.as_deref() == Some(text);
        self.good.get(hash_of(text), is, now)
    }

    /// The verdict on a token with this digest that is bad, if this policy has found it. One that has expired is forgotten.
    pub fn bad(&mut self, policy: PolicyId, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        let is = |entry: &Entry| entry.policy == policy && entry.digest == *digest;
        self.bad.get(digest.hash(), is, now)
    }

    /// Remembers a verdict that the cache does not have.
    pub fn insert(&mut self, policy: PolicyId, text: &str, digest: KeyDigest, verdict: &Verdict) {
        let entry = |hash, text| Entry {
            policy,
            hash,
            text,
            digest,
            verdict: verdict.clone(),
        };
        match verdict.is_good() {
            true => self.good.push(entry(hash_of(text), Some(text.into()))),
            false => self.bad.push(entry(digest.hash(), None)),
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
struct Generations {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    young_bytes: usize,
    limit: usize,
}

/// A verdict. A good token is found by its text, which costs less than its digest. Clients choose the texts of bad ones, and could choose many
/// that are found in the same place; so these are found by their digest.
#[derive(Debug)]
struct Entry {
    policy: PolicyId,
    hash: u64,
    /// Of a good token.
    text: Option<Box<str>>,
    digest: KeyDigest,
    verdict: Verdict,
}

/// A table that grows has the new entries beside the old ones for a moment, and at most seven in eight of them are used.
const ENTRY_BYTES: usize = 3 * size_of::<Entry>();

/// The end of a good token is that of its signature, which nobody without the secret can choose. The multiplication spreads the bits of its
/// characters, of which each has six.
fn hash_of(text: &str) -> u64 {
    let end = text
        .as_bytes()
        .last_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let product = end.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.text.as_ref().map_or(0, |text| text.len()) + self.verdict.bytes()
    }
}

impl Generations {
    fn new(limit: usize) -> Self {
        Generations {
            young: HashTable::new(),
            old: HashTable::new(),
            young_bytes: 0,
            limit,
        }
    }

    fn get(&mut self, hash: u64, is: impl Fn(&Entry) -> bool, now: Timestamp) -> Option<Verdict> {
        if let Some(entry) = self.young.find(hash, &is) {
            let verdict = entry.verdict.clone();
            if verdict.has_expired(now) {
                self.remove(hash, &is);
            }
            return Some(verdict);
        }
        let (entry, _) = self.old.find_entry(hash, &is).ok()?.remove();
        let verdict = entry.verdict.clone();
        if !verdict.has_expired(now) {
            self.push(entry);
        }
        Some(verdict)
    }

    fn push(&mut self, entry: Entry) {
        if self.young_bytes + entry.bytes() > self.limit / 2 {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += entry.bytes();
        self.young.insert_unique(entry.hash, entry, |entry| entry.hash);
    }

    fn remove(&mut self, hash: u64, is: impl Fn(&Entry) -> bool) {
        if let Ok(entry) = self.young.find_entry(hash, is) {
            let (entry, _) = entry.remove();
            self.young_bytes = self.young_bytes.saturating_sub(entry.bytes());
        }
    }

    fn forget(&mut self, policy: PolicyId) {
        self.young.retain(|entry| entry.policy != policy);
        self.old.retain(|entry| entry.policy != policy);
        self.young_bytes = self.young.iter().map(Entry::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::super::token_error::TokenError;
    use super::*;

    fn digest(number: u32) -> KeyDigest {
        KeyDigest::of(&number.to_le_bytes())
    }

    fn bad() -> Verdict {
        Verdict::for_test(TokenError::Signature, Timestamp(100))
    }

    const ONE: PolicyId = PolicyId(1);
    const OTHER: PolicyId = PolicyId(2);

    fn has(cache: &mut TokenCache, policy: PolicyId, number: u32) -> bool {
        cache.bad(policy, &digest(number), Timestamp(0)).is_some()
    }

    #[test]
    fn a_verdict_is_of_one_policy() {
        let mut cache = TokenCache::default();
        cache.insert(ONE, "", digest(1), &bad());
        assert!(has(&mut cache, ONE, 1) && !has(&mut cache, OTHER, 1) && !has(&mut cache, ONE, 2));
        cache.insert(OTHER, "", digest(1), &bad());
        cache.forget(ONE);
        assert!(!has(&mut cache, ONE, 1) && has(&mut cache, OTHER, 1));
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let mut cache = TokenCache::default();
        cache.insert(ONE, "", digest(1), &bad());
        for (now, is_there) in [(99, true), (100, true), (99, false)] {
            assert_eq!(cache.bad(ONE, &digest(1), Timestamp(now)).is_some(), is_there, "{now}");
        }
        assert_eq!(cache.bad.young_bytes, 0);
    }

    #[test]
    fn a_flood_takes_no_more_than_the_limit_and_displaces_what_is_not_used() {
        const LIMIT: usize = 64 << 10;
        let mut cache = TokenCache::with_limits(LIMIT, LIMIT);
        cache.insert(ONE, "", digest(0), &bad());
        cache.insert(ONE, "", digest(1), &bad());
        for number in 2..10_000 {
            cache.insert(ONE, "", digest(number), &bad());
            assert!(has(&mut cache, ONE, 1), "used after {number}");
            let tables = [&cache.bad.young, &cache.bad.old];
            let bytes: usize = tables.map(|table| table.allocation_size()).iter().sum();
            assert!(bytes <= LIMIT, "{bytes} after {number}");
        }
        assert!(!has(&mut cache, ONE, 0), "not used");
        assert!(has(&mut cache, ONE, 9_999), "the newest");
    }
}
