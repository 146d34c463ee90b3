//! What a worker remembers of scoped tokens, so that it verifies each one once. It is bounded, and a token that it has forgotten is verified
//! again.

use std::mem;

use hashbrown::HashTable;

use super::scoped_token::Verdict;
use crate::config::api_key::KeyDigest;
use crate::config::timestamp::Timestamp;
use crate::policy::TokenParentRef;

/// The most bytes that good tokens take: about 6,000 that only name a user and a filter.
const GOOD_BYTES: usize = 8 << 20;

/// The most bytes that bad tokens take: about 4,000, of which only the digests and the dates are kept.
const BAD_BYTES: usize = 1 << 20;

/// The most bytes that a cache takes.
pub const MAX_BYTES: usize = GOOD_BYTES + BAD_BYTES;

/// Tells policies apart: a token that is good under one may be bad under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyId(pub u32);

/// Verdicts on tokens. Good and bad ones are apart, so that a flood of forged tokens displaces no good one.
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
        let is = |entry: &Entry| entry.policy == policy && matches!(&entry.name, Name::Text(known) if **known == *text);
        self.good.get(hash_of(text), is, now)
    }

    /// The verdict on a token with this digest that is bad, if this policy has found it. One that has expired is forgotten.
    pub fn bad(&mut self, policy: PolicyId, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        let is = |entry: &Entry| entry.policy == policy && entry.name == Name::Digest(*digest);
        self.bad.get(digest.hash(), is, now)
    }

    /// Remembers a verdict that the cache does not have.
    pub fn insert(&mut self, policy: PolicyId, text: &str, digest: KeyDigest, verdict: &Verdict) {
        let entry = |name, hash| Entry {
            policy,
            name,
            hash,
            verdict: verdict.clone(),
        };
        match verdict.is_good() {
            true => self.good.push(entry(Name::Text(text.into()), hash_of(text))),
            false => self.bad.push(entry(Name::Digest(digest), digest.hash())),
        }
    }

    /// Forgets all verdicts under this policy.
    pub fn forget(&mut self, policy: PolicyId) {
        self.retain(|entry| entry.policy != policy);
    }

    /// Forgets all verdicts on tokens of keys for which `has_changed` holds, under all policies.
    pub fn forget_keys(&mut self, has_changed: impl Fn(TokenParentRef) -> bool) {
        self.retain(|entry| !has_changed(entry.verdict.key()));
    }

    fn retain(&mut self, keeps: impl Fn(&Entry) -> bool) {
        self.good.retain(&keeps);
        self.bad.retain(&keeps);
    }
}

/// Two tables, of which each takes half of the bytes. A new entry, and an old one that is used, goes into the young table. When that is full it
/// becomes the old one, whose entries are dropped. So the entries that were used recently are kept, and no search for unused ones is needed.
struct Generations {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    young_bytes: usize,
    limit: usize,
}

/// A verdict. A good token is found by its text, which costs less than its digest. Clients choose the texts of bad ones, and could choose many
/// that are found in the same place; so these are found by their digest.
struct Entry {
    policy: PolicyId,
    name: Name,
    hash: u64,
    verdict: Verdict,
}

/// How a token is found.
#[derive(PartialEq)]
enum Name {
    /// The text of a good token. A guess is compared with it only if it has the same hash, which 48 bits of the signature choose. So the time of
    /// the comparison helps nobody to guess the rest.
    Text(Box<str>),
    /// The digest of a bad one.
    Digest(KeyDigest),
}

/// At most seven in eight buckets of a table are used, and while the young one grows, its old and its new buckets exist together: 3.5 of an
/// entry. The old table takes 2.3. That is less than 3 of each on average.
const ENTRY_BYTES: usize = 3 * size_of::<Entry>();

/// Hashes the last eight characters. They are the end of the signature, which nobody without the secret can choose. Each has six random bits,
/// and the multiplication spreads them over the hash.
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
        let text = match &self.name {
            Name::Text(text) => text.len(),
            Name::Digest(_) => 0,
        };
        ENTRY_BYTES + text + self.verdict.bytes()
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

    fn retain(&mut self, keeps: impl Fn(&Entry) -> bool) {
        self.young.retain(|entry| keeps(entry));
        self.old.retain(|entry| keeps(entry));
        self.young.shrink_to_fit(|entry| entry.hash);
        self.old.shrink_to_fit(|entry| entry.hash);
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
