//! A key as the feed gives it.

use std::sync::Arc;

use keyfence_core::config::Diagnostics;
use keyfence_core::config::api_key::{ApiKey, KeyDigest};
use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::key::{KeyContext, read_key};
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::node::Node;
use keyfence_core::config::{DiagnosticKind, Message};
use keyfence_core::feed::repeats_itself;

use crate::state::page::MAX_KEY_BYTES;

/// A key that was checked, as the JSON that gateways get. It has digests, never a raw key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedKey {
    id: Arc<str>,
    json: Arc<str>,
    digests: Box<[KeyDigest]>,
}

/// A key that no page of an answer could hold.
struct TooLarge {
    bytes: usize,
}

impl DiagnosticKind for TooLarge {
    fn message(&self) -> Message {
        let bytes = self.bytes;
        Message::error(
            format!("the key has {bytes} bytes, and an answer of the feed holds {MAX_KEY_BYTES}"),
            "make its lists shorter, or several keys of it",
        )
    }
}

/// A key that gateways would refuse for itself.
struct RepeatsItself;

impl DiagnosticKind for RepeatsItself {
    fn message(&self) -> Message {
        Message::error(
            "an API key, a label or a header of the key is there twice",
            "keep one of them",
        )
    }
}

/// A key with a raw API key that cannot be told from the rest.
struct NotHashed;

impl DiagnosticKind for NotHashed {
    fn message(&self) -> Message {
        Message::error(
            "the raw API key cannot be replaced by its digest",
            r#"write it as "sha256:…": keyfence hash prints that form"#,
        )
    }
}

