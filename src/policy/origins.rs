//! All origin patterns of a policy in one table, and the matching of what a client sent against them.
//!
//! Each pattern is stored once and has a number; a key's list is a list of numbers. So one look-up answers for a key and for the union
//! of all keys, whatever their number, and a wildcard costs one look-up per label of the request's host.

use hashbrown::HashTable;

use super::footprint::table_bytes;
use super::sorted::sorted;
use crate::config::origin::{OriginPattern, PortPattern, TuplePattern, is_label_byte};

/// What a client sends in `Origin` is no longer than this, in bytes, or matches nothing.
pub const MAX_ORIGIN: usize = 512;

/// The number of a pattern in its [`OriginTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PatternId(u32);

/// Every tuple pattern of a policy.
#[derive(Debug, Default)]
pub struct OriginTable {
    patterns: Vec<Pattern>,
    /// Scheme and host of each pattern, one after the other.
    text: String,
    by_hash: HashTable<PatternId>,
    has_wildcards: bool,
    has_any_port: bool,
}

#[derive(Debug, Clone, Copy)]
struct Pattern {
    start: u32,
    scheme_length: u16,
    host_length: u16,
    port: PortPattern,
    subdomains: bool,
    /// An enabled key, or `anonymous`, lists it.
    is_offered: bool,
}

/// The origins that one key lists, as patterns of the policy's table.
#[derive(Debug, Default, Clone)]
pub struct OriginList {
    /// Sorted.
    patterns: Box<[PatternId]>,
    null: bool,
    any: bool,
    /// It is a union, and a list in it has patterns.
    includes_patterns: bool,
    /// Something was listed, whether or not the table could take it: what has no room allows nothing, and not everything.
    is_checked: bool,
}

/// How an allowed origin is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginMatch {
    /// A pattern names its scheme and host.
    Listed,
    /// It is `null`, and `null` is listed.
    Null,
    /// Only `*` allows it.
    Any,
}

/// What is looked for: scheme and port of the origin, and its host or a suffix of it.
#[derive(Clone, Copy)]
struct Wanted<'o> {
    scheme: &'o [u8],
    host: &'o [u8],
    port: PortPattern,
    subdomains: bool,
}

/// An upper bound on the bytes of so many patterns, with so many bytes of text, and of the lists that name them.
pub fn bytes_for(patterns: usize, text: usize) -> usize {
    patterns * (size_of::<Pattern>() + size_of::<PatternId>()) + text + table_bytes::<PatternId>(patterns)
}

/// What [`OriginTable::shrink`] takes for a moment beside the table.
pub fn shrinking_bytes_for(patterns: usize) -> usize {
    table_bytes::<PatternId>(patterns)
}

impl OriginTable {
    /// With room for so many patterns, with so many bytes of text.
    pub fn with_capacity(patterns: usize, text: usize) -> OriginTable {
        OriginTable {
            patterns: Vec::with_capacity(patterns),
            text: String::with_capacity(text),
            by_hash: HashTable::with_capacity(patterns),
            ..OriginTable::default()
        }
    }

    /// Adds a list; `is_offered` makes it part of the union that answers preflights. The list is for this table only.
    pub fn add(&mut self, patterns: &[OriginPattern], is_offered: bool) -> OriginList {
        let ids: Vec<PatternId> = patterns
            .iter()
            .filter_map(|pattern| match pattern {
                OriginPattern::Tuple(tuple) => self.intern(tuple, is_offered),
                _ => None,
            })
            .collect();
        let mut ids = sorted(ids);
        ids.dedup();
        OriginList {
            patterns: ids.into(),
            null: patterns.contains(&OriginPattern::Null),
            any: patterns.contains(&OriginPattern::Any),
            includes_patterns: false,
            is_checked: !patterns.is_empty(),
        }
    }

    /// Gives back the room kept for further patterns.
    pub fn shrink(&mut self) {
        self.patterns.shrink_to_fit();
        self.text.shrink_to_fit();
        let (patterns, text) = (&self.patterns, &self.text);
        self.by_hash.shrink_to_fit(|id| pattern_hash(patterns, text, *id));
    }

    fn intern(&mut self, tuple: &TuplePattern, is_offered: bool) -> Option<PatternId> {
        let wanted = Wanted {
            scheme: tuple.scheme.as_bytes(),
            host: tuple.host.as_bytes(),
            port: tuple.port,
            subdomains: tuple.subdomains,
        };
        let id = match self.find(wanted, hash_of(wanted, HostHash::of(wanted.host))) {
            Some(id) => id,
            None => self.insert(wanted, tuple)?,
        };
        let pattern = self.patterns.get_mut(id.0 as usize)?;
        pattern.is_offered |= is_offered;
        Some(id)
    }

