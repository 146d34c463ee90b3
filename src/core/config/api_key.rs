//! `api_key`: the policy never holds a raw key, only the SHA-256 of its bytes.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::key_context::KeyContext;
use super::key_source::KeySource;
use super::node::Node;
use super::raw_key::{self, Mistake, RawKeyWarning};
use super::read::{Fields, Read, wrong_type_unshown};
use super::timestamp::Timestamp;
use super::token::is_identifier;
use super::validity::{self, check_expiry};

/// The longest raw key, in bytes. A longer one in a request is never looked up.
pub const MAX_LENGTH: usize = 512;

/// The SHA-256 of a raw key. Keys are looked up by it, so that the time of a comparison tells nothing about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(pub [u8; 32]);

/// An API key, as the configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKey {
    /// The SHA-256 of the raw key.
    pub digest: KeyDigest,
    /// The length in bytes of the raw key; `None` if the configuration has its `sha256:` form.
    pub raw_length: Option<usize>,
}

/// One entry of `api_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyEntry<'a> {
    /// The key itself.
    pub key: ApiKey,
    /// What the access log knows the entry by: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub label: Option<Cow<'a, str>>,
    /// The entry is refused from this time on.
    pub expires_at: Option<Timestamp>,
}

/// Why an entry of `api_key` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiKeyError {
    /// The text, or the list, is empty.
    Empty,
    /// `sha256:` is not followed by 64 hex digits.
    BadSha256,
    /// No request could carry it: it is too long, or has control characters, white space at an end, or a comma, with which Envoy joins
    /// repeated headers.
    NotSendable,
    /// It is not a key but, for example, a placeholder.
    Mistake(Mistake),
    /// It begins with the scheme of a key source.
    Scheme,
    /// Its label has another length, or another character.
    Label,
}

impl KeyDigest {
    /// The digest of a raw key's bytes.
    pub fn of(raw: &[u8]) -> KeyDigest {
        KeyDigest(Sha256::digest(raw).into())
    }

    /// Eight bytes of the digest, for a hash table: SHA-256 is a hash already.
    pub fn hash(&self) -> u64 {
        self.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl ApiKey {
    /// Parses `sha256:<64 hex digits>`, or a raw key. A raw key must not begin with the scheme of one of `sources`.
    pub fn parse(text: &str, sources: &[KeySource]) -> Result<ApiKey, ApiKeyError> {
        if text.is_empty() {
            return Err(ApiKeyError::Empty);
        }
        if let Some((prefix, hex)) = text.split_at_checked("sha256:".len())
            && prefix.eq_ignore_ascii_case("sha256:")
        {
            return Ok(ApiKey {
                digest: KeyDigest(from_hex(hex).ok_or(ApiKeyError::BadSha256)?),
                raw_length: None,
            });
        }
        if let Some(mistake) = raw_key::mistake(text) {
            return Err(ApiKeyError::Mistake(mistake));
        }
        let mut schemes = sources.iter().filter_map(KeySource::scheme);
        if schemes.any(|scheme| raw_key::begins_with_scheme(text, scheme)) {
            return Err(ApiKeyError::Scheme);
        }
        if text.len() > MAX_LENGTH || text.trim() != text || text.chars().any(|c| c.is_control() || c == ',') {
            return Err(ApiKeyError::NotSendable);
        }
        Ok(ApiKey {
            digest: KeyDigest::of(text.as_bytes()),
            raw_length: Some(text.len()),
        })
    }
}

impl DiagnosticKind for ApiKeyError {
    fn message(&self) -> Message {
        const HELP: &str = "write the key's sha256: form, as keyfence hash prints it";
        match self {
            Self::Empty => Message::error("an API key must not be empty", HELP),
            Self::BadSha256 => Message::error("sha256: must be followed by 64 hex digits", HELP),
            Self::NotSendable => Message::error(
                "no request can carry it: it has over 512 bytes, a comma, control characters, or white space at an end",
                HELP,
            ),
            Self::Mistake(mistake) => mistake.message(),
            Self::Scheme => Message::error(
                "the scheme of a key source stands before the key; requests would have to send it twice",
                "write the key alone, without the scheme and the space",
            ),
            Self::Label => Message::error(
                "a label must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
                "use only these characters",
            ),
        }
    }
}

/// Reads the value of `api_key`, one entry or a list of them. Returns those that could be read. `not_before` is the key's.
pub fn read_entries<'a>(
    node: Node<'a>,
    context: KeyContext<'_>,
    not_before: Option<Timestamp>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<ApiKeyEntry<'a>> {
    match node {
        Node::List(items) if items.is_empty() => {
            diagnostics.add(path, &"[]", &ApiKeyError::Empty);
            Vec::new()
        }
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .filter_map(|(index, item)| read_entry(item, context, not_before, &path.item(index), diagnostics))
                .collect()
        }
        Node::Text(_) | Node::Object(_) => read_entry(node, context, not_before, path, diagnostics)
            .into_iter()
            .collect(),
        other => wrong_type_unshown(&other, "a string or a list of strings", path, diagnostics).unwrap_or_default(),
    }
}

