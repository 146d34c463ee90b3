//! The protocol of a feed: which keys are asked for, and what is made of the answers. Without I/O: a host sends the polls.

mod answer;
mod set_key;

use std::fmt::Write;

use crate::config::timestamp::Timestamp;
use crate::policy::Policy;
use crate::policy::fed_keys::{FedKeyRef, FedKeys};
use answer::Page;

pub use answer::{AnswerError, MAX_PAGE};
pub use set_key::repeats_itself;

/// How far a feed has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Names the life of the store. Revisions of different epochs do not compare.
    pub epoch: Box<str>,
    /// Grows with each change.
    pub revision: u64,
}

/// The keys of a feed, and what has been read of it.
#[derive(Debug)]
pub struct Feed {
    /// Names this VM in polls.
    instance: Box<str>,
    /// `None` before the first complete answer.
    keys: Option<FedKeys>,
    after: Option<Position>,
    /// An answer of which pages have been read, and more are to come.
    partial: Option<Partial>,
    /// Tables that are not used any more, to be freed bit by bit.
    old: Vec<FedKeys>,
    forgotten: Forgotten,
    /// The keys of the last answers that were wrong by themselves and had no id.
    nameless: usize,
}

#[derive(Debug)]
struct Partial {
    position: Position,
    /// The new table, if the answer is complete.
    table: Option<FedKeys>,
    cursor: Box<str>,
    pages: usize,
    /// Whether the first page was asked for as what changed since [`Feed::after`]. The others are asked for as the first one.
    with_after: bool,
    /// [`Feed::nameless`] after the answer.
    nameless: usize,
}

/// The keys with scoped tokens that have changed: what is remembered of their tokens does not hold any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// All keys of the feed.
    All,
    /// These keys.
    Keys(Vec<FedKeyRef>),
}

/// What an answer has brought.
#[derive(Debug)]
pub struct Progress {
    /// Whether another page of the answer is to be asked for.
    pub has_more: bool,
    /// Whether the answer is newer than the one before, and changes something.
    pub is_news: bool,
    /// Whether it was all keys, and not what changed.
    pub is_complete: bool,
}

/// How many refused keys a poll names.
const REFUSED_SHOWN: usize = 10;

/// An answer of more pages never ends.
const MAX_PAGES: usize = 16_384;

/// How many keys of an old table are freed at a time.
const DISMANTLED: usize = 4_000;

impl Feed {
    /// A feed of which nothing has been read. `instance` names the VM: random letters and digits.
    pub fn new(instance: &str) -> Feed {
        Feed {
            instance: instance.into(),
            keys: None,
            after: None,
            partial: None,
            old: Vec::new(),
            forgotten: Forgotten::Keys(Vec::new()),
            nameless: 0,
        }
    }

    /// The keys. `None` before the first complete answer.
    pub fn keys(&self) -> Option<&FedKeys> {
        self.keys.as_ref()
    }

    /// How far the feed has been read. `None` before the first complete answer.
    pub fn position(&self) -> Option<&Position> {
        self.after.as_ref()
    }

    /// The number of refused keys.
    pub fn refused_count(&self) -> usize {
        self.nameless + self.keys.as_ref().map_or(0, FedKeys::refused_count)
    }

    /// Whether pages of an answer are still to be asked for.
    pub fn has_more(&self) -> bool {
        self.partial.is_some()
    }

