//! Matches the `Origin` of a request against all origin patterns of a policy, which are in one hash table.
//!
//! Each pattern is stored once and has a number. A key's list is a list of numbers, so the same look-ups serve the list of one key and the
//! union of all lists, whatever the number of keys. `*.` costs one look-up per label of the request's host. A `*` inside a label costs one
//! look-up per length of the prefixes that patterns of the same parent have, and one per length of the suffixes that go with a prefix that
//! matches: the number of patterns does not matter.
//!
//! The origin is compared, not parsed. The bytes that a `*` matches are checked only if the rest of a pattern matches.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::allocator::table_bytes;
use super::origin_list::{OriginList, OriginMatch, OriginUnion, PatternId};
use super::shards::Shards;
use crate::config::origin::{
    HostPattern, LabelPattern, OriginPattern, PortPattern, TuplePattern, is_label_byte, split_written_port,
};

pub use crate::config::origin::MAX_ORIGIN;

/// All tuple patterns of a policy, or of a feed.
#[derive(Debug, Default)]
pub struct OriginTable {
    patterns: Vec<Pattern>,
    /// The scheme and the host of each pattern, one after the other.
    text: String,
    by_hash: Shards<PatternId>,
    stems: Shards<Stem>,
    has: Kinds,
    /// How many lists that are part of the union have each pattern. Only for keys of a feed, whose lists come and go.
    offers: Option<Vec<u32>>,
}

/// The kinds of patterns in the table. Other kinds are not looked up.
#[derive(Debug, Default, Clone, Copy)]
struct Kinds {
    wildcards: bool,
    /// Such as `*.localhost`.
    short_wildcards: bool,
    any_host: bool,
    any_port: bool,
}

#[derive(Debug, Clone, Copy)]
struct Pattern {
    start: u32,
    scheme_length: u16,
    host_length: u16,
    port: PortPattern,
    hosts: Hosts,
    /// Whether a list that is part of the union has it.
    is_offered: bool,
}

/// The hosts that a pattern matches, in terms of the host that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosts {
    /// The stored host.
    One,
    /// All subdomains of the stored host.
    Below,
    /// The direct subdomains whose label has a prefix and a suffix of these lengths. The stored host is prefix, suffix and parent.
    Label { prefix: u8, suffix: u8 },
    /// Any host. None is stored.
    Any,
}

/// What several patterns with a `*` inside a label have in common. Tells which lengths are worth a look-up.
#[derive(Debug, Clone, Copy)]
struct Stem {
    /// One of the patterns.
    of: PatternId,
    depth: Depth,
    /// A bit for each length that the prefix or the suffix of a pattern has.
    lengths: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// The scheme, parent and port are the same. The lengths are those of prefixes.
    Parent,
    /// The prefix is the same, too. The lengths are those of suffixes.
    Prefix,
}

/// The parts of a pattern, to look it up.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wanted<'o> {
    host: &'o [u8],
    scheme: &'o [u8],
    port: PortPattern,
    /// The prefix and the suffix of a label. Empty unless the kind is [`Kind::Label`].
    prefix: &'o [u8],
    suffix: &'o [u8],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Below,
    Label,
    Any,
}

/// An upper bound on the bytes of a table and of the lists that refer to it. `patterns` have `text` bytes, and `labels` of them have a `*`
/// inside a label.
pub fn bytes_for(patterns: usize, labels: usize, text: usize) -> usize {
    patterns * (size_of::<Pattern>() + size_of::<PatternId>())
        + text
        + table_bytes::<PatternId>(patterns)
        + table_bytes::<Stem>(stems_of(labels))
}

/// The allocations of such a table that must each be contiguous, in bytes.
pub fn pieces_for(patterns: usize, labels: usize, text: usize) -> [usize; 4] {
    [
        patterns * size_of::<Pattern>(),
        text,
        table_bytes::<PatternId>(patterns),
        table_bytes::<Stem>(stems_of(labels)),
    ]
}

/// The bytes that [`OriginTable::shrink`] takes for a moment besides the table.
pub fn shrinking_bytes_for(patterns: usize, labels: usize) -> usize {
    table_bytes::<PatternId>(patterns) + table_bytes::<Stem>(stems_of(labels))
}

fn stems_of(labels: usize) -> usize {
    2 * labels
}

impl OriginTable {
    /// An empty table with capacity for `patterns` with `text` bytes, of which `labels` have a `*` inside a label.
    pub fn with_capacity(patterns: usize, labels: usize, text: usize) -> OriginTable {
        OriginTable {
            patterns: Vec::with_capacity(patterns),
            text: String::with_capacity(text),
            by_hash: Shards::with_capacity(patterns),
            stems: Shards::with_capacity(stems_of(labels)),
            ..OriginTable::default()
        }
    }

    /// An empty table for the lists of a feed's keys, which come and go.
    pub fn of_feed() -> OriginTable {
        OriginTable {
            by_hash: Shards::growing(),
            stems: Shards::growing(),
            offers: Some(Vec::new()),
            ..OriginTable::default()
        }
    }

    /// Adds the patterns of a list. With `is_offered` they are part of the union, see [`OriginTable::match_union`]. The returned list is valid
    /// for this table only.
    pub fn add(&mut self, patterns: &[OriginPattern], is_offered: bool) -> OriginList {
        let ids: Vec<PatternId> = patterns
            .iter()
            .filter_map(|pattern| match pattern {
                OriginPattern::Tuple(tuple) => self.intern(tuple),
                _ => None,
            })
            .collect();
        let list = OriginList::new(patterns, ids, self.offers.is_some());
        if is_offered {
            self.offer(&list);
        }
        list
    }

