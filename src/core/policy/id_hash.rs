//! The hash of a key's id.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

/// Nobody but the operator chooses the ids, so none is chosen to collide.
pub fn id_hash(id: &str) -> u64 {
    FxBuildHasher.hash_one(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hash_apart() {
        let hashes: std::collections::BTreeSet<u64> = (0..10_000).map(|id| id_hash(&format!("key-{id}"))).collect();
        assert_eq!(hashes.len(), 10_000);
    }
}
