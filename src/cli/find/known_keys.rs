//! The keys of all policies, by their digests.

use std::collections::{BTreeMap, HashMap};

use keyfence_core::config::api_key::{ApiKey, KeyDigest};
use keyfence_core::config::key::KeyContext;
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::scoped_tokens::TokenSecret;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{self, Diagnostics};

use keyfence_core::decision::jwt::has_form;
use keyfence_core::policy::Policy;

use super::candidates::Candidate;
use crate::token::{Examination, Refusal};
use crate::{Failure, now};
use keyfence_files::source::{LocatedPolicy, Source};
use keyfence_files::tree::Mark;

/// The keys of the policies that have been added.
#[derive(Default)]
pub struct KnownKeys {
    /// The compiled policy, if it has no errors, verifies tokens.
    policies: Vec<(String, LocatedPolicy, Option<Policy>)>,
    /// Keys with scoped tokens, by policy and id.
    parents: HashMap<(usize, String), usize>,
    /// The secrets that make tokens, by their digests.
    secrets: HashMap<[u8; 32], Vec<usize>>,
    entries: Vec<Entry>,
    by_digest: HashMap<[u8; 32], Vec<usize>>,
    /// What may stand before a key in `Sec-WebSocket-Protocol`.
    pub prefixes: Vec<String>,
    /// How many keys there are.
    pub count: usize,
    /// Whether a policy has more keys, of a feed.
    pub has_feed: bool,
}

/// An entry of a key's `api_key`, or its `scoped_tokens`.
pub struct Entry {
    policy: usize,
    pub key_id: String,
    pub label: Option<String>,
    /// Its index in `api_key`, and the number of entries there.
    pub index: usize,
    pub of: usize,
    pub is_enabled: bool,
    pub not_before: Option<Timestamp>,
    /// The earlier of the dates on which the key and the entry end.
    pub expires_at: Option<Timestamp>,
    /// In the notation of [`ConfigPath`](config::config_path::ConfigPath), without the index: `keys[0].api_key`, `keys[0].scoped_tokens`.
    path: String,
}

/// How a text names an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// The text is the key.
    Key,
    /// The text is a secret with which anybody makes tokens of the key.
    TokenSecret,
    /// The text is a scoped token of the key.
    Token,
    /// The text is a scoped token of the key that has expired, or is not valid for another reason.
    InvalidToken,
    /// The text is the key's digest, from which nobody gets the key.
    Digest,
}

/// The entries in a text: each with the best form, and the first line that has it in this form.
pub type Matches = BTreeMap<usize, (Form, usize)>;

impl KnownKeys {
    /// Adds the keys of all policies of a source. Keys with errors are left out if they have no usable id or digest; the failure says that
    /// there may be such.
    pub fn add(&mut self, source: &Source) -> Result<(), Failure> {
        let name = source.name();
        let policies = source.policies()?.map_err(|error| {
            let Mark { line, column } = error.mark;
            Failure(format!(
                "{name}:{line}:{column}: {}; its keys were not compared",
                error.reason
            ))
        })?;
        let mut errors = 0;
        for policy in policies {
            errors += self.add_policy(&name, policy);
        }
        if errors > 0 {
            return Err(Failure(format!(
                "{name}: the policy has errors, so not all of its keys may have been compared; keyfence check names them"
            )));
        }
        Ok(())
    }