    /// Makes a list of this table part of the union.
    pub fn offer(&mut self, list: &OriginList) {
        for id in list.patterns() {
            if let Some(pattern) = self.patterns.get_mut(id.0 as usize) {
                pattern.is_offered = true;
            }
            let offers = self.offers.as_mut().and_then(|offers| offers.get_mut(id.0 as usize));
            if let Some(offers) = offers {
                *offers += 1;
            }
        }
    }

    /// Takes a list of a feed's key that was offered out of the union. Its patterns stay in the table: if another list has them, they are there.
    pub fn withdraw(&mut self, list: &OriginList) {
        for id in list.patterns() {
            let offers = self.offers.as_mut().and_then(|offers| offers.get_mut(id.0 as usize));
            if let (Some(offers), Some(pattern)) = (offers, self.patterns.get_mut(id.0 as usize)) {
                *offers = offers.saturating_sub(1);
                pattern.is_offered = *offers > 0;
            }
        }
    }

    /// The list of another table, in this one.
    pub fn copy(&mut self, list: &OriginList, from: &OriginTable) -> OriginList {
        let tuples = list.patterns().iter().filter_map(|id| from.pattern(*id));
        let ids = tuples.filter_map(|tuple| self.intern(&tuple)).collect();
        list.with_patterns(ids, self.offers.is_some())
    }

    /// The number of patterns, those that no list has any more included.
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// The bytes of the largest allocation.
    pub fn largest(&self) -> usize {
        self.text
            .capacity()
            .max(self.patterns.capacity() * size_of::<Pattern>())
    }

    /// Frees the capacity for further patterns.
    pub fn shrink(&mut self) {
        self.patterns.shrink_to_fit();
        self.text.shrink_to_fit();
        let (patterns, text) = (&self.patterns, &self.text);
        self.by_hash.shrink(|id| pattern_hash(patterns, text, *id));
        self.stems.shrink(|stem| stem.hash(patterns, text));
    }

    fn intern(&mut self, tuple: &TuplePattern) -> Option<PatternId> {
        let wanted = Wanted::of(tuple);
        match self.find(wanted, wanted.hash()) {
            Some(id) => Some(id),
            None => self.insert(wanted),
        }
    }

    fn insert(&mut self, wanted: Wanted<'_>) -> Option<PatternId> {
        let id = PatternId(u32::try_from(self.patterns.len()).ok()?);
        let host = [wanted.prefix, wanted.suffix, wanted.host];
        self.patterns.push(Pattern {
            start: u32::try_from(self.text.len()).ok()?,
            scheme_length: u16::try_from(wanted.scheme.len()).ok()?,
            host_length: u16::try_from(host.iter().map(|part| part.len()).sum::<usize>()).ok()?,
            port: wanted.port,
            hosts: match wanted.kind {
                Kind::One => Hosts::One,
                Kind::Below => Hosts::Below,
                Kind::Any => Hosts::Any,
                Kind::Label => Hosts::Label {
                    prefix: label_length(wanted.prefix)?,
                    suffix: label_length(wanted.suffix)?,
                },
            },
            is_offered: false,
        });
        if let Some(offers) = &mut self.offers {
            offers.push(0);
        }
        for part in [wanted.scheme].iter().chain(&host) {
            self.text.push_str(std::str::from_utf8(part).unwrap_or_default());
        }
        self.has.wildcards |= matches!(wanted.kind, Kind::Below | Kind::Label);
        self.has.short_wildcards |= wanted.kind == Kind::Below && !wanted.host.contains(&b'.');
        self.has.any_host |= wanted.kind == Kind::Any;
        self.has.any_port |= wanted.port == PortPattern::Any;
        let (patterns, text) = (&self.patterns, &self.text);
        self.by_hash
            .insert(wanted.hash(), id, |id| pattern_hash(patterns, text, *id));
        if wanted.kind == Kind::Label {
            self.note_length(id, wanted, Depth::Parent, wanted.prefix.len());
            self.note_length(id, wanted, Depth::Prefix, wanted.suffix.len());
        }
        Some(id)
    }

    fn note_length(&mut self, of: PatternId, wanted: Wanted<'_>, depth: Depth, length: usize) {
        let (patterns, text) = (&self.patterns, &self.text);
        let wanted = wanted.stem(depth);
        let is_wanted = |stem: &Stem| stem.is(patterns, text, depth, wanted);
        let lengths = 1 << length;
        match self.stems.find_mut(wanted.hash_at(depth), is_wanted) {
            Some(stem) => stem.lengths |= lengths,
            None => {
                let stem = Stem { of, depth, lengths };
                self.stems
                    .insert(wanted.hash_at(depth), stem, |stem| stem.hash(patterns, text));
            }
        }
    }

    fn find(&self, wanted: Wanted<'_>, hash: u64) -> Option<PatternId> {
        let is_wanted = |id: &PatternId| view(&self.patterns, &self.text, *id) == Some(wanted);
        self.by_hash.find(hash, is_wanted).copied()
    }

    /// The lengths of the stem that `wanted` is a part of. 0 if there is no such stem.
    fn lengths(&self, wanted: Wanted<'_>, depth: Depth, hash: u64) -> u64 {
        let is_wanted = |stem: &Stem| stem.is(&self.patterns, &self.text, depth, wanted);
        self.stems.find(hash, is_wanted).map_or(0, |stem| stem.lengths)
    }

    /// What in `list` the value of an `Origin` header matches.
    pub fn match_list(&self, list: &OriginList, origin: &[u8]) -> Option<OriginMatch> {
        self.matches(origin, list.null, list.any, |id| list.contains(OriginMatch::Listed(id)))
    }

