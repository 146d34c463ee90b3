//! One form of a key of a feed, compiled. What it takes from the policy is compiled again when that changes.

use super::feed_policy::FeedPolicy;
use super::key_table::KeyIndex;
use super::origins::OriginTable;
use super::refused_code::RefusedCode;
use super::scope_sets::{ScopeSetId, ScopeSets};
use super::token_verifier::TokenVerifier;
use super::upstream_headers::{UpstreamHeader, UpstreamHeaders};
use super::{Entry, Key, Restrictions};
use crate::config::api_key::{ApiKeyEntry, KeyDigest};
use crate::config::key::{self, Enforcement};
use crate::config::scoped_tokens::ScopedTokens;

/// A key of a feed.
#[derive(Debug)]
pub struct Form {
    /// Compiled, after [`Form::resolve`].
    pub key: Key,
    /// The digest of each entry of `api_key`.
    digests: Box<[KeyDigest]>,
    /// The entries, unless there is one only and it has neither a label nor a date.
    entries: Box<[Entry]>,
    tokens: Option<Box<Tokens>>,
    /// The scopes that it names. `None`: any method and path.
    pub scopes: Option<ScopeSetId>,
    /// `None`: as for the whole policy.
    enforcement: Option<Enforcement>,
    /// The number of origins that it lists.
    pub listed_origins: usize,
}

#[derive(Debug)]
struct Tokens {
    verifier: TokenVerifier,
    /// The digest of each secret and public key, and whether it is a secret.
    keys: Box<[(KeyDigest, bool)]>,
}

impl Form {
    /// Compiles what depends on the key alone.
    pub fn new(key: key::Key<'_>, origins: &mut OriginTable, scope_sets: &mut ScopeSets) -> Form {
        let restrictions = &key.restrictions;
        let headers = restrictions.upstream_headers.iter().map(|header| UpstreamHeader {
            name: header.name.to_ascii_lowercase().into(),
            value: header.value.as_ref().into(),
        });
        let headers = UpstreamHeaders::new(headers.collect());
        let scopes = restrictions.scopes.as_ref();
        let scopes = scopes.map(|names| scope_sets.add(names.iter().map(|name| &**name)));
        let origins = origins.add(&restrictions.allowed_origins, false);
        Form {
            digests: key.entries.iter().map(|entry| entry.key.digest).collect(),
            entries: compile_entries(&key.entries),
            tokens: key.scoped_tokens.as_ref().map(Tokens::new),
            scopes,
            enforcement: restrictions.enforcement,
            listed_origins: restrictions.allowed_origins.len(),
            key: Key::new(&key, Restrictions::new(restrictions, origins, headers)),
        }
    }

    /// Compiles what depends on the policy.
    pub fn resolve(&mut self, scope_sets: &mut ScopeSets, feed: &FeedPolicy) -> Result<(), RefusedCode> {
        let enforcement = self.enforcement(feed);
        let restrictions = &mut self.key.restrictions;
        if !feed.lists(&restrictions.upstream_headers) {
            return Err(RefusedCode::UnlistedUpstreamHeader);
        }
        restrictions.scopes = match self.scopes {
            Some(scopes) => Some(scope_sets.rules(scopes, feed)?),
            None => None,
        };
        restrictions.enforcement = enforcement;
        Ok(())
    }

    /// Whether decisions on the key take effect under this policy.
    pub fn enforcement(&self, feed: &FeedPolicy) -> Enforcement {
        self.enforcement.unwrap_or(feed.enforcement)
    }

    /// The same form with its origins and scopes in other tables: the first of each pair, which have been in the second.
    pub fn copied(
        mut self,
        (origins, from_origins): (&mut OriginTable, &OriginTable),
        (scope_sets, from_scope_sets): (&mut ScopeSets, &ScopeSets),
    ) -> Form {
        let restrictions = &mut self.key.restrictions;
        restrictions.origins = origins.copy(&restrictions.origins, from_origins);
        self.scopes = self.scopes.map(|id| scope_sets.copy(id, from_scope_sets));
        self
    }

    /// The digest of each entry of `api_key`.
    pub fn digests(&self) -> impl Iterator<Item = &KeyDigest> {
        self.digests.iter()
    }

    /// The digest of each secret and public key of tokens, and whether it is a secret.
    pub fn token_keys(&self) -> impl Iterator<Item = &(KeyDigest, bool)> {
        self.tokens.iter().flat_map(|tokens| &tokens.keys)
    }

    /// What verifies the key's scoped tokens.
    pub fn verifier(&self) -> Option<&TokenVerifier> {
        self.tokens.as_ref().map(|tokens| &tokens.verifier)
    }

    /// The entry of `api_key` with this index, unless it is the first and has neither a label nor a date.
    pub fn entry(&self, index: u32) -> Option<&Entry> {
        let entry = self.entries.get(index as usize)?;
        (entry.index > 0 || entry.label.is_some() || entry.expires_at.is_some()).then_some(entry)
    }
}

impl Tokens {
    fn new(tokens: &ScopedTokens) -> Box<Tokens> {
        let secrets = tokens.secrets.iter().map(|secret| (secret.bytes(), true));
        let public_keys = tokens.public_keys.iter();
        let public_keys = public_keys.map(|key| (key.0.as_bytes().as_slice(), false));
        let keys = secrets.chain(public_keys);
        Box::new(Tokens {
            verifier: TokenVerifier::new(tokens),
            keys: keys
                .map(|(bytes, is_secret)| (KeyDigest::of(bytes), is_secret))
                .collect(),
        })
    }
}

fn compile_entries(entries: &[ApiKeyEntry<'_>]) -> Box<[Entry]> {
    if let [only] = entries
        && only.label.is_none()
        && only.expires_at.is_none()
    {
        return Box::default();
    }
    let compiled = entries.iter().zip(0..).map(|(entry, index)| Entry {
        // Tells nothing here: the row of the digest has the key.
        key: KeyIndex(0),
        index,
        label: entry.label.as_deref().map(Into::into),
        expires_at: entry.expires_at,
    });
    compiled.collect()
}