    /// The body of the next poll. `node` is the name of the proxy, and may be empty.
    pub fn poll(&self, node: &str, wait_seconds: u32) -> String {
        let after = self.after.as_ref().filter(|_| match &self.partial {
            Some(partial) => partial.with_after,
            None => self.asks_for_changes(),
        });
        let mut body = format!("{{\"node\":{},\"instance\":{}", quoted(node), quoted(&self.instance));
        body.push_str(",\"after\":");
        match after {
            Some(Position { epoch, revision }) => {
                let _ = write!(body, "{{\"epoch\":{},\"revision\":{revision}}}", quoted(epoch));
            }
            None => body.push_str("null"),
        }
        body.push_str(",\"cursor\":");
        let wait_seconds = match &self.partial {
            Some(partial) => {
                body.push_str(&quoted(&partial.cursor));
                0
            }
            None => {
                body.push_str("null");
                wait_seconds
            }
        };
        let count = self.refused_count();
        let _ = write!(
            body,
            ",\"wait_seconds\":{wait_seconds},\"refused\":{{\"count\":{count},\"first\":["
        );
        let refused = self.keys.iter().flat_map(FedKeys::refused).take(REFUSED_SHOWN);
        for (index, key) in refused.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let code = key.code.code();
            let _ = write!(body, "{comma}{{\"id\":{},\"code\":\"{code}\"}}", quoted(key.id));
        }
        body.push_str("]}}");
        body
    }

    /// A table that is mostly waste is asked for again as a whole.
    fn asks_for_changes(&self) -> bool {
        !self.keys.as_ref().is_some_and(FedKeys::is_wasteful)
    }

    /// Takes the body of an answer to a poll. `policy` is the newest one with this feed. After an error nothing of the page has been applied,
    /// and no further page of the answer is asked for.
    pub fn answer(&mut self, body: &[u8], policy: &Policy, now: Timestamp) -> Result<Progress, AnswerError> {
        let page = Page::parse(body, policy, now).and_then(|page| {
            match &self.partial {
                Some(partial) => page.check_continues(&partial.position, partial.table.is_some(), &partial.cursor)?,
                None => self.check_first(&page)?,
            }
            match self.partial.as_ref().is_some_and(|partial| partial.pages >= MAX_PAGES) {
                true => Err(AnswerError::Malformed("its pages do not end")),
                false => Ok(page),
            }
        });
        match page {
            Ok(page) => Ok(self.apply(page, policy)),
            Err(error) => {
                self.fail();
                Err(error)
            }
        }
    }

    fn apply(&mut self, page: Page<'_>, policy: &Policy) -> Progress {
        let asks_for_changes = self.asks_for_changes();
        let (mut table, pages, with_after, nameless) = match self.partial.take() {
            Some(partial) => (partial.table, partial.pages, partial.with_after, partial.nameless),
            None => {
                let table = page.is_complete.then(|| FedKeys::new(self.keys.as_ref()));
                let nameless = if page.is_complete { 0 } else { self.nameless };
                (table, 0, asks_for_changes, nameless)
            }
        };
        let nameless = nameless + page.nameless;
        let is_complete = page.is_complete;
        let has_content = is_complete || !page.is_empty() || pages > 0;
        let is_news = has_content && self.after.as_ref() != Some(&page.position);
        let removed = page.removed.iter().map(|id| &**id);
        if let Some(keys) = table.as_mut().or(self.keys.as_mut()) {
            keys.apply(removed, page.set, policy);
        }
        if let Some(cursor) = page.next {
            self.partial = Some(Partial {
                position: page.position,
                table,
                cursor,
                pages: pages + 1,
                with_after,
                nameless,
            });
        } else {
            if let Some(table) = table {
                self.replace(table);
            }
            self.after = Some(page.position);
            self.nameless = nameless;
        }
        if let Some(keys) = &mut self.keys {
            let changed = keys.take_changed_parents();
            if let Forgotten::Keys(forgotten) = &mut self.forgotten {
                forgotten.extend(changed);
            }
        }
        Progress {
            has_more: self.partial.is_some(),
            is_news,
            is_complete,
        }
    }

    fn check_first(&self, page: &Page<'_>) -> Result<(), AnswerError> {
        let after = self.after.as_ref().filter(|after| after.epoch == page.position.epoch);
        match after {
            Some(after) if page.position.revision < after.revision => Err(AnswerError::Outdated),
            None if !page.is_complete => Err(AnswerError::Malformed("it is not complete, and of another epoch")),
            _ => Ok(()),
        }
    }

    fn replace(&mut self, mut table: FedKeys) {
        if let Some(before) = self.keys.take() {
            self.old.push(table.replace(before));
        }
        self.keys = Some(table);
        self.forgotten = Forgotten::All;
    }

    /// A poll has failed: the pages of its answer are not asked for any more.
    pub fn fail(&mut self) {
        if let Some(table) = self.partial.take().and_then(|partial| partial.table) {
            self.old.push(table);
        }
    }

    /// Gives up all keys, because changes cannot be applied. The next poll asks for a complete answer.
    pub fn reset(&mut self) {
        self.fail();
        self.keys = None;
        // At once, although it stalls requests: the memory is needed.
        self.old.clear();
        self.after = None;
        self.forgotten = Forgotten::All;
    }

    /// The policy has changed.
    pub fn resolve(&mut self, policy: &Policy) {
        if let Some(table) = self.partial.as_mut().and_then(|partial| partial.table.as_mut()) {
            table.resolve(policy);
        }
        if let Some(keys) = &mut self.keys {
            keys.resolve(policy);
            self.forgotten = Forgotten::All;
        }
    }

    /// The keys with scoped tokens that have changed since the last call.
    pub fn take_forgotten(&mut self) -> Forgotten {
        std::mem::replace(&mut self.forgotten, Forgotten::Keys(Vec::new()))
    }

    /// Frees a part of the tables that are not used any more: all at once would stall requests.
    pub fn free_old(&mut self) {
        if let Some(table) = self.old.last_mut()
            && table.dismantle(DISMANTLED)
        {
            self.old.pop();
        }
    }

    /// The largest piece of memory that the next page may need.
    pub fn largest_allocation(&self) -> usize {
        let partial = self.partial.as_ref().and_then(|partial| partial.table.as_ref());
        let tables = partial.into_iter().chain(&self.keys);
        tables.map(|table| 2 * table.largest_allocation()).max().unwrap_or(0)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into())
}
