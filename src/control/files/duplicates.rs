//! Where each id and each API key is, over all files.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use keyfence_files::tree::Mark;

use super::keys::FileKey;
use crate::fed_key::FedKey;

/// The most errors of a file that are kept.
const KEPT: usize = 100;

/// The places of keys, by their ids and by their API keys.
#[derive(Debug, Default)]
pub struct Places {
    ids: HashMap<Arc<str>, Place>,
    digests: HashMap<[u8; 32], Place>,
}

/// Where a key begins.
#[derive(Debug, Clone)]
struct Place {
    file: Arc<Path>,
    mark: Mark,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { line, column } = self.mark;
        write!(f, "{}:{line}:{column}", self.file.display())
    }
}

impl Places {
    pub fn insert(&mut self, FileKey { key, mark, .. }: &FileKey, file: &Arc<Path>) {
        let place = Place {
            file: file.clone(),
            mark: *mark,
        };
        let digests = key.digests().iter();
        self.digests.extend(digests.map(|digest| (digest.0, place.clone())));
        self.ids.insert(key.id().clone(), place);
    }

    pub fn remove(&mut self, key: &FedKey) {
        self.ids.remove(key.id());
        for digest in key.digests() {
            self.digests.remove(&digest.0);
        }
    }

    /// The errors of files with a key that has the id or an API key of another: in the same file, in another of these, or in a file that is
    /// not one of these and stays as it is.
    pub fn duplicates(&self, files: &BTreeMap<Arc<Path>, &[FileKey]>) -> HashMap<Arc<Path>, Vec<String>> {
        let mut accepted = Places::default();
        let mut found = HashMap::new();
        for (path, keys) in files {
            let mut own = Places::default();
            let mut errors = Vec::new();
            for file_key in *keys {
                let FileKey { key, mark, index } = file_key;
                let stays = |place: &&Place| !files.contains_key(&place.file);
                let at = Place {
                    file: path.clone(),
                    mark: *mark,
                };
                let id = key.id();
                let of_id = [own.ids.get(id), accepted.ids.get(id), self.ids.get(id).filter(stays)];
                if let Some(first) = of_id.into_iter().flatten().next() {
                    errors.push(format!(
                        "{at}: error: keys[{index}].id: {id:?}: the key at {first} has this id already; give each key an id of its own"
                    ));
                }
                let of_digest = key.digests().iter().filter_map(|digest| {
                    let digest = &digest.0;
                    let known = own.digests.get(digest).or_else(|| accepted.digests.get(digest));
                    known.or_else(|| self.digests.get(digest).filter(stays))
                });
                for first in of_digest {
                    errors.push(format!(
                        "{at}: error: keys[{index}].api_key: the key at {first} has this API key already; give each key an API key of its own"
                    ));
                }
                own.insert(file_key, path);
            }
            if errors.is_empty() {
                accepted.ids.extend(own.ids);
                accepted.digests.extend(own.digests);
            } else {
                errors.truncate(KEPT);
                found.insert(path.clone(), errors);
            }
        }
        found
    }
}