/// Reads one entry: a key alone, or an object with a label and a date beside it.
fn read_entry<'a>(
    node: Node<'a>,
    context: KeyContext<'_>,
    not_before: Option<Timestamp>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ApiKeyEntry<'a>> {
    if !matches!(node, Node::Object(_)) {
        return Some(ApiKeyEntry {
            key: read_api_key(node, context.sources, path, diagnostics)?,
            label: None,
            expires_at: None,
        });
    }
    let mut fields = Fields::of(node, path, diagnostics)?;
    let key = fields
        .require("key", diagnostics)
        .and_then(|node| read_api_key(node, context.sources, &path.field("key"), diagnostics));
    let label = fields
        .node("label", diagnostics)
        .and_then(|node| read_label(node, &path.field("label"), diagnostics));
    let expires_at: Option<Timestamp> = fields.take("expires_at", diagnostics);
    fields.finish(diagnostics);
    if let Some(end) = expires_at {
        let at = path.field("expires_at");
        check_expiry(validity::Subject::Entry, not_before, end, context.now, &at, diagnostics);
    }
    Some(ApiKeyEntry {
        key: key?,
        label,
        expires_at,
    })
}

/// The diagnostic does not show the label, where somebody may have written the key.
fn read_label<'a>(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Cow<'a, str>> {
    if !matches!(node, Node::Text(_)) {
        return wrong_type_unshown(&node, "a string", path, diagnostics);
    }
    let label: Cow<'a, str> = Cow::read(node, path, diagnostics)?;
    if !is_identifier(&label) {
        diagnostics.add_bare(path, &ApiKeyError::Label);
        return None;
    }
    Some(label)
}

/// Diagnostics show the length of a raw key, never the key. A key of digits without quotes is a JSON number; it is not shown either.
fn read_api_key(
    node: Node<'_>,
    sources: &[KeySource],
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ApiKey> {
    let Node::Text(text) = node else {
        return wrong_type_unshown(&node, "a string", path, diagnostics);
    };
    let shown = format_args!("({} bytes, not shown)", text.len()).to_string();
    let key = match ApiKey::parse(&text, sources) {
        Ok(key) => key,
        Err(error) => {
            diagnostics.add(path, &shown, &error);
            return None;
        }
    };
    if key.raw_length.is_some() {
        // The help for a raw key is to hash it, which would be wrong for a digest.
        let warning = match raw_key::is_bare_digest(&text) {
            true => RawKeyWarning::BareDigest,
            false => RawKeyWarning::InConfiguration,
        };
        diagnostics.add(path, &shown, &warning);
        for warning in raw_key::warnings(&text, sources) {
            diagnostics.add(path, &shown, &warning);
        }
    }
    Some(key)
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(ApiKey, "ApiKey", _generator => schemars::json_schema!({
    "type": "string",
    "minLength": 1,
    "maxLength": 512,
    "examples": ["sha256:<64 hex digits>"],
}));

/// The schema of one entry of `api_key`.
#[cfg(feature = "schema")]
struct EntrySchema;

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(EntrySchema, "ApiKeyEntry", generator => schemars::json_schema!({
    "anyOf": [
        generator.subschema_for::<ApiKey>(),
        {
            "type": "object",
            "properties": {
                "key": generator.subschema_for::<ApiKey>(),
                "label": {
                    "type": "string",
                    "description": "What the access log knows the entry by.",
                    "pattern": super::json_schema::IDENTIFIER,
                    "examples": ["2026-11"],
                },
                "expires_at": generator.subschema_for::<Timestamp>(),
            },
            "required": ["key"],
            "additionalProperties": false,
        },
    ],
}));

/// The schema of `api_key`: one entry, or a list of them.
#[cfg(feature = "schema")]
pub struct ApiKeyEntries;

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(ApiKeyEntries, "ApiKeyEntries", generator => schemars::json_schema!({
    "anyOf": [
        generator.subschema_for::<EntrySchema>(),
        {"type": "array", "items": generator.subschema_for::<EntrySchema>(), "minItems": 1},
    ],
}));

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let pairs: &[_; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(bytes)
}

/// `sha256:<64 hex digits>`.
impl std::fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_raw_key_and_its_hash_are_the_same_key() {
        let raw = ApiKey::parse("abc", &[]).unwrap();
        assert_eq!(raw.digest.to_string(), ABC);
        for text in [ABC.to_owned(), format!("sha256:{}", ABC[7..].to_uppercase())] {
            let hashed = ApiKey::parse(&text, &[]).unwrap();
            assert_eq!((hashed.digest, hashed.raw_length), (raw.digest, None), "{text}");
        }
    }

    #[test]
    fn the_longest_key_is_one() {
        assert_eq!(ApiKey::parse(&"k".repeat(512), &[]).unwrap().raw_length, Some(512));
    }

    #[test]
    fn keys_that_could_never_match_are_refused() {
        let long = "k".repeat(513);
        for (text, error) in [
            ("", ApiKeyError::Empty),
            ("${API_KEY}", ApiKeyError::Mistake(Mistake::Placeholder)),
            ("Bearer abc", ApiKeyError::Scheme),
            ("bearer\tabc", ApiKeyError::Scheme),
            ("\"a key\"", ApiKeyError::Mistake(Mistake::Quoted)),
            (
                "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
                ApiKeyError::Mistake(Mistake::OtherHash),
            ),
            ("sha256:", ApiKeyError::BadSha256),
            (&ABC[..70], ApiKeyError::BadSha256),
            (&format!("{ABC}0"), ApiKeyError::BadSha256),
            (&format!("{}zz", &ABC[..69]), ApiKeyError::BadSha256),
            (&format!("{}+1", &ABC[..69]), ApiKeyError::BadSha256),
            (" key", ApiKeyError::NotSendable),
            ("key\n", ApiKeyError::NotSendable),
            ("k,ey", ApiKeyError::NotSendable),
            ("k\0ey", ApiKeyError::NotSendable),
            (&long, ApiKeyError::NotSendable),
        ] {
            assert_eq!(ApiKey::parse(text, &KeySource::by_default()), Err(error), "{text:?}");
        }
    }
}
