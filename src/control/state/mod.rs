//! The keys, each with the revision of its last change, and the pages of the feed's answers.
//!
//! A revision is one change of any number of keys. What changed after a revision is read from an index of the changes by revision. So an answer
//! costs what it holds, and the pages of an answer need no memory between two requests: a [`Cursor`] says where the next one begins.

mod cursor;
pub(crate) mod page;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::fed_key::{FedKey, hex};
use cursor::{Cursor, Position};
use table::Table;

/// Keys, and how they changed.
#[derive(Debug)]
pub struct State {
    epoch: Box<str>,
    table: RwLock<Table>,
    revision: watch::Sender<u64>,
}

/// What a gateway has: everything up to a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The epoch of the revision.
    pub epoch: String,
    /// The revision.
    pub revision: u64,
}

/// What a state answers to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A page, as JSON.
    Page {
        /// The body.
        body: String,
        /// Whether it is of a complete answer.
        is_complete: bool,
    },
    /// Nothing is newer than the revision that the gateway has.
    Unchanged {
        /// The body. It has this revision and never a later one, which the gateway would then not ask for.
        body: String,
    },
    /// The gateway has a revision of this epoch that is not there yet.
    Ahead,
    /// The cursor is not one of this epoch, or what it counts on is forgotten. The gateway begins anew.
    UnknownCursor,
}

impl Default for State {
    fn default() -> Self {
        State::new()
    }
}

impl State {
    /// A state without keys, in an epoch of its own.
    pub fn new() -> State {
        let mut epoch = [0; 16];
        // Without randomness, the time still differs from start to start.
        if getrandom::fill(&mut epoch).is_err() {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            epoch = now.as_nanos().to_be_bytes();
        }
        State {
            epoch: hex(&epoch).into(),
            table: RwLock::default(),
            revision: watch::Sender::new(0),
        }
    }

    /// The random name of this state. Revisions of another epoch mean nothing here.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.read().ids().len()
    }

    /// Tells of each new revision.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Puts keys in, each in the place of the one with its id. Returns the revision that has them.
    pub fn set(&self, keys: impl IntoIterator<Item = FedKey>) -> u64 {
        self.change(keys, [])
    }

    /// Takes keys out. Returns the revision that does not have them.
    pub fn remove<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> u64 {
        self.change([], ids)
    }

    /// Removes and sets keys in one revision. Returns it; if nothing differs, the revision stays.
    pub fn change<'i>(&self, set: impl IntoIterator<Item = FedKey>, removed: impl IntoIterator<Item = &'i str>) -> u64 {
        let mut table = self.write();
        table.change(set, removed);
        self.publish(&table)
    }

    /// Makes these all keys, in one revision. Returns it.
    pub fn replace_all(&self, keys: impl IntoIterator<Item = FedKey>) -> u64 {
        let keys: Vec<FedKey> = keys.into_iter().collect();
        let kept: BTreeSet<Arc<str>> = keys.iter().map(|key| key.id().clone()).collect();
        let mut table = self.write();
        let removed = table.ids().filter(|id| !kept.contains(*id)).cloned();
        let removed: Vec<Arc<str>> = removed.collect();
        table.change(keys, removed.iter().map(AsRef::as_ref));
        self.publish(&table)
    }

    /// Answers to a gateway that has everything up to `after`. With a cursor it is the following page of an answer.
    pub fn answer(&self, after: Option<&After>, cursor: Option<&str>) -> Answer {
        let table = self.read();
        let known = after.filter(|after| *after.epoch == *self.epoch);
        let known = known.map(|after| after.revision);
        let cursor = match cursor {
            Some(cursor) => Cursor::parse(cursor)
                .filter(|cursor| *cursor.epoch == *self.epoch && cursor.revision <= table.revision()),
            None => match known {
                Some(revision) if revision > table.revision() => return Answer::Ahead,
                Some(revision) if revision == table.revision() => {
                    let epoch = &self.epoch;
                    let body = format!(r#"{{"epoch":"{epoch}","revision":{revision},"complete":false}}"#);
                    return Answer::Unchanged { body };
                }
                _ => Some(self.first_page(&table, known)),
            },
        };
        let page = cursor.and_then(|cursor| {
            let is_complete = matches!(cursor.position, Position::Key(_));
            let body = table.page(cursor, known)?;
            Some(Answer::Page { body, is_complete })
        });
        page.unwrap_or(Answer::UnknownCursor)
    }

    /// Where an answer begins.
    fn first_page(&self, table: &Table, known: Option<u64>) -> Cursor {
        let start: Arc<str> = "".into();
        Cursor {
            epoch: self.epoch.clone(),
            revision: table.revision(),
            position: match known.filter(|&revision| table.remembers(revision)) {
                Some(revision) => Position::Removal(revision + 1, start),
                None => Position::Key(start),
            },
        }
    }

    fn publish(&self, table: &Table) -> u64 {
        let revision = table.revision();
        self.revision
            .send_if_modified(|published| mem::replace(published, revision) != revision);
        revision
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}