    fn insert(&mut self, wanted: Wanted<'_>, tuple: &TuplePattern) -> Option<PatternId> {
        let id = PatternId(u32::try_from(self.patterns.len()).ok()?);
        self.patterns.push(Pattern {
            start: u32::try_from(self.text.len()).ok()?,
            scheme_length: u16::try_from(tuple.scheme.len()).ok()?,
            host_length: u16::try_from(tuple.host.len()).ok()?,
            port: tuple.port,
            subdomains: tuple.subdomains,
            is_offered: false,
        });
        self.text.push_str(&tuple.scheme);
        self.text.push_str(&tuple.host);
        self.has_wildcards |= tuple.subdomains;
        self.has_any_port |= tuple.port == PortPattern::Any;
        let (patterns, text) = (&self.patterns, &self.text);
        let hash = hash_of(wanted, HostHash::of(wanted.host));
        self.by_hash
            .insert_unique(hash, id, |id| pattern_hash(patterns, text, *id));
        Some(id)
    }

    fn find(&self, wanted: Wanted<'_>, hash: u64) -> Option<PatternId> {
        let is_wanted = |id: &PatternId| {
            view(&self.patterns, &self.text, *id).is_some_and(|found| {
                found.host == wanted.host
                    && found.scheme == wanted.scheme
                    && found.port == wanted.port
                    && found.subdomains == wanted.subdomains
            })
        };
        self.by_hash.find(hash, is_wanted).copied()
    }

    /// How `list` allows `origin`, the bytes of the one `Origin` header.
    pub fn match_list(&self, list: &OriginList, origin: &[u8]) -> Option<OriginMatch> {
        self.matches(origin, list.null, list.any, |id| {
            list.patterns.binary_search(&id).is_ok()
        })
    }

    /// How any enabled key allows `origin`. `union` holds what is not a tuple.
    pub fn match_union(&self, union: &OriginList, origin: &[u8]) -> Option<OriginMatch> {
        self.matches(origin, union.null, union.any, |id| {
            self.patterns
                .get(id.0 as usize)
                .is_some_and(|pattern| pattern.is_offered)
        })
    }

    fn matches(&self, origin: &[u8], null: bool, any: bool, has: impl Fn(PatternId) -> bool) -> Option<OriginMatch> {
        let listed = match ClientOrigin::parse(origin)? {
            ClientOrigin::Null => null.then_some(OriginMatch::Null),
            ClientOrigin::Tuple { scheme, host, port } => {
                self.lists(scheme, host, port, has).then_some(OriginMatch::Listed)
            }
        };
        listed.or(any.then_some(OriginMatch::Any))
    }

    /// Whether a pattern that `has` accepts matches. Walks the host once, from its end, and hashes on the way.
    fn lists(&self, scheme: &[u8], host: &[u8], port: PortPattern, has: impl Fn(PatternId) -> bool) -> bool {
        let is_listed_with = |port: PortPattern, host_hash: HostHash, host: &[u8], subdomains: bool| {
            let wanted = Wanted {
                scheme,
                host,
                port,
                subdomains,
            };
            self.find(wanted, hash_of(wanted, host_hash)).is_some_and(&has)
        };
        let is_listed = |host_hash: HostHash, host: &[u8], subdomains: bool| {
            is_listed_with(port, host_hash, host, subdomains)
                || self.has_any_port && is_listed_with(PortPattern::Any, host_hash, host, subdomains)
        };
        let mut hash = HostHash::START;
        // No wildcard is over a single label, so none is looked for at the last dot.
        let mut is_single_label = true;
        for (index, &byte) in host.iter().enumerate().rev() {
            if byte == b'.' && self.has_wildcards {
                let suffix = host.get(index + 1..).unwrap_or_default();
                if !is_single_label && is_listed(hash, suffix, true) {
                    return true;
                }
                is_single_label = false;
            }
            hash = hash.with(byte);
        }
        is_listed(hash, host, false)
    }
}

impl OriginList {
    /// Whether the list has no origin at all: then the origin is not checked.
    pub fn is_empty(&self) -> bool {
        !self.is_checked
    }

    /// Whether the list names an origin other than `*`, so that responses differ by `Origin`.
    pub fn names_origins(&self) -> bool {
        !self.patterns.is_empty() || self.includes_patterns || self.null
    }

    /// Whether the list has `*` and no other origin, so that responses are the same whatever the `Origin`.
    pub fn is_any_alone(&self) -> bool {
        self.any && !self.names_origins()
    }

