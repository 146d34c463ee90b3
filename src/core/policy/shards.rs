//! A hash table in several parts.

use hashbrown::HashTable;

/// A hash table in a power of two of parts, each for a part of the hashes. A part that is full grows by itself: an insertion into a large
/// table never pays for more than a fraction of it.
#[derive(Debug)]
pub struct Shards<T> {
    /// Empty before the first insertion into a table that was made without parts.
    parts: Vec<HashTable<T>>,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Shards { parts: Vec::new() }
    }
}

impl<T> Shards<T> {
    /// The parts of a table that grows: with 100,000 rows, each has about 1,600.
    const PARTS: usize = 64;

    /// One part, which has the capacity for this number of rows.
    pub fn with_capacity(rows: usize) -> Shards<T> {
        Shards {
            parts: vec![HashTable::with_capacity(rows)],
        }
    }

    /// Many parts, for a table that grows row by row.
    pub fn growing() -> Shards<T> {
        Shards {
            parts: (0..Self::PARTS).map(|_| HashTable::new()).collect(),
        }
    }

    /// The part takes the bucket and the tag from bits of the hash itself. In 32 bits some hashes have no others, so they are mixed here.
    #[inline]
    fn index(&self, hash: u64) -> usize {
        let mixed = (hash as u32).wrapping_mul(0x9e37_79b9) >> 24;
        mixed as usize & self.parts.len().wrapping_sub(1)
    }

    /// The row for which `is` holds, among those with this hash.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts.get(self.index(hash))?.find(hash, is)
    }

    /// As [`Shards::find`], to change a row.
    pub fn find_mut(&mut self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let index = self.index(hash);
        self.parts.get_mut(index)?.find_mut(hash, is)
    }

    /// Adds a row. `hash_of` is the hash of any row.
    pub fn insert(&mut self, hash: u64, row: T, hash_of: impl Fn(&T) -> u64) {
        if self.parts.is_empty() {
            self.parts.push(HashTable::new());
        }
        let index = self.index(hash);
        if let Some(part) = self.parts.get_mut(index) {
            part.insert_unique(hash, row, hash_of);
        }
    }

    /// Takes out the row for which `is` holds, among those with this hash.
    pub fn remove(&mut self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<T> {
        let index = self.index(hash);
        let entry = self.parts.get_mut(index)?.find_entry(hash, is).ok()?;
        Some(entry.remove().0)
    }

    /// Whether the table has no row.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(HashTable::is_empty)
    }

    /// The number of rows.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    /// Frees the capacity for further rows.
    pub fn shrink(&mut self, hash_of: impl Fn(&T) -> u64) {
        for part in &mut self.parts {
            part.shrink_to_fit(&hash_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As hashes are in the wasm: of 32 bits.
    fn hash(row: &u64) -> u64 {
        u64::from((*row as u32).wrapping_mul(0x85eb_ca6b))
    }

    #[test]
    fn rows_are_found_until_they_are_removed() {
        for mut table in [Shards::default(), Shards::with_capacity(10), Shards::growing()] {
            assert!(table.is_empty());
            assert_eq!(table.find(hash(&1), |row| *row == 1), None);
            for row in 0..10_000 {
                table.insert(hash(&row), row, hash);
            }
            assert_eq!(table.remove(hash(&7), |row| *row == 7), Some(7));
            assert_eq!(table.remove(hash(&7), |row| *row == 7), None);
            table.shrink(hash);
            let largest = table.parts.iter().map(HashTable::len).max();
            assert!(largest <= Some(2 * 10_000 / table.parts.len()), "{largest:?}");
            let found = (0..10_000).filter(|row| table.find(hash(row), |known| known == row).is_some());
            assert_eq!((found.count(), table.len()), (9_999, 9_999));
        }
    }
}
