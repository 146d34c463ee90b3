//! A key as the feed gives it.

use std::sync::Arc;

use keyfence_core::config::Diagnostics;
use keyfence_core::config::api_key::{ApiKey, KeyDigest};
use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::key::{KeyContext, read_key};
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::node::Node;
use keyfence_core::config::{DiagnosticKind, Message};

use crate::state::MAX_KEY_BYTES;

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

impl FedKey {
    /// Reads an entry of `keys`, which is at `path`, as the filter does. Returns `None` if it has an error.
    pub fn read(
        node: Node<'_>,
        context: KeyContext<'_>,
        path: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<FedKey> {
        let errors = diagnostics.error_count();
        let mut served = node.clone();
        let key = read_key(node, context, path, diagnostics)?;
        if diagnostics.error_count() > errors {
            return None;
        }
        if key.entries.iter().any(|entry| entry.key.raw_length.is_some())
            && let Node::Object(members) = &mut served
        {
            let api_key = members.iter_mut().find(|(name, _)| name == "api_key");
            hash_raw_keys(&mut api_key?.1, context.sources);
        }
        let mut json = String::new();
        write_json(&served, &mut json);
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

fn write_json(node: &Node<'_>, json: &mut String) {
    match node {
        Node::Text(text) => json.push_str(&serde_json::Value::from(text.as_ref()).to_string()),
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
                json.push_str(&serde_json::Value::from(name.as_ref()).to_string());
                json.push(':');
                write_json(value, json);
            }
            json.push('}');
        }
        // They are shown as JSON.
        Node::Null | Node::Bool(_) | Node::Number(_) => json.push_str(&node.to_string()),
    }
}
