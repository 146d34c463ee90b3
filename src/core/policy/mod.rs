//! The compiled policy: immutable, always valid, and laid out for look-ups by requests.

mod allocator;
mod challenge;
mod compiler;
mod diagnostic;
pub mod expiry;
mod fed_form;
pub mod fed_keys;
pub mod feed_policy;
pub mod footprint;
mod id_hash;
pub mod in_force;
pub mod key_table;
mod loaded;
pub mod networks;
pub mod origin_list;
pub mod origins;
pub mod protected_headers;
pub mod refused_code;
pub mod response_headers;
mod scope_sets;
pub mod scopes;
mod shards;
pub mod sorted;
mod source;
pub mod token_verifier;
pub mod upstream_headers;

use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::config::ClientIp;
use crate::config::api_key::KeyDigest;
use crate::config::key::{self, Enforcement, Kind, OriginCheck};
use crate::config::timestamp::Timestamp;
use fed_form::Form;
use fed_keys::FedKeyRef;
use feed_policy::FeedPolicy;
use key_table::{EntryPlace, KeyIndex, KeyTable};
use networks::Networks;
use origin_list::{OriginList, OriginUnion};
use origins::OriginTable;
use response_headers::ResponsePolicy;
use scopes::{IndexList, ScopeRules};
use token_verifier::TokenVerifier;
use upstream_headers::UpstreamHeaders;

pub use loaded::{Loaded, Summary};
pub use source::Source;

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    /// Where a request may carry its key.
    pub(crate) key_sources: Box<[Source]>,
    keys: Box<[Key]>,
    /// The entries of `api_key` that are not the first of their key, or have a label or a date.
    entries: Box<[Entry]>,
    table: KeyTable,
    /// The keys with scoped tokens, by the hash of their id.
    token_parents: HashTable<TokenParent>,
    /// The rules of each scope, sorted by its name, for the scopes that tokens name. Empty if there are no scoped tokens.
    token_scopes: Box<[(Box<str>, Arc<ScopeRules>)]>,
    /// For requests without a key; `None`: they are refused.
    pub(crate) anonymous: Option<Restrictions>,
    /// All origin patterns.
    pub(crate) origins: OriginTable,
    /// The union of the lists of all enabled keys and of `anonymous`.
    pub(crate) union: OriginUnion,
    /// The feed of further keys, and what these depend on. `None`: `keys` has all of them.
    feed: Option<Box<FeedPolicy>>,
    /// The part that responses need.
    pub(crate) response: Arc<ResponsePolicy>,
    /// The header that tells the upstream the id of the key, in lower case. It is one of the protected headers.
    pub(crate) identity_header: Option<Box<str>>,
    /// Where a client address must come from to be believed.
    pub(crate) client_ip: ClientIp,
    /// Whether the API key is forwarded to the upstream.
    pub(crate) forward_api_key: bool,
    /// The URL of the documentation of errors.
    pub(crate) docs_url: Option<Box<str>>,
    /// The value of `WWW-Authenticate` on a 401.
    pub(crate) challenge: Box<str>,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// What logs and the upstream know it by.
    pub(crate) id: Box<str>,
    /// Whether it may be used from a browser.
    pub(crate) kind: Kind,
    /// If not, requests with it are refused.
    pub(crate) enabled: bool,
    /// The first time at which it is valid.
    pub(crate) not_before: Option<Timestamp>,
    /// The first time at which it is no longer valid.
    pub(crate) expires_at: Option<Timestamp>,
    /// From where, for what and how often it may be used.
    pub(crate) restrictions: Restrictions,
}

/// An entry of `api_key`, without the digest.
#[derive(Debug)]
struct Entry {
    key: KeyIndex,
    /// Its index in `api_key`. The first is the newest.
    index: u32,
    label: Option<Box<str>>,
    expires_at: Option<Timestamp>,
}

/// A key with scoped tokens.
#[derive(Debug)]
struct TokenParent {
    key: KeyIndex,
    verifier: TokenVerifier,
}

/// The key that a token was narrowed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenParentRef {
    /// One of the policy's own.
    Static(KeyIndex),
    /// One of the feed's.
    Fed(FedKeyRef),
}

/// A key, and which entry of its `api_key` a request presents.
#[derive(Debug, Clone, Copy)]
pub struct KeyMatch<'p> {
    key: &'p Key,
    /// `None` if it is the first and has neither a label nor a date, or if the request presents a scoped token.
    entry: Option<&'p Entry>,
    /// Of a key of the feed.
    form: Option<&'p Form>,
}

/// From where, for what and how often a key, or no key, may be used.
#[derive(Debug)]
pub struct Restrictions {
    /// Empty: the origin is not checked.
    pub(crate) origins: OriginList,
    /// How `origins` are used.
    pub(crate) origin_check: OriginCheck,
    /// Empty: the address is not checked.
    pub(crate) networks: Networks,
    /// `None`: any method and path.
    pub(crate) scopes: Option<Arc<ScopeRules>>,
    /// `None`: any index.
    pub(crate) indexes: Option<IndexList>,
    /// Requests in any 60 seconds. `None`: any number.
    pub(crate) limit: Option<NonZeroU32>,
    /// Requests of each client in any 60 seconds. `None`: any number.
    pub(crate) client_limit: Option<NonZeroU32>,
    /// The headers to set for the upstream.
    pub(crate) upstream_headers: UpstreamHeaders,
    /// Whether decisions take effect.
    pub(crate) enforcement: Enforcement,
}

