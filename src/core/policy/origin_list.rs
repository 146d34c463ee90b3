//! The origins that one key lists, and the union of all lists, as numbers of patterns in the policy's
//! [`OriginTable`](super::origins::OriginTable).

use super::sorted::sorted;
use crate::config::origin::OriginPattern;

/// The number of a pattern in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatternId(pub(super) u32);

/// What in a list an origin matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginMatch {
    /// This pattern, see [`OriginTable::pattern`](super::origins::OriginTable::pattern).
    Listed(PatternId),
    /// `null`.
    Null,
    /// `*`, and nothing else.
    Any,
}

impl OriginMatch {
    /// Of what an origin matched in two lists, that which one list would find.
    pub(super) fn closer(one: Option<OriginMatch>, other: Option<OriginMatch>) -> Option<OriginMatch> {
        let rank = |found: &OriginMatch| match found {
            OriginMatch::Null => 0,
            OriginMatch::Listed(_) => 1,
            OriginMatch::Any => 2,
        };
        one.into_iter().chain(other).min_by_key(rank)
    }
}

/// The origins that one key lists.
#[derive(Debug, Default, Clone)]
pub struct OriginList {
    /// Sorted.
    patterns: Box<[PatternId]>,
    pub(super) null: bool,
    pub(super) any: bool,
    /// Whether anything was listed, even a pattern that the table could not store: such a list must allow nothing, not everything.
    was_listed: bool,
    /// Whether the patterns are those of a feed's table.
    pub(super) is_of_feed: bool,
}

/// What the lists of all enabled keys contain together, besides patterns. The patterns are marked in the table.
#[derive(Debug, Default, Clone)]
pub struct OriginUnion {
    pub(super) null: bool,
    pub(super) any: bool,
    has_patterns: bool,
}

impl OriginList {
    /// The list of these entries. `ids` are the numbers of those that are tuples, in any order.
    pub(super) fn new(entries: &[OriginPattern], ids: Vec<PatternId>, is_of_feed: bool) -> OriginList {
        let list = OriginList {
            patterns: Box::default(),
            null: entries.contains(&OriginPattern::Null),
            any: entries.contains(&OriginPattern::Any),
            was_listed: !entries.is_empty(),
            is_of_feed,
        };
        list.with_patterns(ids, is_of_feed)
    }

    /// The same list with these patterns, in any order, of another table.
    pub(super) fn with_patterns(&self, ids: Vec<PatternId>, is_of_feed: bool) -> OriginList {
        let mut ids = sorted(ids);
        ids.dedup();
        OriginList {
            patterns: ids.into(),
            is_of_feed,
            ..*self
        }
    }

    /// The numbers of the patterns.
    pub(super) fn patterns(&self) -> &[PatternId] {
        &self.patterns
    }

    /// Whether nothing is listed. Then the origin is not checked.
    pub fn is_empty(&self) -> bool {
        !self.was_listed
    }

    /// Whether the list contains what an origin matched.
    pub fn contains(&self, found: OriginMatch) -> bool {
        match found {
            OriginMatch::Listed(id) => self.patterns.binary_search(&id).is_ok(),
            OriginMatch::Null => self.null,
            OriginMatch::Any => self.any,
        }
    }

    /// Whether the list names an origin other than `*`, so that responses differ by `Origin`.
    pub fn names_origins(&self) -> bool {
        !self.patterns.is_empty() || self.null
    }

    /// Whether the list has `*` and no other origin, so that responses do not depend on `Origin`.
    pub fn is_any_alone(&self) -> bool {
        self.any && !self.names_origins()
    }
}

impl OriginUnion {
    /// Of lists of which so many have `null`, and so many `*`.
    pub(super) fn of_counts(null: usize, any: usize) -> OriginUnion {
        OriginUnion {
            null: null > 0,
            any: any > 0,
            has_patterns: false,
        }
    }

    /// Adds a list.
    pub fn include(&mut self, list: &OriginList) {
        self.null |= list.null;
        self.any |= list.any;
        self.has_patterns |= !list.patterns.is_empty();
    }

    /// As [`OriginList::names_origins`].
    pub fn names_origins(&self) -> bool {
        self.has_patterns || self.null
    }

    /// As [`OriginList::is_any_alone`].
    pub fn is_any_alone(&self) -> bool {
        self.any && !self.names_origins()
    }
}