    /// What in the lists of all enabled keys the value of an `Origin` header matches. `union` tells whether `*` and `null` are listed.
    pub fn match_union(&self, union: &OriginUnion, origin: &[u8]) -> Option<OriginMatch> {
        self.matches(origin, union.null, union.any, |id| {
            self.patterns
                .get(id.0 as usize)
                .is_some_and(|pattern| pattern.is_offered)
        })
    }

    fn matches(&self, origin: &[u8], null: bool, any: bool, has: impl Fn(PatternId) -> bool) -> Option<OriginMatch> {
        if origin.len() > MAX_ORIGIN {
            return None;
        }
        if null && origin == b"null" {
            return Some(OriginMatch::Null);
        }
        if let Some(id) = Search::of(self, origin, &has).and_then(|search| search.find()) {
            return Some(OriginMatch::Listed(id));
        }
        (any && is_one_line(origin)).then_some(OriginMatch::Any)
    }

    /// The pattern with this number, as the configuration has it.
    pub fn pattern(&self, id: PatternId) -> Option<TuplePattern> {
        let found = view(&self.patterns, &self.text, id)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let host = text(found.host);
        Some(TuplePattern {
            scheme: text(found.scheme),
            hosts: match found.kind {
                Kind::One => HostPattern::One(host),
                Kind::Below => HostPattern::Below(host),
                Kind::Label => HostPattern::Label(LabelPattern::new(&text(found.prefix), &text(found.suffix), &host)),
                Kind::Any => HostPattern::Any,
            },
            port: found.port,
        })
    }
}

/// The search for a pattern that an origin matches.
struct Search<'t, 'o> {
    table: &'t OriginTable,
    sent: Wanted<'o>,
    scheme_hash: u64,
    /// Whether the list contains a pattern.
    has: &'t dyn Fn(PatternId) -> bool,
}

impl<'t, 'o> Search<'t, 'o> {
    /// `None` if the origin has no scheme: it matches no pattern.
    fn of(table: &'t OriginTable, origin: &'o [u8], has: &'t dyn Fn(PatternId) -> bool) -> Option<Self> {
        let (scheme, authority) = split_scheme(origin)?;
        let (host, port) = split_written_port(authority);
        Some(Search {
            table,
            sent: Wanted {
                host,
                scheme,
                port,
                prefix: b"",
                suffix: b"",
                kind: Kind::One,
            },
            scheme_hash: backward_hash(scheme),
            has,
        })
    }

    /// Walks over the host once, from its end, and hashes its suffixes on the way.
    fn find(&self) -> Option<PatternId> {
        let has = self.table.has;
        let host = self.sent.host;
        let mut hasher = FxHasher::default();
        let mut leftmost_dot = None;
        for (index, &byte) in host.iter().enumerate().rev() {
            if byte == b'.' && has.wildcards {
                let before_one_label = leftmost_dot.is_none();
                let parent = host.get(index + 1..).unwrap_or_default();
                if (!before_one_label || has.short_wildcards)
                    && let Some(found) = self.find_at(parent, hasher.finish(), Kind::Below)
                    && has_labels_only(host.get(..index).unwrap_or_default())
                {
                    return Some(found);
                }
                leftmost_dot = Some((index, hasher.finish()));
            }
            hasher.write_u8(byte);
        }
        self.find_at(host, hasher.finish(), Kind::One)
            .or_else(|| leftmost_dot.and_then(|(index, hash)| self.find_label(index, hash)))
            .or_else(|| {
                has.any_host
                    .then(|| self.find_at(b"", backward_hash(b""), Kind::Any))
                    .flatten()
                    .filter(|_| is_program_host(host))
            })
    }

    /// The pattern of the list with this host, and with the port that was sent or with any.
    fn find_at(&self, host: &[u8], hash: u64, kind: Kind) -> Option<PatternId> {
        self.with_ports(
            Wanted {
                host,
                kind,
                ..self.sent
            },
            |wanted| {
                let found = self.table.find(wanted, wanted.hash_of(self.scheme_hash, hash));
                found.filter(|id| (self.has)(*id))
            },
        )
    }

    #[inline]
    fn with_ports(&self, wanted: Wanted<'_>, find: impl Fn(Wanted<'_>) -> Option<PatternId>) -> Option<PatternId> {
        match find(wanted) {
            None if self.table.has.any_port => find(Wanted {
                port: PortPattern::Any,
                ..wanted
            }),
            found => found,
        }
    }

    /// The pattern of the list that matches the label before this dot. `hash` is the hash of the host after the dot.
    fn find_label(&self, dot: usize, hash: u64) -> Option<PatternId> {
        if self.table.stems.is_empty() {
            return None;
        }
        let label = self.sent.host.get(..dot).unwrap_or_default();
        let host = self.sent.host.get(dot + 1..).unwrap_or_default();
        let kind = Kind::Label;
        self.with_ports(
            Wanted {
                host,
                kind,
                ..self.sent
            },
            |wanted| self.find_beginning(label, wanted, wanted.hash_of(self.scheme_hash, hash)),
        )
    }

    /// The pattern of the list with the parent of `wanted` that matches the label. `hash` is the hash of `wanted`.
    fn find_beginning(&self, label: &[u8], wanted: Wanted<'_>, hash: u64) -> Option<PatternId> {
        let lengths = self.table.lengths(wanted, Depth::Parent, hash_step(hash, NO_PREFIX));
        let mut prefix_hasher = FxHasher::default();
        for (length, &byte) in label.iter().enumerate().take(LABEL_LENGTHS) {
            if lengths >> length == 0 {
                return None;
            }
            if lengths >> length & 1 == 1
                && let Some((prefix, rest)) = label.split_at_checked(length)
                && let Some(found) = self.find_ending(
                    rest,
                    Wanted { prefix, ..wanted },
                    hash_step(hash, prefix_hasher.finish()),
                )
            {
                return Some(found);
            }
            prefix_hasher.write_u8(byte);
        }
        None
    }

    /// The pattern of the list with the prefix of `wanted` that matches the rest of a label. `hash` is the hash of `wanted`.
    fn find_ending(&self, rest: &[u8], wanted: Wanted<'_>, hash: u64) -> Option<PatternId> {
        let lengths = self.table.lengths(wanted, Depth::Prefix, hash);
        let mut suffix_hasher = FxHasher::default();
        for (length, &byte) in rest.iter().rev().enumerate().take(LABEL_LENGTHS) {
            if lengths >> length == 0 {
                return None;
            }
            if lengths >> length & 1 == 1
                && let Some((middle, suffix)) = rest.split_at_checked(rest.len() - length)
                && let Some(found) = self
                    .table
                    .find(Wanted { suffix, ..wanted }, hash_step(hash, suffix_hasher.finish()))
                && (self.has)(found)
                && middle.iter().all(|byte| is_label(*byte))
            {
                return Some(found);
            }
            suffix_hasher.write_u8(byte);
        }
        None
    }
}