impl Policy {
    /// The key, and the entry of it, with this digest.
    pub fn find_key(&self, digest: &KeyDigest) -> Option<KeyMatch<'_>> {
        let (key, entry) = match self.table.find(digest)?.place() {
            EntryPlace::Plain(key) => (key, None),
            EntryPlace::Listed(index) => {
                let entry = self.entries.get(index)?;
                (entry.key, Some(entry))
            }
        };
        let (key, form) = (self.key(key)?, None);
        Some(KeyMatch { key, entry, form })
    }

    /// The key with this id, if it has scoped tokens, and what verifies them.
    fn token_parent(&self, id: &str) -> Option<(KeyIndex, &TokenVerifier)> {
        let has_id = |parent: &TokenParent| self.key(parent.key).is_some_and(|key| *key.id == *id);
        let parent = self.token_parents.find(id_hash::id_hash(id), has_id)?;
        Some((parent.key, &parent.verifier))
    }

    /// The index of the scope with this name, for [`Policy::token_scope`].
    pub(crate) fn token_scope_index(&self, name: &str) -> Option<usize> {
        let scopes = &self.token_scopes;
        scopes.binary_search_by(|(known, _)| (**known).cmp(name)).ok()
    }

    /// The rules of the scope with this index.
    pub(crate) fn token_scope(&self, index: usize) -> Option<&ScopeRules> {
        self.token_scopes.get(index).map(|(_, rules)| &**rules)
    }

    /// Where more keys come from.
    pub fn feed(&self) -> Option<&FeedPolicy> {
        self.feed.as_deref()
    }

    fn key(&self, index: KeyIndex) -> Option<&Key> {
        self.keys.get(index.0 as usize)
    }

    /// All keys, in the order of the configuration.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Where a request may carry its key.
    pub fn key_sources(&self) -> &[Source] {
        &self.key_sources
    }

    /// The restrictions of requests without a key. `None`: they are refused.
    pub fn anonymous(&self) -> Option<&Restrictions> {
        self.anonymous.as_ref()
    }

    /// The origins that the policy lists anywhere.
    pub fn origins(&self) -> &OriginTable {
        &self.origins
    }

    /// Which client addresses the policy believes.
    pub fn client_ip(&self) -> ClientIp {
        self.client_ip
    }

    /// What responses need of the policy.
    pub fn response(&self) -> &Arc<ResponsePolicy> {
        &self.response
    }

    /// Shares `known` if it is equal to what responses need of this policy, and returns whether it is.
    pub fn share_response(&mut self, known: &Arc<ResponsePolicy>) -> bool {
        let is_equal = *known == self.response;
        if is_equal {
            self.response = known.clone();
        }
        is_equal
    }
}

impl Key {
    /// Of what the configuration, or the feed, has.
    fn new(key: &key::Key<'_>, restrictions: Restrictions) -> Key {
        Key {
            id: key.id.as_ref().into(),
            kind: key.kind,
            enabled: key.restrictions.enabled,
            not_before: key.not_before,
            expires_at: key.expires_at,
            restrictions,
        }
    }

    /// What logs and the upstream know it by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it may be used from a browser.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// If not, every request with it is refused.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The first time at which it is valid.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// The first time at which it is no longer valid.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// From where, for what and how often it may be used.
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }
}

impl<'p> KeyMatch<'p> {
    /// The key.
    pub fn key(&self) -> &'p Key {
        self.key
    }

    /// The index of the entry in `api_key`. The first is the newest.
    pub fn entry_index(&self) -> u32 {
        self.entry.map_or(0, |entry| entry.index)
    }

    /// The label of the entry, if it has one.
    pub fn label(&self) -> Option<&'p str> {
        self.entry?.label.as_deref()
    }

    /// The first time at which the entry is no longer valid, although others of the key may be.
    pub fn entry_expires_at(&self) -> Option<Timestamp> {
        self.entry?.expires_at
    }
}

impl Restrictions {
    /// Of what the configuration, or the feed, has, and what other parts of the policy make of it.
    fn new(
        restrictions: &key::Restrictions<'_>,
        origins: OriginList,
        upstream_headers: UpstreamHeaders,
    ) -> Restrictions {
        Restrictions {
            origins,
            origin_check: restrictions.origin_check,
            networks: Networks::new(&restrictions.allowed_ips),
            scopes: None,
            indexes: restrictions.indexes.as_deref().map(IndexList::new),
            limit: restrictions.rate_limit_per_minute.and_then(NonZeroU32::new),
            client_limit: restrictions.rate_limit_per_minute_per_client.and_then(NonZeroU32::new),
            upstream_headers,
            enforcement: restrictions.enforcement.unwrap_or(Enforcement::Enforce),
        }
    }

    /// The origins of web pages that may send the request. Empty: the origin is not checked.
    pub fn origins(&self) -> &OriginList {
        &self.origins
    }

    /// The methods and paths. `None`: any.
    pub fn scopes(&self) -> Option<&ScopeRules> {
        self.scopes.as_deref()
    }

    /// Requests in any 60 seconds. `None`: any number.
    pub fn limit(&self) -> Option<NonZeroU32> {
        self.limit
    }

    /// Requests of each client in any 60 seconds. `None`: any number.
    pub fn client_limit(&self) -> Option<NonZeroU32> {
        self.client_limit
    }
}