    /// Makes another list part of the union that this one is. The patterns themselves are marked in the [`OriginTable`].
    pub fn include(&mut self, other: &OriginList) {
        self.null |= other.null;
        self.any |= other.any;
        self.includes_patterns |= !other.patterns.is_empty();
    }
}

fn view<'t>(patterns: &[Pattern], text: &'t str, id: PatternId) -> Option<Wanted<'t>> {
    let pattern = patterns.get(id.0 as usize)?;
    let scheme_at = pattern.start as usize;
    let host_at = scheme_at + usize::from(pattern.scheme_length);
    let text = text.as_bytes();
    Some(Wanted {
        scheme: text.get(scheme_at..host_at)?,
        host: text.get(host_at..host_at + usize::from(pattern.host_length))?,
        port: pattern.port,
        subdomains: pattern.subdomains,
    })
}

fn pattern_hash(patterns: &[Pattern], text: &str, id: PatternId) -> u64 {
    view(patterns, text, id).map_or(0, |wanted| hash_of(wanted, HostHash::of(wanted.host)))
}

/// FNV-1a over a host from its last byte to its first, so that the hash of each suffix comes up on the way to the whole.
#[derive(Clone, Copy)]
struct HostHash(u64);

impl HostHash {
    const START: HostHash = HostHash(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x0100_0000_01b3;

    fn with(self, byte: u8) -> Self {
        HostHash((self.0 ^ u64::from(byte)).wrapping_mul(Self::PRIME))
    }

    fn of(host: &[u8]) -> Self {
        host.iter().rev().fold(Self::START, |hash, byte| hash.with(*byte))
    }
}

/// Only the operator's patterns are in the table, so nobody else can choose what collides in it.
fn hash_of(wanted: Wanted<'_>, host: HostHash) -> u64 {
    let port = match wanted.port {
        PortPattern::Absent => 0,
        PortPattern::Exact(port) => u64::from(port),
        PortPattern::Any => 1 << 16,
    };
    let tail = wanted.scheme.last().map_or(0, |byte| u64::from(*byte));
    let mixed = host.0 ^ (port << 9 | tail << 1 | u64::from(wanted.subdomains)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The table takes bits from both ends.
    mixed ^ (mixed >> 32)
}

/// An `Origin` as a browser may send it. Anything else matches nothing, not even `*`.
#[derive(Debug, PartialEq, Eq)]
enum ClientOrigin<'o> {
    Null,
    Tuple {
        scheme: &'o [u8],
        host: &'o [u8],
        port: PortPattern,
    },
}

impl<'o> ClientOrigin<'o> {
    fn parse(origin: &'o [u8]) -> Option<Self> {
        if origin.len() > MAX_ORIGIN {
            return None;
        }
        if origin == b"null" {
            return Some(ClientOrigin::Null);
        }
        let colon = origin.iter().position(|&b| b == b':')?;
        let (scheme, rest) = origin.split_at_checked(colon)?;
        let authority = rest.strip_prefix(b"://")?;
        let (host, port) = split_port(authority)?;
        (is_scheme(scheme) && is_host(host)).then_some(ClientOrigin::Tuple { scheme, host, port })
    }
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_lowercase)
        && scheme
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
}

/// Labels between single dots, or an address in brackets.
fn is_host(host: &[u8]) -> bool {
    if let Some(inner) = host.strip_prefix(b"[") {
        let Some(address) = inner.strip_suffix(b"]") else {
            return false;
        };
        return address.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':'));
    }
    // A dot is right after a label only.
    let mut after_label = false;
    for &byte in host {
        let is_label = IS_LABEL_BYTE.get(usize::from(byte)).is_some_and(|is| *is);
        if !(is_label || byte == b'.' && after_label) {
            return false;
        }
        after_label = is_label;
    }
    after_label
}

/// [`is_label_byte`] of each byte, looked up.
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

