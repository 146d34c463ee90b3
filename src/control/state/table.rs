//! The keys, with an index of their changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cursor::{Cursor, Position};
use super::page::Page;
use crate::fed_key::FedKey;

/// How many removed ids are remembered. A gateway that has not asked since the oldest of them gets a complete answer.
pub const MAX_TOMBSTONES: usize = 65_536;

/// The ids that changed, by the revision of their last change.
type Changes = BTreeSet<(u64, Arc<str>)>;

#[derive(Debug, Default)]
pub struct Table {
    revision: u64,
    keys: BTreeMap<Arc<str>, Keyed>,
    /// The changes of all `keys`.
    changes: Changes,
    /// The ids that were removed, with the last revision that did so. An id that has come back stays: a gateway that knows its key from before
    /// must drop that one, even if it cannot use the new one.
    tombstones: BTreeMap<Arc<str>, u64>,
    /// The same as `tombstones`, by revision.
    removals: Changes,
    /// The last revision of which a removal is forgotten.
    forgotten: u64,
}

/// The key of an id.
#[derive(Debug)]
struct Keyed {
    json: Arc<str>,
    revision: u64,
}

impl Table {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn ids(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.keys.keys()
    }

    /// Whether all that changed after a revision is known.
    pub fn remembers(&self, revision: u64) -> bool {
        revision >= self.forgotten
    }

    /// Removes and sets keys. If any of this differs from what is there, it is a new revision.
    pub fn change<'i>(&mut self, set: impl IntoIterator<Item = FedKey>, removed: impl IntoIterator<Item = &'i str>) {
        let revision = self.revision + 1;
        let mut is_changed = false;
        for id in removed {
            if let Some((id, old)) = self.keys.remove_entry(id) {
                self.changes.remove(&(old.revision, id.clone()));
                self.removals.insert((revision, id.clone()));
                if let Some(earlier) = self.tombstones.insert(id.clone(), revision) {
                    self.removals.remove(&(earlier, id));
                }
                is_changed = true;
            }
        }
        for key in set {
            let old = self.keys.get(key.id());
            if old.is_some_and(|old| old.json == *key.json()) {
                continue;
            }
            if let Some(old) = old {
                self.changes.remove(&(old.revision, key.id().clone()));
            }
            let json = key.json().clone();
            self.keys.insert(key.id().clone(), Keyed { json, revision });
            self.changes.insert((revision, key.id().clone()));
            is_changed = true;
        }
        if is_changed {
            self.revision = revision;
        }
        while self.removals.len() > MAX_TOMBSTONES
            && let Some((revision, id)) = self.removals.pop_first()
        {
            self.tombstones.remove(&id);
            self.forgotten = revision;
        }
    }

    /// The page at this cursor, of an answer to a gateway that has everything up to the revision `known`. `None` if what it counts on is
    /// forgotten.
    ///
    /// A complete answer gives each key as it is when its page is made, under the revision in which the answer began: what changed since comes
    /// again with the next poll. An answer of changes leaves what has changed since to the next poll.
    pub fn page(&self, cursor: Cursor, known: Option<u64>) -> Option<String> {
        let mut page = Page::new();
        let end = (cursor.revision + 1, Arc::from(""));
        let is_complete = matches!(cursor.position, Position::Key(_));
        let mut next = None;
        if let Position::Key(from) = cursor.position {
            let mut keys = self.keys.range(from..);
            let full = keys.find(|(_, key)| !page.set(&key.json));
            next = full.map(|(id, _)| Position::Key(id.clone()));
        } else {
            let known = known.filter(|&revision| self.remembers(revision))?;
            let mut from = (known + 1, Arc::from(""));
            match cursor.position {
                Position::Change(revision, id) => from = (revision, id),
                Position::Removal(revision, id) => {
                    let mut removals = range(&self.removals, (revision, id), &end);
                    let full = removals.find(|(_, id)| !page.remove(id));
                    next = full.map(|(revision, id)| Position::Removal(*revision, id.clone()));
                }
                Position::Key(_) => {}
            }
            if next.is_none() {
                let full = range(&self.changes, from, &end).find(|(_, id)| {
                    let key = self.keys.get(id);
                    key.is_some_and(|key| !page.set(&key.json))
                });
                next = full.map(|(revision, id)| Position::Change(*revision, id.clone()));
            }
        }
        let Cursor { epoch, revision, .. } = cursor;
        let next = next.map(|position| {
            let epoch = epoch.clone();
            Cursor {
                epoch,
                revision,
                position,
            }
            .to_string()
        });
        Some(page.finish(&epoch, revision, is_complete, next))
    }
}

/// What is in the range; nothing if it ends before it begins, where `BTreeSet::range` would panic.
fn range<'c>(
    changes: &'c Changes,
    from: (u64, Arc<str>),
    end: &(u64, Arc<str>),
) -> impl Iterator<Item = &'c (u64, Arc<str>)> {
    let range = (from <= *end).then(|| changes.range(from..end.clone()));
    range.into_iter().flatten()
}
