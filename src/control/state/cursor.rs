//! Where the next page of an answer begins, as text that a gateway gives back.

use std::fmt;
use std::sync::Arc;

/// The beginning of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch of the answer.
    pub epoch: Box<str>,
    /// The revision of the answer.
    pub revision: u64,
    /// The first that the page has.
    pub position: Position,
}

/// What a page begins with. It may have changed since, so it is where to go on and need not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// In a complete answer: the key with this id.
    Key(Arc<str>),
    /// The removal of this id in this revision. All removals of an answer come before its keys.
    Removal(u64, Arc<str>),
    /// The key with this id, whose last change is this revision.
    Change(u64, Arc<str>),
}

/// `epoch:revision:k:id`, and with `r` or `c` the revision of the change before the id. Ids have no colon.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.epoch, self.revision)?;
        match &self.position {
            Position::Key(id) => write!(f, "k:{id}"),
            Position::Removal(revision, id) => write!(f, "r:{revision}:{id}"),
            Position::Change(revision, id) => write!(f, "c:{revision}:{id}"),
        }
    }
}

impl Cursor {
    /// Parses what a gateway gives back.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (epoch, rest) = text.split_once(':')?;
        let (revision, rest) = rest.split_once(':')?;
        let (kind, rest) = rest.split_once(':')?;
        let change = || {
            let (revision, id) = rest.split_once(':')?;
            Some((revision.parse().ok()?, id.into()))
        };
        let position = match kind {
            "k" => Position::Key(rest.into()),
            "r" => change().map(|(revision, id)| Position::Removal(revision, id))?,
            "c" => change().map(|(revision, id)| Position::Change(revision, id))?,
            _ => return None,
        };
        Some(Cursor {
            epoch: epoch.into(),
            revision: revision.parse().ok()?,
            position,
        })
    }
}