/// Host and port; what stands there instead of a port is left to the host, which has no colon outside brackets.
fn split_port(authority: &[u8]) -> Option<(&[u8], PortPattern)> {
    let digits = authority.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = authority.split_at_checked(authority.len() - digits)?;
    let Some(host) = before.strip_suffix(b":") else {
        return Some((authority, PortPattern::Absent));
    };
    let is_plain = (1..=5).contains(&digits.len()) && digits.first() != Some(&b'0');
    let text = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
    let port = text.parse().ok()?;
    Some((host, PortPattern::Exact(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn match_of(patterns: &[&str], origin: &[u8]) -> Option<OriginMatch> {
        let patterns: Vec<OriginPattern> = patterns
            .iter()
            .map(|text| OriginPattern::parse(text).unwrap())
            .collect();
        let mut table = OriginTable::default();
        // Another key's patterns are in the table, too, and must not count.
        table.add(&[OriginPattern::parse("https://other.example").unwrap()], true);
        table.add(&[OriginPattern::parse("https://*.other.example").unwrap()], true);
        let list = table.add(&patterns, true);
        let found = table.match_list(&list, origin);
        assert_eq!(
            table.match_union(&list, origin).is_some(),
            found.is_some() || origin.ends_with(b"other.example")
        );
        found
    }

    #[test]
    fn origins_against_patterns() {
        use OriginMatch::*;
        let exact: &[&str] = &["https://yourapp.com"];
        let wildcard: &[&str] = &["https://*.yourapp.com"];
        let port: &[&str] = &[
            "http://localhost:*",
            "https://*.yourapp.com:8443",
            "https://*.any.example:*",
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
            (&["capacitor://localhost"], "capacitor://localhost", Some(Listed)),
            (star, "https://anything.example", Some(Any)),
            (star, "null", Some(Any)),
            (star, "", None),
            (star, "https://a.example,https://b.example", None),
            (star, "https://a.example, https://b.example", None),
            (star, "https://\u{e9}.example", None),
            (star, "nonsense", None),
            (star, "chrome-extension://abcdefgh", Some(Any)),
            (star, "web+a2.b://host", Some(Any)),
            (star, "HTTPS://a.example", None),
            (star, "9p://a.example", None),
            (star, "+web://a.example", None),
            (star, "a_b://a.example", None),
            (star, "://a.example", None),
            (star, "https://", None),
            (star, "https://:1", None),
            (star, "http://[::1]:3000", Some(Any)),
            (star, "http://[::1", None),
            (star, "http://[::1%25eth0]", None),
            (star, "http://[::1]x", None),
            (mixed, "https://yourapp.com", Some(Listed)),
            (mixed, "null", Some(Null)),
            (mixed, "Null", None),
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
            (511, Some(OriginMatch::Listed)),
            (512, Some(OriginMatch::Listed)),
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
        ] {
            let mut table = OriginTable::default();
            let list = table.add(&[OriginPattern::parse(pattern).unwrap()], true);
            let found = table.match_list(&list, origin.as_bytes());
            assert_eq!(found, Some(OriginMatch::Listed), "{pattern}");
        }
    }

    /// No parser lets such a pattern through, but it would be the worst to be wrong about.
    #[test]
    fn a_list_that_the_table_cannot_hold_allows_nothing() {
        let pattern = OriginPattern::Tuple(TuplePattern {
            scheme: "a".repeat(70_000),
            subdomains: false,
            host: "yourapp.com".into(),
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
        assert_eq!(match_of(&[&origin], origin.as_bytes()), Some(OriginMatch::Listed));
    }

    #[test]
    fn a_disabled_keys_list_is_no_part_of_the_union() {
        let pattern = [OriginPattern::parse("https://yourapp.com").unwrap()];
        let mut table = OriginTable::default();
        let disabled = table.add(&pattern, false);
        let union = OriginList::default();
        assert_eq!(table.match_union(&union, b"https://yourapp.com"), None);
        assert_eq!(
            table.match_list(&disabled, b"https://yourapp.com"),
            Some(OriginMatch::Listed)
        );
        table.add(&pattern, true);
        assert_eq!(
            table.match_union(&union, b"https://yourapp.com"),
            Some(OriginMatch::Listed)
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
            let mut union = OriginList::default();
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
            let found = table.match_list(&list, origin.as_bytes());
            assert_eq!(found, Some(OriginMatch::Listed), "{origin}");
        }
        assert_eq!((table.patterns.len(), table.patterns.capacity()), (4_096, 4_096));
        assert_eq!(table.text.len(), table.text.capacity());
    }

    /// The hash of every pattern, so that a look-up compares with one or two of them.
    #[test]
    fn hashes_spread_over_the_table() {
        let hash = |pattern: &OriginPattern| {
            let OriginPattern::Tuple(tuple) = pattern else {
                panic!("{pattern} is no tuple")
            };
            let wanted = Wanted {
                scheme: tuple.scheme.as_bytes(),
                host: tuple.host.as_bytes(),
                port: tuple.port,
                subdomains: tuple.subdomains,
            };
            hash_of(wanted, HostHash::of(wanted.host))
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
            for host in ["*.a.example", "a.example", "*.b.example", "b.example"] {
                for port in ["", ":1", ":2", ":512", ":65535", ":*"] {
                    let text = format!("{scheme}://{host}{port}");
                    assert!(seen.insert(hash(&OriginPattern::parse(&text).unwrap())), "{text}");
                }
            }
        }
    }
}
