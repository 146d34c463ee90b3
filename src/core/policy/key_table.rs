//! Finds a key by the digest of the API key that a request presents.

use hashbrown::HashTable;

use super::allocator::table_bytes;
use crate::config::api_key::KeyDigest;

/// The index of a key in [`Policy::keys`](super::Policy::keys).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyIndex(pub u32);

/// The digests of all keys. A key that is being rotated has several.
#[derive(Debug, Default)]
pub struct KeyTable {
    by_digest: HashTable<(KeyDigest, KeyIndex)>,
}

/// Eight bytes of the digest: SHA-256 is a hash already. Only the operator chooses what is in the table, so no client can cause collisions.
fn hash(digest: &KeyDigest) -> u64 {
    digest.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// An upper bound on the bytes of a table with this number of digests.
pub fn bytes_for(digests: usize) -> usize {
    table_bytes::<(KeyDigest, KeyIndex)>(digests)
}

impl KeyTable {
    /// An empty table with capacity for this number of digests.
    pub fn with_capacity(digests: usize) -> KeyTable {
        KeyTable {
            by_digest: HashTable::with_capacity(digests),
        }
    }

    /// The key with this digest.
    pub fn find(&self, digest: &KeyDigest) -> Option<KeyIndex> {
        let entry = self.by_digest.find(hash(digest), |(known, _)| known == digest);
        entry.map(|(_, key)| *key)
    }

    /// Adds the digest of `key`. The error is the key that has this digest already.
    pub fn insert(&mut self, digest: KeyDigest, key: KeyIndex) -> Result<(), KeyIndex> {
        if let Some(first) = self.find(&digest) {
            return Err(first);
        }
        self.by_digest
            .insert_unique(hash(&digest), (digest, key), |(digest, _)| hash(digest));
        Ok(())
    }

    /// Frees the capacity for further digests.
    pub fn shrink(&mut self) {
        self.by_digest.shrink_to_fit(|(digest, _)| hash(digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_grew_and_shrank_has_all_digests_and_no_room() {
        let digest = |number: u32| KeyDigest::of(&number.to_le_bytes());
        let mut table = KeyTable::default();
        for number in 0..1_000 {
            assert_eq!(table.insert(digest(number), KeyIndex(number)), Ok(()), "{number}");
        }
        table.by_digest.reserve(100_000, |(digest, _)| hash(digest));
        let before = table.by_digest.capacity();
        table.shrink();
        assert!(table.by_digest.capacity() < before);
        for number in 0..1_000 {
            assert_eq!(table.find(&digest(number)), Some(KeyIndex(number)), "{number}");
            assert_eq!(
                table.insert(digest(number), KeyIndex(7)),
                Err(KeyIndex(number)),
                "{number}"
            );
        }
        assert_eq!(table.find(&digest(1_000)), None);
        let hashes: std::collections::BTreeSet<u64> = (0..1_000).map(|number| hash(&digest(number))).collect();
        assert_eq!(hashes.len(), 1_000);
    }
}
