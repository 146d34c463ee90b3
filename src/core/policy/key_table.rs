//! Finds a key by the digest of the API key that a request presents.

use hashbrown::HashTable;

use super::allocator::table_bytes;
use crate::config::api_key::KeyDigest;

/// The index of a key in [`Policy::keys`](super::Policy::keys).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyIndex(pub u32);

/// Which entry of which key has a digest. It takes as many bytes as the key's index alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryId(u32);

/// [`EntryId`], unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPlace {
    /// The first entry of this key, which has neither a label nor a date.
    Plain(KeyIndex),
    /// Any other entry: the one with this index in the policy's list of entries.
    Listed(usize),
}

impl EntryId {
    const LISTED: u32 = 1 << 31;

    /// The id of the entry at `place`. `None` if there are more entries than ids.
    pub fn of(place: EntryPlace) -> Option<EntryId> {
        let (index, flag) = match place {
            EntryPlace::Plain(KeyIndex(index)) => (index, 0),
            EntryPlace::Listed(index) => (u32::try_from(index).ok()?, Self::LISTED),
        };
        (index < Self::LISTED).then_some(EntryId(index | flag))
    }

    /// Where the entry is.
    pub fn place(self) -> EntryPlace {
        let index = self.0 & !Self::LISTED;
        match self.0 & Self::LISTED {
            0 => EntryPlace::Plain(KeyIndex(index)),
            _ => EntryPlace::Listed(index as usize),
        }
    }
}

/// The digests of all keys. A key that is being rotated has several, one in each entry. Only the operator chooses what is in the table, so no
/// client can cause collisions.
#[derive(Debug, Default)]
pub struct KeyTable {
    by_digest: HashTable<(KeyDigest, EntryId)>,
}

/// An upper bound on the bytes of a table with this number of digests.
pub fn bytes_for(digests: usize) -> usize {
    table_bytes::<(KeyDigest, EntryId)>(digests)
}

impl KeyTable {
    /// An empty table with capacity for this number of digests.
    pub fn with_capacity(digests: usize) -> KeyTable {
        KeyTable {
            by_digest: HashTable::with_capacity(digests),
        }
    }

    /// The entry with this digest.
    pub fn find(&self, digest: &KeyDigest) -> Option<EntryId> {
        let row = self.by_digest.find(digest.hash(), |(known, _)| known == digest);
        row.map(|(_, entry)| *entry)
    }

    /// Adds the digest of `entry`. The error is the entry that has this digest already.
    pub fn insert(&mut self, digest: KeyDigest, entry: EntryId) -> Result<(), EntryId> {
        if let Some(first) = self.find(&digest) {
            return Err(first);
        }
        self.by_digest
            .insert_unique(digest.hash(), (digest, entry), |(digest, _)| digest.hash());
        Ok(())
    }

    /// Frees the capacity for further digests.
    pub fn shrink(&mut self) {
        self.by_digest.shrink_to_fit(|(digest, _)| digest.hash());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_place() {
        for index in [0, 1, 100_000, EntryId::LISTED - 1] {
            for place in [EntryPlace::Plain(KeyIndex(index)), EntryPlace::Listed(index as usize)] {
                assert_eq!(EntryId::of(place).map(EntryId::place), Some(place));
            }
        }
        for index in [EntryId::LISTED, u32::MAX] {
            assert_eq!(EntryId::of(EntryPlace::Plain(KeyIndex(index))), None);
            assert_eq!(EntryId::of(EntryPlace::Listed(index as usize)), None);
        }
    }

    #[test]
    fn a_table_that_grew_and_shrank_has_all_digests_and_no_room() {
        let digest = |number: u32| KeyDigest::of(&number.to_le_bytes());
        let mut table = KeyTable::default();
        for number in 0..1_000 {
            assert_eq!(table.insert(digest(number), EntryId(number)), Ok(()), "{number}");
        }
        table.by_digest.reserve(100_000, |(digest, _)| digest.hash());
        let before = table.by_digest.capacity();
        table.shrink();
        assert!(table.by_digest.capacity() < before);
        for number in 0..1_000 {
            assert_eq!(table.find(&digest(number)), Some(EntryId(number)), "{number}");
            assert_eq!(
                table.insert(digest(number), EntryId(7)),
                Err(EntryId(number)),
                "{number}"
            );
        }
        assert_eq!(table.find(&digest(1_000)), None);
        let hashes: std::collections::BTreeSet<u64> = (0..1_000).map(|number| digest(number).hash()).collect();
        assert_eq!(hashes.len(), 1_000);
    }
}
