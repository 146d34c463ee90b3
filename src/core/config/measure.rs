//! Counts of a configuration, and a hash of its values, in one pass that allocates almost nothing. From the counts follows how much
//! memory the compiled policy needs, before it is compiled.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::byte_order_mark::without_byte_order_mark;
use super::node::Name;
use super::origin::has_label_wildcard;

/// The counts and the hash of a configuration. If the text is not JSON, the counts are those of the text before the error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// The hash of the values. It does not depend on the order of members, on white space or on how numbers are written. It has 53 bits,
    /// so that a double can hold it; 0 if the text is not JSON. It tells policies apart, and is not secure against collisions on purpose.
    pub hash: u64,
    /// The items of `keys`.
    pub keys: usize,
    /// The bytes of their `id`s.
    pub id_bytes: usize,
    /// The entries of all `api_key`.
    pub digests: usize,
    /// An upper bound on the entries that are objects, or not the first of their key.
    pub listed_entries: usize,
    /// The bytes of the labels of entries.
    pub label_bytes: usize,
    /// The members of all `upstream_headers`.
    pub upstream_headers: usize,
    /// The bytes of their values.
    pub upstream_header_bytes: usize,
    /// The entries of all `allowed_origins`.
    pub origins: usize,
    /// The bytes of these entries.
    pub origin_bytes: usize,
    /// The entries of all `allowed_origins` with a `*` in a part of a label.
    pub label_origins: usize,
    /// The entries of all `allowed_ips`.
    pub networks: usize,
    /// The entries of all `indexes`.
    pub indexes: usize,
    /// The bytes of these entries.
    pub index_bytes: usize,
    /// The keys with `scoped_tokens`.
    pub token_parents: usize,
    /// The entries of all `secrets` and `public_keys` of scoped tokens.
    pub token_keys: usize,
    /// The bytes of these entries.
    pub token_key_bytes: usize,
    /// The members of the top-level `scopes`.
    pub scopes: usize,
    /// The different sets in `scopes` of keys, up to [`Measure::MAX_SCOPE_SETS`].
    pub scope_sets: usize,
    /// The JSON values outside of `keys`.
    pub values: usize,
    /// The bytes of member names and strings outside of `keys`.
    pub value_bytes: usize,
    /// The JSON values of the key that has the most.
    pub key_values: usize,
    /// The bytes of member names and strings of the key that has the most.
    pub key_bytes: usize,
    /// Whether there is `keys_from`.
    pub has_feed: bool,
}

impl Measure {
    /// No more sets of scopes are counted. Further sets share the memory that is reserved for these.
    pub const MAX_SCOPE_SETS: usize = 4096;

    /// Measures the JSON text of a configuration.
    pub fn of(text: &[u8]) -> Measure {
        let mut meter = Meter::default();
        let mut deserializer = serde_json::Deserializer::from_slice(without_byte_order_mark(text));
        // An error ends the counting, and later the reading at the same point.
        let hash = (Value {
            meter: &mut meter,
            part: Part::Root,
        })
        .deserialize(&mut deserializer);
        Measure {
            hash: hash.map_or(0, |hash| hash & ((1 << 53) - 1)),
            scope_sets: meter.scope_sets.len(),
            ..meter.measure
        }
    }
}

/// The part of the configuration that a value is in, as far as the memory for the compiled policy depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Root,
    Keys,
    Key,
    Id,
    ApiKeys,
    Origins,
    Networks,
    Indexes,
    Scopes,
    UpstreamHeaders,
    UpstreamHeader,
    Label,
    ScopedTokens,
    TokenKeys,
    TokenKey,
    ScopeTable,
    Other,
}

impl Part {
    fn member(self, name: &str) -> Part {
        match (self, name) {
            (Part::Root, "keys") => Part::Keys,
            (Part::Root, "anonymous") => Part::Key,
            (Part::Root, "scopes") => Part::ScopeTable,
            (Part::Key, "id") => Part::Id,
            (Part::Key, "api_key") => Part::ApiKeys,
            (Part::Key, "allowed_origins") => Part::Origins,
            (Part::Key, "allowed_ips") => Part::Networks,
            (Part::Key, "indexes") => Part::Indexes,
            (Part::Key, "scopes") => Part::Scopes,
            (Part::Key, "upstream_headers") => Part::UpstreamHeaders,
            (Part::Key, "scoped_tokens") => Part::ScopedTokens,
            (Part::ScopedTokens, "secrets" | "public_keys") => Part::TokenKeys,
            (Part::TokenKey, _) => Part::TokenKey,
            (Part::UpstreamHeaders, _) => Part::UpstreamHeader,
            (Part::ApiKeys, "key") => Part::ApiKeys,
            (Part::ApiKeys, "label") => Part::Label,
            _ => Part::Other,
        }
    }

    /// The part of an item of a list. Some lists have the same part as their items, because a single string may be written for them.
    fn item(self) -> Part {
        match self {
            Part::Keys => Part::Key,
            Part::TokenKeys => Part::TokenKey,
            Part::ApiKeys | Part::Origins | Part::Networks | Part::Indexes => self,
            _ => Part::Other,
        }
    }
}