impl<'o> Wanted<'o> {
    fn of(tuple: &'o TuplePattern) -> Self {
        let [prefix, suffix, host] = match &tuple.hosts {
            HostPattern::One(host) | HostPattern::Below(host) => ["", "", host],
            HostPattern::Label(label) => label.parts(),
            HostPattern::Any => [""; 3],
        };
        Wanted {
            host: host.as_bytes(),
            scheme: tuple.scheme.as_bytes(),
            port: tuple.port,
            prefix: prefix.as_bytes(),
            suffix: suffix.as_bytes(),
            kind: match &tuple.hosts {
                HostPattern::One(_) => Kind::One,
                HostPattern::Below(_) => Kind::Below,
                HostPattern::Label(_) => Kind::Label,
                HostPattern::Any => Kind::Any,
            },
        }
    }

    /// Without the parts in which the patterns of a stem differ.
    fn stem(self, depth: Depth) -> Self {
        match depth {
            Depth::Parent => Wanted {
                prefix: b"",
                suffix: b"",
                ..self
            },
            Depth::Prefix => Wanted { suffix: b"", ..self },
        }
    }

    /// Only the operator chooses what is in the table, so no client can cause collisions.
    fn hash(self) -> u64 {
        match self.kind {
            Kind::Label => hash_step(self.hash_at(Depth::Prefix), backward_hash(self.suffix)),
            _ => self.hash_of(backward_hash(self.scheme), backward_hash(self.host)),
        }
    }

    /// The hash of a stem.
    fn hash_at(self, depth: Depth) -> u64 {
        let hash = self.hash_of(backward_hash(self.scheme), backward_hash(self.host));
        match depth {
            Depth::Parent => hash_step(hash, NO_PREFIX),
            Depth::Prefix => hash_step(hash, text_hash(self.prefix.iter())),
        }
    }

    /// The hash of scheme, host, port and kind, from the hashes of the first two.
    fn hash_of(self, scheme: u64, host: u64) -> u64 {
        let port = match self.port {
            PortPattern::Absent => 0,
            PortPattern::Exact(port) => u64::from(port),
            PortPattern::Any => 1 << 16,
        };
        let rest = scheme ^ (port << 2 | self.kind as u64);
        let mixed = host ^ rest.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The table takes bits from both ends.
        mixed ^ (mixed >> 32)
    }
}

/// Combines the hash of what comes before with the hash of `text`.
fn hash_step(before: u64, text: u64) -> u64 {
    let mixed = (before.rotate_left(23) ^ text).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

impl Stem {
    fn is(&self, patterns: &[Pattern], text: &str, depth: Depth, wanted: Wanted<'_>) -> bool {
        self.depth == depth && view(patterns, text, self.of).is_some_and(|found| found.stem(depth) == wanted)
    }

    fn hash(&self, patterns: &[Pattern], text: &str) -> u64 {
        view(patterns, text, self.of).map_or(0, |found| found.hash_at(self.depth))
    }
}

/// The lengths that a prefix or suffix can have: a label has at most 63 bytes, and `*` matches at least one of them.
const LABEL_LENGTHS: usize = 63;

fn label_length(text: &[u8]) -> Option<u8> {
    u8::try_from(text.len())
        .ok()
        .filter(|length| usize::from(*length) < LABEL_LENGTHS)
}

fn view<'t>(patterns: &[Pattern], text: &'t str, id: PatternId) -> Option<Wanted<'t>> {
    let pattern = patterns.get(id.0 as usize)?;
    let text = text.as_bytes().get(pattern.start as usize..)?;
    let (scheme, text) = text.split_at_checked(usize::from(pattern.scheme_length))?;
    let written = text.get(..usize::from(pattern.host_length))?;
    let (kind, prefix, suffix) = match pattern.hosts {
        Hosts::One => (Kind::One, 0, 0),
        Hosts::Below => (Kind::Below, 0, 0),
        Hosts::Label { prefix, suffix } => (Kind::Label, prefix, suffix),
        Hosts::Any => (Kind::Any, 0, 0),
    };
    let (prefix, written) = written.split_at_checked(usize::from(prefix))?;
    let (suffix, host) = written.split_at_checked(usize::from(suffix))?;
    Some(Wanted {
        host,
        scheme,
        port: pattern.port,
        prefix,
        suffix,
        kind,
    })
}

fn pattern_hash(patterns: &[Pattern], text: &str, id: PatternId) -> u64 {
    view(patterns, text, id).map_or(0, Wanted::hash)
}