impl FedKey {
    /// Reads an entry of `keys`, which is at `path`, as the filter does. Returns `None`, and adds an error, if it has one.
    pub fn read(
        node: Node<'_>,
        context: KeyContext<'_>,
        path: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<FedKey> {
        let errors = diagnostics.error_count();
        let mut json = String::new();
        write_json(&node, &mut json);
        let key = read_key(node, context, path, diagnostics)?;
        if diagnostics.error_count() > errors {
            return None;
        }
        if repeats_itself(&key) {
            diagnostics.add_bare(path, &RepeatsItself);
            return None;
        }
        if key.entries.iter().any(|entry| entry.key.raw_length.is_some()) {
            let Some(hashed) = with_hashed_keys(&json, context.sources) else {
                diagnostics.add_bare(path, &NotHashed);
                return None;
            };
            json = hashed;
        }
        let bytes = json.len();
        if bytes > MAX_KEY_BYTES {
            diagnostics.add_bare(path, &TooLarge { bytes });
            return None;
        }
        Some(FedKey {
            id: key.id.as_ref().into(),
            json: json.into(),
            digests: key.entries.iter().map(|entry| entry.key.digest).collect(),
        })
    }

    /// A key with this id, and JSON that was checked elsewhere.
    pub fn unchecked(id: &str, json: &str) -> FedKey {
        FedKey {
            id: id.into(),
            json: json.into(),
            digests: Box::default(),
        }
    }

    /// The key's `id`.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The key as JSON.
    pub fn json(&self) -> &Arc<str> {
        &self.json
    }

    /// The digests of its API keys.
    pub fn digests(&self) -> &[KeyDigest] {
        &self.digests
    }
}

/// The JSON of a key that was checked, with digests in place of raw keys.
fn with_hashed_keys(json: &str, sources: &[KeySource]) -> Option<String> {
    let mut node: Node<'_> = serde_json::from_str(json).ok()?;
    if let Node::Object(members) = &mut node {
        let api_key = members.iter_mut().find(|(name, _)| name == "api_key");
        hash_raw_keys(&mut api_key?.1, sources);
    }
    let mut hashed = String::new();
    write_json(&node, &mut hashed);
    Some(hashed)
}

/// Replaces each raw key of a valid `api_key` by its `sha256:` form.
fn hash_raw_keys(api_key: &mut Node<'_>, sources: &[KeySource]) {
    match api_key {
        Node::Text(text) => {
            if let Ok(ApiKey {
                digest,
                raw_length: Some(_),
            }) = ApiKey::parse(text, sources)
            {
                *text = format!("sha256:{}", hex(&digest.0)).into();
            }
        }
        Node::List(entries) => entries.iter_mut().for_each(|entry| hash_raw_keys(entry, sources)),
        Node::Object(members) => members
            .iter_mut()
            .filter(|(name, _)| name == "key")
            .for_each(|(_, key)| hash_raw_keys(key, sources)),
        _ => {}
    }
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_text(text: &str, json: &mut String) {
    let is_plain = |b: u8| b >= b' ' && !matches!(b, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        json.extend(["\"", text, "\""]);
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

fn write_json(node: &Node<'_>, json: &mut String) {
    match node {
        Node::Text(text) => write_text(text, json),
        Node::List(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                write_json(item, json);
            }
            json.push(']');
        }
        Node::Object(members) => {
            json.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                write_text(name, json);
                json.push(':');
                write_json(value, json);
            }
            json.push('}');
        }
        // They are shown as JSON.
        Node::Null | Node::Bool(_) | Node::Number(_) => json.push_str(&node.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyfence_core::config::timestamp::Timestamp;

    fn read(json: &str) -> Result<String, String> {
        let sources = KeySource::by_default();
        let context = KeyContext {
            now: Timestamp(0),
            sources: &sources,
            has_identity_header: true,
        };
        let mut diagnostics = Diagnostics::default();
        let node = serde_json::from_str(json).unwrap();
        let key = FedKey::read(node, context, &ConfigPath::ROOT, &mut diagnostics);
        key.map(|key| key.json.to_string())
            .ok_or_else(|| diagnostics.errors()[0].message.reason.to_string())
    }

    #[test]
    fn raw_keys_are_hashed_and_the_rest_stays() {
        let raw = "raw_key_0123456789abcdef";
        let hashed = format!("sha256:{}", hex(&KeyDigest::of(raw.as_bytes()).0));
        let other = format!("sha256:{}", "a".repeat(64));
        for (api_key, expected) in [
            (format!("{raw:?}"), format!("{hashed:?}")),
            (format!("[{raw:?}, {other:?}]"), format!("[{hashed:?},{other:?}]")),
            (
                format!(r#"{{"key": {raw:?}, "label": "new"}}"#),
                format!(r#"{{"key":{hashed:?},"label":"new"}}"#),
            ),
            (format!(r#"[{{"key": {raw:?}}}]"#), format!(r#"[{{"key":{hashed:?}}}]"#)),
            (format!("{other:?}"), format!("{other:?}")),
        ] {
            let key =
                |api_key| format!(r#"{{"id":"a","api_key":{api_key},"name":"raw \"é\\","rate_limit_per_minute":60}}"#);
            assert_eq!(read(&key(&api_key)), Ok(key(&expected)));
        }
    }

    #[test]
    fn a_key_that_is_wrong_or_too_large_is_refused() {
        let digits = "0".repeat(64);
        let origins = |count| {
            let all: Vec<String> = (0..count).map(|n| format!("\"https://a{n:06}.example.com\"")).collect();
            format!(
                r#"{{"id":"a","api_key":"sha256:{digits}","allowed_origins":[{}]}}"#,
                all.join(",")
            )
        };
        assert!(read(&origins(8_000)).unwrap().len() < MAX_KEY_BYTES);
        for (json, reason) in [
            (origins(9_000), "the key has 270114 bytes"),
            (r#"{"id":"a"}"#.into(), "api_key is missing"),
            (
                r#"{"id":"a","api_key":"sha256:00"}"#.into(),
                "sha256: must be followed by 64 hex digits",
            ),
            (
                format!(r#"{{"id":"a","api_key":["sha256:{digits}","sha256:{digits}"]}}"#),
                "an API key, a label or a header of the key is there twice",
            ),
            (
                format!(r#"{{"id":"a","api_key":"sha256:{digits}","alowed_ips":[]}}"#),
                "unknown field",
            ),
        ] {
            let found = read(&json).unwrap_err();
            assert!(found.starts_with(reason), "{found}");
        }
    }
}