    /// Returns the number of errors.
    fn add_policy(&mut self, name: &str, policy: LocatedPolicy) -> usize {
        let mut diagnostics = Diagnostics::default();
        let config = config::read(&policy.json, &mut diagnostics);
        let mut errors = usize::from(config.is_none());
        self.has_feed |= config.as_ref().is_some_and(|config| config.keys_from.is_some());
        let sources = config.map_or_else(KeySource::by_default, |config| config.key_sources);
        for source in &sources {
            if let KeySource::WebSocketProtocol(prefix) = source {
                self.prefixes.push(prefix.clone());
            }
        }
        let context = KeyContext {
            now: now(),
            sources: &sources,
            has_identity_header: true,
        };
        // Those of other fields leave no key out.
        let mut diagnostics = Diagnostics::default();
        config::read_keys(&policy.json, context, &mut diagnostics, &mut |_, key, path, _| {
            self.count += 1;
            let of = key.entries.len();
            if let Some(tokens) = &key.scoped_tokens {
                for secret in &tokens.secrets {
                    let rows = self.secrets.entry(KeyDigest::of(secret.bytes()).0).or_default();
                    rows.push(self.entries.len());
                }
                let parent = (self.policies.len(), key.id.to_string());
                self.parents.insert(parent, self.entries.len());
                self.entries.push(Entry {
                    policy: self.policies.len(),
                    key_id: key.id.to_string(),
                    label: None,
                    index: 0,
                    of: 0,
                    is_enabled: key.restrictions.enabled,
                    not_before: key.not_before,
                    expires_at: key.expires_at,
                    path: path.field("scoped_tokens").to_string(),
                });
            }
            for (index, entry) in key.entries.into_iter().enumerate() {
                let rows = self.by_digest.entry(entry.key.digest.0).or_default();
                rows.push(self.entries.len());
                self.entries.push(Entry {
                    policy: self.policies.len(),
                    key_id: key.id.to_string(),
                    label: entry.label.map(|label| label.to_string()),
                    index,
                    of,
                    is_enabled: key.restrictions.enabled,
                    not_before: key.not_before,
                    expires_at: [key.expires_at, entry.expires_at].into_iter().flatten().min(),
                    path: path.field("api_key").to_string(),
                });
            }
        });
        errors += diagnostics.error_count();
        let compiled = Policy::load(&policy.json, now()).ok().map(|loaded| loaded.policy);
        self.policies.push((name.to_owned(), policy, compiled));
        errors
    }

    /// Adds the entries that the candidate names to `matches`.
    pub fn compare(&self, candidate: Candidate<'_>, matches: &mut Matches) {
        let mut add = |rows: &HashMap<[u8; 32], Vec<usize>>, digest: KeyDigest, form: Form| {
            for row in rows.get(&digest.0).into_iter().flatten() {
                let found = (form, candidate.line);
                let known = matches.entry(*row).or_insert(found);
                *known = found.min(*known);
            }
        };
        add(&self.by_digest, KeyDigest::of(candidate.text.as_bytes()), Form::Key);
        if let Ok(secret) = TokenSecret::parse(candidate.text) {
            add(&self.secrets, KeyDigest::of(secret.bytes()), Form::TokenSecret);
        }
        // `sha256:` ends in a delimiter, so the digits alone are a candidate.
        if candidate.text.len() == 64
            && let Ok(key) = ApiKey::parse(&format!("sha256:{}", candidate.text), &[])
        {
            add(&self.by_digest, key.digest, Form::Digest);
        }
        if has_form(candidate.text) {
            for (index, (_, _, policy)) in self.policies.iter().enumerate() {
                let Some(policy) = policy else { continue };
                let examination = Examination::of(policy, candidate.text, now());
                let id = examination.key_id().unwrap_or_default().to_owned();
                let Some(row) = self.parents.get(&(index, id)) else {
                    continue;
                };
                let form = match examination.result {
                    // Whether the key is enabled is said beside it.
                    Ok(_) | Err(Refusal::Key(_)) => Form::Token,
                    Err(_) => Form::InvalidToken,
                };
                let found = (form, candidate.line);
                let known = matches.entry(*row).or_insert(found);
                *known = found.min(*known);
            }
        }
    }

    pub fn entry(&self, row: usize) -> Option<&Entry> {
        self.entries.get(row)
    }

    /// Where an entry is: its file, its path, and its position.
    pub fn place(&self, entry: &Entry) -> Option<(&str, String, Mark)> {
        let (name, policy, _) = self.policies.get(entry.policy)?;
        // `api_key` is a list, or the only entry itself.
        let item = format!("{}[{}]", entry.path, entry.index);
        let found = policy.tree.locate(&[&item, &entry.path]);
        let path = if found.contains_key(&item) {
            item
        } else {
            entry.path.clone()
        };
        let mark = found
            .get(&path)
            .map_or_else(|| policy.tree.start(), |location| location.value);
        Some((name, path, mark))
    }
}