/// The hash of a text, byte by byte: so the hashes of its beginnings are known on the way.
fn text_hash<'t>(bytes: impl Iterator<Item = &'t u8>) -> u64 {
    let mut hasher = FxHasher::default();
    bytes.for_each(|byte| hasher.write_u8(*byte));
    hasher.finish()
}

/// From the last byte to the first: for hosts, whose suffixes are looked up, and for the suffixes of labels.
fn backward_hash(text: &[u8]) -> u64 {
    text_hash(text.iter().rev())
}

/// Instead of the hash of a prefix. Distinguishes a stem without a prefix from a stem with an empty prefix.
const NO_PREFIX: u64 = 1;

/// The scheme, and the rest after `://`.
fn split_scheme(origin: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = origin.iter().position(|&b| b == b':')?;
    let (scheme, rest) = origin.split_at_checked(colon)?;
    Some((scheme, rest.strip_prefix(b"://")?))
}

/// Whether `*` alone matches: any single value in a single line. Envoy joins two lines with a comma.
fn is_one_line(origin: &[u8]) -> bool {
    !origin.is_empty() && origin.iter().all(|b| b.is_ascii_graphic() && *b != b',')
}

/// Whether `host` consists of labels with single dots between them.
fn has_labels_only(host: &[u8]) -> bool {
    are_labels(host, is_label)
}

/// As [`has_labels_only`], for the origin of a program. Safari writes the UUID of an extension in upper case.
fn is_program_host(host: &[u8]) -> bool {
    are_labels(host, |byte| is_label(byte) || byte.is_ascii_uppercase())
}

fn are_labels(host: &[u8], is_label: impl Fn(u8) -> bool) -> bool {
    // A dot is right after a label only.
    let mut after_label = false;
    for &byte in host {
        let is_label = is_label(byte);
        if !(is_label || byte == b'.' && after_label) {
            return false;
        }
        after_label = is_label;
    }
    after_label
}

fn is_label(byte: u8) -> bool {
    IS_LABEL_BYTE.get(usize::from(byte)).is_some_and(|is| *is)
}

