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

    /// What was found of the token with this digest under this policy. A token that has expired is forgotten.
    pub fn get(&mut self, policy: PolicyId, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        let generations = [&mut self.good, &mut self.bad];
        generations.into_iter().find_map(|generations| {
            let verdict = generations.get(policy, digest)?;
            if verdict.has_expired(now) {
                generations.remove(policy, digest);
            }
            Some(verdict)
        })
    }

    /// Remembers a verdict that [`TokenCache::get`] did not have.
    pub fn insert(&mut self, policy: PolicyId, digest: KeyDigest, verdict: &Verdict) {
        let generations = if verdict.is_good() {
            &mut self.good
        } else {
            &mut self.bad
        };
        generations.push(Entry {
            policy,
            digest,
            verdict: verdict.clone(),
        });
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

/// Clients choose the texts, so they can make digests that begin alike. That costs them more than it costs the look-up of one.
#[derive(Debug)]
struct Entry {
    policy: PolicyId,
    digest: KeyDigest,
    verdict: Verdict,
}

/// A table that grows has the new entries beside the old ones for a moment, and at most seven in eight of them are used.
const ENTRY_BYTES: usize = 3 * size_of::<Entry>();

impl Entry {
    fn is(policy: PolicyId, digest: &KeyDigest) -> impl Fn(&Entry) -> bool + '_ {
        move |entry| entry.digest == *digest && entry.policy == policy
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.verdict.bytes()
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

    fn get(&mut self, policy: PolicyId, digest: &KeyDigest) -> Option<Verdict> {
        if let Some(entry) = self.young.find(digest.hash(), Entry::is(policy, digest)) {
            return Some(entry.verdict.clone());
        }
        let found = self.old.find_entry(digest.hash(), Entry::is(policy, digest));
        let (entry, _) = found.ok()?.remove();
        let verdict = entry.verdict.clone();
        self.push(entry);
        Some(verdict)
    }

    fn push(&mut self, entry: Entry) {
        if self.young_bytes + entry.bytes() > self.limit / 2 {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += entry.bytes();
        self.young
            .insert_unique(entry.digest.hash(), entry, |entry| entry.digest.hash());
    }

    fn remove(&mut self, policy: PolicyId, digest: &KeyDigest) {
        if let Ok(entry) = self.young.find_entry(digest.hash(), Entry::is(policy, digest)) {
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
        cache.get(policy, &digest(number), Timestamp(0)).is_some()
    }

    #[test]
    fn a_verdict_is_of_one_policy() {
        let mut cache = TokenCache::default();
        cache.insert(ONE, digest(1), &bad());
        assert!(has(&mut cache, ONE, 1) && !has(&mut cache, OTHER, 1) && !has(&mut cache, ONE, 2));
        cache.insert(OTHER, digest(1), &bad());
        cache.forget(ONE);
        assert!(!has(&mut cache, ONE, 1) && has(&mut cache, OTHER, 1));
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let mut cache = TokenCache::default();
        cache.insert(ONE, digest(1), &bad());
        for (now, is_there) in [(99, true), (100, true), (99, false)] {
            assert_eq!(cache.get(ONE, &digest(1), Timestamp(now)).is_some(), is_there, "{now}");
        }
        assert_eq!(cache.bad.young_bytes, 0);
    }

    #[test]
    fn a_flood_takes_no_more_than_the_limit_and_displaces_what_is_not_used() {
        const LIMIT: usize = 64 << 10;
        let mut cache = TokenCache::with_limits(LIMIT, LIMIT);
        cache.insert(ONE, digest(0), &bad());
        cache.insert(ONE, digest(1), &bad());
        for number in 2..10_000 {
            cache.insert(ONE, digest(number), &bad());
            assert!(has(&mut cache, ONE, 1), "used after {number}");
            let tables = [&cache.bad.young, &cache.bad.old];
            let bytes: usize = tables.map(|table| table.allocation_size()).iter().sum();
            assert!(bytes <= LIMIT, "{bytes} after {number}");
        }
        assert!(!has(&mut cache, ONE, 0), "not used");
        assert!(has(&mut cache, ONE, 9_999), "the newest");
    }
}