#[derive(Default)]
struct Meter {
    measure: Measure,
    /// Values and bytes of the current key.
    key: Option<(usize, usize)>,
    /// The hashes of the sets of scopes so far, sorted.
    scope_sets: Vec<u64>,
}

impl Meter {
    /// Adds values, and bytes of names and strings.
    fn add(&mut self, values: usize, bytes: usize) {
        match &mut self.key {
            Some((key_values, key_bytes)) => {
                *key_values += values;
                *key_bytes += bytes;
            }
            None => {
                self.measure.values += values;
                self.measure.value_bytes += bytes;
            }
        }
    }

    fn add_text(&mut self, part: Part, text: &str) {
        let length = text.len();
        self.add(1, length);
        let measure = &mut self.measure;
        match part {
            Part::Id => measure.id_bytes += length,
            Part::ApiKeys => measure.digests += 1,
            Part::Origins => {
                measure.origins += 1;
                measure.origin_bytes += length;
                measure.label_origins += usize::from(has_label_wildcard(text));
            }
            Part::Networks => measure.networks += 1,
            Part::Indexes => {
                measure.indexes += 1;
                measure.index_bytes += length;
            }
            Part::Label => measure.label_bytes += length,
            Part::TokenKey => measure.token_key_bytes += length,
            Part::UpstreamHeader => {
                measure.upstream_headers += 1;
                measure.upstream_header_bytes += length;
            }
            _ => {}
        }
    }

    fn add_scope_set(&mut self, hash: u64) {
        if self.scope_sets.len() < Measure::MAX_SCOPE_SETS
            && let Err(at) = self.scope_sets.binary_search(&hash)
        {
            self.scope_sets.insert(at, hash);
        }
    }

    fn end_key(&mut self) {
        if let Some((values, bytes)) = self.key.take() {
            self.measure.key_values = self.measure.key_values.max(values);
            self.measure.key_bytes = self.measure.key_bytes.max(bytes);
        }
    }
}

/// The type of a JSON value, which is a part of its hash.
#[derive(Clone, Copy)]
enum Kind {
    Null = 1,
    Bool,
    Number,
    Text,
    List,
    Object,
}

