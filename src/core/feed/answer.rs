//! One page of an answer of the feed's server.

use std::borrow::Cow;

use super::Position;
use super::set_key::read_set_key;
use crate::config::Diagnostics;
use crate::config::config_path::ConfigPath;
use crate::config::node::Node;
use crate::config::read::{Fields, whole_number};
use crate::config::timestamp::Timestamp;
use crate::policy::Policy;
use crate::policy::fed_keys::SetKey;

/// The most bytes of a page.
pub const MAX_PAGE: usize = 256 << 10;

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// It is not an answer of this protocol.
    Malformed(&'static str),
    /// It is older than what is known.
    Outdated,
}

/// A page, read.
pub struct Page<'a> {
    pub position: Position,
    /// Whether the answer is all keys, and not what changed.
    pub is_complete: bool,
    pub removed: Vec<Cow<'a, str>>,
    pub set: Vec<SetKey<'a>>,
    /// The number of keys without an id, which are in neither.
    pub nameless: usize,
    /// The cursor of the next page.
    pub next: Option<Box<str>>,
}

const NOT_JSON: AnswerError = AnswerError::Malformed("it is not a JSON object");

impl<'a> Page<'a> {
    /// Reads a page, and each key in it as one of `keys` in the configuration.
    pub fn parse(body: &'a [u8], policy: &Policy, now: Timestamp) -> Result<Page<'a>, AnswerError> {
        let malformed = AnswerError::Malformed;
        if body.len() > MAX_PAGE {
            return Err(malformed("it is larger than 256 KiB"));
        }
        let node: Node<'a> = serde_json::from_slice(body).map_err(|_| NOT_JSON)?;
        let mut diagnostics = Diagnostics::default();
        let mut fields = Fields::of(node, &ConfigPath::ROOT, &mut diagnostics).ok_or(NOT_JSON)?;
        let epoch = match fields.node("epoch", &mut diagnostics) {
            Some(Node::Text(epoch)) if is_visible(&epoch, 64) => epoch.into(),
            _ => return Err(malformed("it has no epoch")),
        };
        let revision = fields
            .node("revision", &mut diagnostics)
            .as_ref()
            .and_then(whole_number);
        let revision = revision.ok_or(malformed("it has no revision"))?;
        let is_complete = match fields.node("complete", &mut diagnostics) {
            Some(Node::Bool(is_complete)) => is_complete,
            _ => return Err(malformed("it does not say whether it is complete")),
        };
        let next = match fields.node("next", &mut diagnostics) {
            None | Some(Node::Null) => None,
            Some(Node::Text(cursor)) if is_visible(&cursor, 256) => Some(cursor.into()),
            Some(_) => return Err(malformed("next is not a cursor")),
        };
        let removed = fields.take("removed", &mut diagnostics).unwrap_or_default();
        let set: Vec<Node<'a>> = match fields.node("set", &mut diagnostics) {
            None => Vec::new(),
            Some(Node::List(keys)) => keys,
            Some(_) => return Err(malformed("set is not a list")),
        };
        // A field twice, or a list of something else.
        if diagnostics.error_count() > 0 {
            return Err(malformed("a field is there twice, or is of another type"));
        }
        let mut page = Page {
            position: Position { epoch, revision },
            is_complete,
            removed,
            set: Vec::with_capacity(set.len()),
            nameless: 0,
            next,
        };
        for node in set {
            match read_set_key(node, policy, now) {
                Some(key) => page.set.push(key),
                None => page.nameless += 1,
            }
        }
        // A page that changes nothing, and that another one follows, would go on for ever.
        match page.next.is_some() && page.is_empty() {
            true => Err(malformed("its pages do not end")),
            false => Ok(page),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty() && self.nameless == 0
    }

    /// Whether the page is the one of the same answer that `cursor` asks for.
    pub fn check_continues(&self, position: &Position, is_complete: bool, cursor: &str) -> Result<(), AnswerError> {
        if self.position != *position || self.is_complete != is_complete {
            return Err(AnswerError::Malformed("its pages are of different answers"));
        }
        if self.next.as_deref() == Some(cursor) {
            return Err(AnswerError::Malformed("its pages do not end"));
        }
        Ok(())
    }
}

fn is_visible(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