/// [`is_label_byte`] as a table.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
static IS_LABEL_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_label_byte(byte as u8);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// An [`OriginMatch`] without the number of the pattern.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Found {
        Listed,
        Null,
        Any,
    }

    fn kind_of(found: OriginMatch) -> Found {
        match found {
            OriginMatch::Listed(_) => Found::Listed,
            OriginMatch::Null => Found::Null,
            OriginMatch::Any => Found::Any,
        }
    }

    fn match_of(patterns: &[&str], origin: &[u8]) -> Option<Found> {
        let patterns: Vec<OriginPattern> = patterns
            .iter()
            .map(|text| OriginPattern::parse(text).unwrap())
            .collect();
        let mut table = OriginTable::default();
        // Another key's patterns are in the table, too, and must not count.
        table.add(&[OriginPattern::parse("https://other.example").unwrap()], true);
        table.add(&[OriginPattern::parse("https://*.other.example").unwrap()], true);
        table.add(&[OriginPattern::parse("https://x-*-x.other.example").unwrap()], true);
        let list = table.add(&patterns, true);
        let found = table.match_list(&list, origin);
        let mut union = OriginUnion::default();
        union.include(&list);
        assert_eq!(
            table.match_union(&union, origin).is_some(),
            found.is_some() || origin.ends_with(b"other.example")
        );
        if let Some(OriginMatch::Listed(id)) = found {
            let named = OriginPattern::Tuple(table.pattern(id).unwrap());
            assert!(patterns.contains(&named), "{named}");
            let mut alone = OriginTable::default();
            let list = alone.add(&[named], true);
            assert!(alone.match_list(&list, origin).is_some());
        }
        assert!(found.is_none_or(|found| list.contains(found)));
        found.map(kind_of)
    }

    #[test]
    fn origins_against_patterns() {
        use Found::*;
        let exact: &[&str] = &["https://yourapp.com"];
        let wildcard: &[&str] = &["https://*.yourapp.com"];
        let port: &[&str] = &[
            "http://localhost:*",
            "https://*.yourapp.com:8443",
            "https://*.any.example:*",
        ];
        let local: &[&str] = &["http://*.localhost:3000"];
        let label: &[&str] = &["https://app-*-team.example.com"];
        let labels: &[&str] = &[
            "https://a*.example.com:*",
            "https://ab*b.example.com",
            "https://*z.example.com",
            "https://app-*.localhost:3000",
        ];
        let programs: &[&str] = &[
            "capacitor://localhost",
            "app://.",
            "file://",
            "qrc://",
            "odd://A@b:070",
            "moz-extension://*",
            "web+app://*:*",
        ];
        let star: &[&str] = &["*"];
        let mixed: &[&str] = &["*", "null", "https://yourapp.com"];
        for (patterns, origin, expected) in [
            (exact, "https://yourapp.com", Some(Listed)),
            (exact, "http://yourapp.com", None),
            (exact, "https://yourapp.com:443", None),
            (exact, "https://yourapp.com:8443", None),
            (exact, "https://www.yourapp.com", None),
            (exact, "https://evil-yourapp.com", None),
            (exact, "https://yourapp.com.evil.com", None),
            (exact, "https://yourapp.co", None),
            (exact, "https://yourapp.com.", None),
            (exact, "https://yourapp.com/", None),
            (exact, "https://yourapp.com#", None),
            (exact, "https://yourapp.com\\", None),
            (exact, "https://yourapp.com@evil.com", None),
            (exact, "https://evil.com@yourapp.com", None),
            (exact, "HTTPS://yourapp.com", None),
            (exact, "https://YourApp.com", None),
            (exact, " https://yourapp.com", None),
            (exact, "https://yourapp.com ", None),
            (exact, "https://yourapp.com,https://yourapp.com", None),
            (exact, "https://other.example", None),
            (exact, "yourapp.com", None),
            (exact, "//yourapp.com", None),
            (exact, "", None),
            (exact, "null", None),
            (wildcard, "https://a.yourapp.com", Some(Listed)),
            (wildcard, "https://a.b.yourapp.com", Some(Listed)),
            (wildcard, "https://a_b-1.yourapp.com", Some(Listed)),
            (wildcard, "https://yourapp.com", None),
            (wildcard, "https://.yourapp.com", None),
            (wildcard, "https://a..yourapp.com", None),
            (wildcard, "https://ayourapp.com", None),
            (wildcard, "https://evil-yourapp.com", None),
            (wildcard, "https://a.yourapp.com.evil.com", None),
            (wildcard, "https://a.yourapp.com:8443", None),
            (wildcard, "http://a.yourapp.com", None),
            (wildcard, "https://A.yourapp.com", None),
            (wildcard, "https://a$.yourapp.com", None),
            (wildcard, "https://a~.yourapp.com", None),
            (wildcard, "https://a%60.yourapp.com", None),
            (wildcard, "https://a\0.yourapp.com", None),
            (wildcard, "https://a b.yourapp.com", None),
            (wildcard, "https://evil.com/.yourapp.com", None),
            (wildcard, "https://evil.com?.yourapp.com", None),
            (wildcard, "https://evil.com#.yourapp.com", None),
            (wildcard, "https://evil.com\\.yourapp.com", None),
            (wildcard, "https://evil.com:80.yourapp.com", None),
            (wildcard, "https://http://a.yourapp.com", None),
            (wildcard, "https://evil.com,https://a.yourapp.com", None),
            (port, "http://localhost", Some(Listed)),
            (port, "http://localhost:3000", Some(Listed)),
            (port, "http://localhost:65535", Some(Listed)),
            (port, "http://localhost:65536", None),
            (port, "http://localhost:0", None),
            (port, "http://localhost:03000", None),
            (port, "http://localhost:", None),
            (port, "http://localhost:+1", None),
            (port, "http://localhost:3000:1", None),
            (port, "https://localhost:3000", None),
            (port, "https://a.yourapp.com:8443", Some(Listed)),
            (port, "https://a.yourapp.com", None),
            (port, "https://a.any.example", Some(Listed)),
            (port, "https://a.any.example:1", Some(Listed)),
            (port, "https://any.example:1", None),
            (&["http://[::1]:3000"], "http://[::1]:3000", Some(Listed)),
            (&["http://[::1]"], "http://[::1]", Some(Listed)),
            (&["http://[::1]"], "http://[::1]:3000", None),
            (&["http://[::1]:*"], "http://[::1]:3000", Some(Listed)),
            (&["http://127.0.0.1:*"], "http://127.0.0.1:3000", Some(Listed)),
            (local, "http://a.localhost:3000", Some(Listed)),
            (local, "http://a.b.localhost:3000", Some(Listed)),
            (local, "http://localhost:3000", None),
            (local, "http://a.localhost", None),
            (local, "http://a.localhost:3001", None),
            (local, "http://alocalhost:3000", None),
            (local, "http://.localhost:3000", None),
            (local, "http://localhost.evil.com:3000", None),
            (label, "https://app-a-team.example.com", Some(Listed)),
            (label, "https://app-git-main_2-team.example.com", Some(Listed)),
            (label, "https://app--team-team.example.com", Some(Listed)),
            (label, "https://app---team.example.com", Some(Listed)),
            (label, "https://app--team.example.com", None),
            (label, "https://app-team.example.com", None),
            (label, "https://app-*-team.example.com", None),
            (label, "https://app-a-team.example.com:443", None),
            (label, "https://app-a-team.example.com:8443", None),
            (label, "https://app-a:1-team.example.com", None),
            (label, "https://app-a:1-team.example.com:2", None),
            (label, "https://app-a-team.example.com.", None),
            (label, "https://app-a-team.example.com.evil.com", None),
            (label, "https://app-a-teamexample.com", None),
            (label, "https://app-a-team.evil-example.com", None),
            (label, "https://app-a-team.b.example.com", None),
            (label, "https://app-a.b-team.example.com", None),
            (label, "https://b.app-a-team.example.com", None),
            (label, "https://xapp-a-team.example.com", None),
            (label, "https://app-a-teams.example.com", None),
            (label, "https://app-A-team.example.com", None),
            (label, "https://APP-a-team.example.com", None),
            (label, "https://app-a@-team.example.com", None),
            (label, "https://app-a/-team.example.com", None),
            (label, "https://app-a?-team.example.com", None),
            (label, "https://app-a#-team.example.com", None),
            (label, "https://app-a\\-team.example.com", None),
            (label, "https://app-%60-team.example.com", None),
            (label, "https://app-a$-team.example.com", None),
            (label, "https://app-a~-team.example.com", None),
            (label, "https://app-\0-team.example.com", None),
            (label, "https://app- -team.example.com", None),
            (label, "https://app-\u{e9}-team.example.com", None),
            (label, "https://app-a,-team.example.com", None),
            (label, "http://app-a-team.example.com", None),
            (label, "https://evil.com,https://app-a-team.example.com", None),
            (labels, "https://a1.example.com:1", Some(Listed)),
            (labels, "https://a1.example.com", Some(Listed)),
            (labels, "https://ab.example.com:1", Some(Listed)),
            (labels, "https://abb.example.com", Some(Listed)),
            (labels, "https://a.example.com", None),
            (labels, "https://1z.example.com", Some(Listed)),
            (labels, "https://1z.example.com:1", None),
            (labels, "https://z.example.com", None),
            (labels, "https://app-1.localhost:3000", Some(Listed)),
            (labels, "https://app-1.localhost:3001", None),
            (programs, "capacitor://localhost", Some(Listed)),
            (programs, "capacitor://localhost:1", None),
            (programs, "capacitor://localhost/", None),
            (programs, "CAPACITOR://localhost", None),
            (programs, "app://.", Some(Listed)),
            (programs, "app://", None),
            (programs, "app://a.", None),
            (programs, "file://", Some(Listed)),
            (programs, "file:///", None),
            (programs, "file:///etc/passwd", None),
            (programs, "qrc://", Some(Listed)),
            (programs, "odd://A@b:070", Some(Listed)),
            (programs, "odd://A@b:70", None),
            (
                programs,
                "moz-extension://6f7b1c2d-1111-4222-8333-444455556666",
                Some(Listed),
            ),
            (programs, "moz-extension://6F7B1C2D", Some(Listed)),
            (programs, "moz-extension://a.b_c", Some(Listed)),
            (programs, "moz-extension://", None),
            (programs, "moz-extension://.", None),
            (programs, "moz-extension://a:1", None),
            (programs, "moz-extension://a:x", None),
            (programs, "moz-extension://a/", None),
            (programs, "moz-extension://a@b", None),
            (programs, "moz-extension://a%20b", None),
            (programs, "moz-extension://[::1]", None),
            (programs, "moz-extension2://a", None),
            (programs, "xmoz-extension://a", None),
            (programs, "chrome-extension://a", None),
            (programs, "web+app://a:1", Some(Listed)),
            (programs, "web+app://a", Some(Listed)),
            (programs, "web+app://a:01", None),
            (star, "https://anything.example", Some(Any)),
            (star, "null", Some(Any)),
            (star, "", None),
            (star, "https://a.example,https://b.example", None),
            (star, "https://a.example, https://b.example", None),
            (star, "https://\u{e9}.example", None),
            (star, "nonsense", Some(Any)),
            (star, "chrome-extension://abcdefgh", Some(Any)),
            (star, "web+a2.b://host", Some(Any)),
            (star, "HTTPS://a.example", Some(Any)),
            (star, "://a.example", Some(Any)),
            (star, "https://", Some(Any)),
            (star, "https://a.example.", Some(Any)),
            (star, "https://a.example:0", Some(Any)),
            (star, "https://a.example/", Some(Any)),
            (star, "http://[::1]:3000", Some(Any)),
            (star, "file://", Some(Any)),
            (star, "app://.", Some(Any)),
            (star, "qrc://", Some(Any)),
            (star, "*", Some(Any)),
            (star, "!\"'\\~", Some(Any)),
            (star, " ", None),
            (star, "https://a.example ", None),
            (star, "https://a.example\thttps://b.example", None),
            (star, "https://a.example\r\nx: y", None),
            (star, "https://a.example\0", None),
            (star, "https://a.example\u{7f}", None),
            (mixed, "https://yourapp.com", Some(Listed)),
            (mixed, "null", Some(Null)),
            (mixed, "Null", Some(Any)),
            (mixed, "https://anything.example", Some(Any)),
            (&["null"], "https://yourapp.com", None),
            (&[], "https://yourapp.com", None),
        ] {
            assert_eq!(
                match_of(patterns, origin.as_bytes()),
                expected,
                "{origin:?} against {patterns:?}"
            );
        }
        assert_eq!(match_of(star, b"https://\xff.example"), None);
    }

    #[test]
    fn an_origin_longer_than_any_browser_sends_matches_nothing() {
        for (length, expected) in [
            (511, Some(Found::Listed)),
            (512, Some(Found::Listed)),
            (513, None),
            (100_000, None),
        ] {
            let origin = format!(
                "https://{}.yourapp.com",
                "a".repeat(length - "https://.yourapp.com".len())
            );
            assert_eq!(
                match_of(&["https://*.yourapp.com"], origin.as_bytes()),
                expected,
                "{length}"
            );
        }
    }

    /// No other pattern is there to make the look-up look further.
    #[test]
    fn a_pattern_alone_in_its_table_matches() {
        for (pattern, origin) in [
            ("http://localhost:*", "http://localhost:3000"),
            ("https://*.yourapp.com", "https://a.b.yourapp.com"),
            ("https://*.yourapp.com:*", "https://a.yourapp.com:1"),
            ("https://yourapp.com:8443", "https://yourapp.com:8443"),
            ("http://*.localhost:3000", "http://a.localhost:3000"),
            ("https://app-*.yourapp.com", "https://app-a.yourapp.com"),
            ("https://*-app.yourapp.com:*", "https://a-app.yourapp.com:1"),
            ("moz-extension://*", "moz-extension://a"),
            ("app://.", "app://."),
        ] {
            let mut table = OriginTable::default();
            let list = table.add(&[OriginPattern::parse(pattern).unwrap()], true);
            let found = table.match_list(&list, origin.as_bytes()).map(kind_of);
            assert_eq!(found, Some(Found::Listed), "{pattern}");
        }
    }

    /// No parser lets such a pattern through, but it would be the worst to be wrong about.
    #[test]
    fn a_list_that_the_table_cannot_hold_allows_nothing() {
        let pattern = OriginPattern::Tuple(TuplePattern {
            scheme: "a".repeat(70_000),
            hosts: HostPattern::One("yourapp.com".into()),
            port: PortPattern::Absent,
        });
        let mut table = OriginTable::default();
        let list = table.add(&[pattern], true);
        assert!(!list.is_empty());
        assert_eq!(table.match_list(&list, b"https://yourapp.com"), None);
    }

    /// The longest that the strict parser takes is not longer than what is read.
    #[test]
    fn the_longest_pattern_matches_its_origin() {
        let host = [63, 63, 63, 61].map(|length| "a".repeat(length)).join(".");
        let origin = format!("{}://{host}:65535", "a".repeat(200));
        assert_eq!(match_of(&[&origin], origin.as_bytes()), Some(Found::Listed));
    }

    #[test]
    fn a_disabled_keys_list_is_no_part_of_the_union() {
        let pattern = [OriginPattern::parse("https://yourapp.com").unwrap()];
        let mut table = OriginTable::default();
        let disabled = table.add(&pattern, false);
        let union = OriginUnion::default();
        assert_eq!(table.match_union(&union, b"https://yourapp.com"), None);
        assert_eq!(
            table.match_list(&disabled, b"https://yourapp.com").map(kind_of),
            Some(Found::Listed)
        );
        table.add(&pattern, true);
        assert_eq!(
            table.match_union(&union, b"https://yourapp.com").map(kind_of),
            Some(Found::Listed)
        );
    }

    #[test]
    fn a_list_says_whether_it_is_empty_and_names_origins() {
        for (patterns, empty, names) in [
            (&[][..], true, false),
            (&["*"], false, false),
            (&["null"], false, true),
            (&["*", "null"], false, true),
            (&["https://yourapp.com"], false, true),
            (&["https://yourapp.com", "*"], false, true),
        ] {
            let patterns: Vec<OriginPattern> = patterns
                .iter()
                .map(|text| OriginPattern::parse(text).unwrap())
                .collect();
            let list = OriginTable::default().add(&patterns, true);
            assert_eq!((list.is_empty(), list.names_origins()), (empty, names), "{patterns:?}");
            let mut union = OriginUnion::default();
            union.include(&list);
            union.include(&OriginList::default());
            assert_eq!((union.null, union.any), (list.null, list.any), "{patterns:?}");
            assert_eq!(union.names_origins(), names, "{patterns:?}");
            let alone = patterns == [OriginPattern::Any];
            assert_eq!(
                (list.is_any_alone(), union.is_any_alone()),
                (alone, alone),
                "{patterns:?}"
            );
        }
    }

    fn shops() -> Vec<OriginPattern> {
        let pattern = |number| OriginPattern::parse(&format!("https://shop-{number}.example")).unwrap();
        (0..4_096).map(pattern).collect()
    }

    #[test]
    fn a_table_that_grew_and_shrank_has_all_patterns_and_no_room() {
        let mut table = OriginTable::default();
        let list = table.add(&shops(), true);
        table.add(&shops(), true);
        table.shrink();
        for pattern in shops() {
            let origin = pattern.to_string();
            let found = table.match_list(&list, origin.as_bytes()).map(kind_of);
            assert_eq!(found, Some(Found::Listed), "{origin}");
        }
        assert_eq!((table.patterns.len(), table.patterns.capacity()), (4_096, 4_096));
        assert_eq!(table.text.len(), table.text.capacity());
    }

    /// Patterns with the same parent, and some with the same beginning: none takes another's place, whatever is given back.
    #[test]
    fn a_table_finds_every_label_pattern_of_one_parent() {
        let texts: Vec<String> = (0..4_096)
            .map(|number| format!("https://{}-*-team{}.vercel.app", "p".repeat(number % 20), number / 20))
            .collect();
        let patterns: Vec<OriginPattern> = texts.iter().map(|text| OriginPattern::parse(text).unwrap()).collect();
        let mut table = OriginTable::with_capacity(4_096, 4_096, 0);
        let lists: Vec<OriginList> = patterns
            .iter()
            .map(|it| table.add(std::slice::from_ref(it), true))
            .collect();
        let all = table.add(&patterns, true);
        for is_shrunk in [false, true] {
            for (text, list) in texts.iter().zip(&lists) {
                let origin = text.replace('*', "x-1");
                let found = [list, &all].map(|list| table.match_list(list, origin.as_bytes()).map(kind_of));
                assert_eq!(found, [Some(Found::Listed); 2], "{origin}, shrunk: {is_shrunk}");
            }
            assert_eq!(table.match_list(&lists[0], b"https://p-x-team0.vercel.app"), None);
            assert_eq!(table.match_list(&all, b"https://p-x-team4096.vercel.app"), None);
            table.shrink();
        }
        assert_eq!(table.patterns.len(), 4_096);
        // One for the parent and one for each beginning.
        assert_eq!(table.stems.len(), 21);
    }

    /// The hash of every pattern, so that a look-up compares with one or two of them.
    #[test]
    fn hashes_spread_over_the_table() {
        let hash = |pattern: &OriginPattern| {
            let OriginPattern::Tuple(tuple) = pattern else {
                panic!("{pattern} is no tuple")
            };
            Wanted::of(tuple).hash()
        };
        // The table takes its bucket from the low bits and a tag from the seven highest.
        for (name, of) in [
            ("bucket", (|hash| hash & 63) as fn(u64) -> u64),
            ("tag", |hash| hash >> 57),
        ] {
            let mut load = [0; 128];
            for pattern in shops() {
                load[of(hash(&pattern)) as usize] += 1;
            }
            assert!(load.iter().all(|&count| count < 128), "{name}: {load:?}");
        }
        let mut seen = std::collections::BTreeSet::new();
        for scheme in ["http", "https"] {
            for host in [
                "*.a.example",
                "a.example",
                "*.b.example",
                "b.example",
                "a-*.a.example",
                "*-a.a.example",
                "a-*-a.a.example",
                "b-*-a.a.example",
                "a-*-b.b.example",
            ] {
                for port in ["", ":1", ":2", ":512", ":65535", ":*"] {
                    let text = format!("{scheme}://{host}{port}");
                    assert!(seen.insert(hash(&OriginPattern::parse(&text).unwrap())), "{text}");
                }
            }
        }
    }
}