/// One step of the hash. Multiplication by an odd constant spreads each bit upwards, and the shift brings the upper half down.
fn mixed(hash: u64, word: u64) -> u64 {
    let product = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

fn hash_of(kind: Kind, word: u64) -> u64 {
    mixed(mixed(0, kind as u64), word)
}

/// Hashes eight bytes at a time. The length is hashed too, so that the zeros that fill the last word are not taken for zeros of the text.
fn text_hash(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let start = hash_of(Kind::Text, text.len() as u64);
    let words = words.iter().chain([&last]);
    words.fold(start, |hash, word| mixed(hash, u64::from_le_bytes(*word)))
}

/// Reads one JSON value, counts it and returns its hash.
struct Value<'m> {
    meter: &'m mut Meter,
    part: Part,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<u64, E> {
        self.meter.add(1, 0);
        Ok(hash_of(Kind::Null, 0))
    }

    fn visit_bool<E>(self, value: bool) -> Result<u64, E> {
        self.meter.add(1, 0);
        Ok(hash_of(Kind::Bool, u64::from(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
        self.visit_f64(value as f64)
    }

    /// As a double, because Protobuf's `Struct` has doubles only. Adding `0.0` makes `-0.0` the same as `0`.
    fn visit_f64<E>(self, value: f64) -> Result<u64, E> {
        self.meter.add(1, 0);
        Ok(hash_of(Kind::Number, (value + 0.0).to_bits()))
    }

    fn visit_str<E>(self, text: &str) -> Result<u64, E> {
        self.meter.add_text(self.part, text);
        Ok(text_hash(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<u64, A::Error> {
        let Value { meter, part } = self;
        meter.add(1, 0);
        let mut hash = hash_of(Kind::List, 0);
        let mut set = 0_u64;
        let mut is_first = true;
        loop {
            let starts_key = part == Part::Keys;
            if starts_key {
                meter.key = Some((0, 0));
            }
            let item = Value {
                meter,
                part: part.item(),
            };
            let item = seq.next_element_seed(item);
            if starts_key {
                meter.end_key();
                meter.measure.keys += usize::from(matches!(item, Ok(Some(_))));
            }
            let Some(item) = item? else { break };
            meter.measure.listed_entries += usize::from(part == Part::ApiKeys && !is_first);
            meter.measure.token_keys += usize::from(part == Part::TokenKeys);
            is_first = false;
            hash = mixed(hash, item);
            set = set.wrapping_add(item);
        }
        if part == Part::Scopes {
            meter.add_scope_set(set);
        }
        Ok(hash)
    }

    /// Adds up the hashes of the members: their sum does not depend on their order.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let Value { meter, part } = self;
        meter.add(1, 0);
        meter.measure.listed_entries += usize::from(part == Part::ApiKeys);
        meter.measure.token_parents += usize::from(part == Part::ScopedTokens);
        let mut members = 0_u64;
        while let Some(Name(name)) = map.next_key()? {
            meter.add(0, name.len());
            meter.measure.scopes += usize::from(part == Part::ScopeTable);
            meter.measure.has_feed |= part == Part::Root && name == "keys_from";
            let part = part.member(&name);
            let value = map.next_value_seed(Value { meter, part })?;
            members = members.wrapping_add(mixed(text_hash(&name), value));
        }
        Ok(hash_of(Kind::Object, members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_what_is_said_and_not_of_how() {
        let same: &[&[&str]] = &[
            &["{}", " { } "],
            &[
                r#"{"a": 600, "b": [1, 2]}"#,
                r#"{"b":[1.0,2],"a":6e2}"#,
                r#"{"\u0061":600.0,"b":[1,2]}"#,
            ],
            &[r#"{"a": {"x": null, "y": true}}"#, r#"{"a": {"y": true, "x": null}}"#],
            &[r#"{"a": -0.0}"#, r#"{"a": 0}"#],
        ];
        for texts in same {
            let hashes: Vec<u64> = texts.iter().map(|text| Measure::of(text.as_bytes()).hash).collect();
            assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{texts:?}: {hashes:?}");
        }
        let different = [
            "{}",
            "[]",
            "null",
            "true",
            "false",
            "0",
            "1",
            "\"\"",
            "\"0\"",
            "\"\\u0000\"",
            "[0]",
            "[[0]]",
            "[0,0]",
            "[1,2]",
            "[2,1]",
            "[\"12\"]",
            "[\"1\",\"2\"]",
            "{\"a\":1}",
            "{\"a\":2}",
            "{\"b\":1}",
            "{\"a\":{\"b\":1}}",
            "{\"a\":1,\"b\":2}",
            "{\"a\":2,\"b\":1}",
            "{\"a\":\"b\"}",
            "{\"b\":\"a\"}",
            "{\"a\":null}",
            "\"12345678\"",
            "\"123456789\"",
            "\"12345678\\u0000\"",
        ];
        let hashes: std::collections::BTreeSet<u64> =
            different.iter().map(|text| Measure::of(text.as_bytes()).hash).collect();
        assert_eq!(hashes.len(), different.len());
        assert!(hashes.iter().all(|hash| *hash < 1 << 53));
    }

    #[test]
    fn what_is_counted() {
        let text = r#"{
            "keys": [
                {"id": "one", "api_key": {"key": "k", "label": "lab"}, "upstream_headers": {"X-A": "v", "X-B": "wx"}, "allowed_origins": ["https://a-*.a.example", "*"], "scopes": ["a", "b"]},
                {"id": "two", "api_key": ["k", {"key": "l"}, {}], "scoped_tokens": {"secrets": ["abc"], "public_keys": [{"x": "defg"}], "not_before": "n"}, "allowed_ips": ["10.0.0.0/8"], "indexes": ["x-*"], "scopes": ["b", "a"], "name": "N"}
            ],
            "anonymous": {"allowed_origins": ["https://b.example"]},
            "scopes": {"a": []},
            "cors": {"max_age": 1}
        }"#;
        let measure = Measure::of(text.as_bytes());
        let expected = Measure {
            hash: measure.hash,
            keys: 2,
            id_bytes: 6,
            digests: 3,
            // Two later objects count twice.
            listed_entries: 5,
            label_bytes: 3,
            upstream_headers: 2,
            upstream_header_bytes: 3,
            origins: 3,
            origin_bytes: 39,
            label_origins: 1,
            networks: 1,
            indexes: 1,
            index_bytes: 3,
            token_parents: 1,
            token_keys: 2,
            token_key_bytes: 7,
            scopes: 1,
            scope_sets: 1,
            has_feed: false,
            // The root, keys, anonymous, its list and item, scopes and its member, cors and max_age.
            values: 9,
            value_bytes: 4 + 9 + 15 + 17 + 6 + 1 + 4 + 7,
            // The second key, id, api_key with 4, scoped_tokens with 5, allowed_ips with 1, indexes with 1, scopes with 2, name.
            key_values: 22,
            // The second: id, api_key, scoped_tokens, allowed_ips, indexes, scopes, name.
            key_bytes: 2 + 3 + 7 + 1 + 3 + 1 + 13 + 7 + 3 + 11 + 1 + 4 + 10 + 1 + 11 + 10 + 7 + 3 + 6 + 2 + 4 + 1,
        };
        assert_eq!(measure, expected);
    }

    #[test]
    fn a_mistake_ends_the_count() {
        assert_eq!(Measure::of(b"").hash, 0);
        let cut = Measure::of(br#"{"keys": [{"id": "a"}, {"id": "b""#);
        assert_eq!((cut.keys, cut.id_bytes, cut.key_values, cut.hash), (1, 2, 2, 0));
    }
}
