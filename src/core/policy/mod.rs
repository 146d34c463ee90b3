//! The compiled policy: immutable, without a spelling for what is wrong, and laid out for one request at a time.

mod allocator;
mod challenge;
mod compiler;
pub mod footprint;
pub mod key_table;
mod loaded;
pub mod networks;
pub mod origins;
pub mod response_headers;
pub mod scopes;
mod sorted;
mod source;

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::ClientIp;
use crate::config::api_key::KeyDigest;
use crate::config::key::{Enforcement, Kind, OriginCheck};
use crate::config::timestamp::Timestamp;
use key_table::{KeyIndex, KeyTable};
use networks::Networks;
use origins::{OriginList, OriginTable};
use response_headers::ResponsePolicy;
use scopes::{IndexList, ScopeRules};

pub use loaded::{Loaded, Summary};
pub use source::Source;

/// A whole policy.
#[derive(Debug)]
pub struct Policy {
    /// Where a request may carry its key.
    pub key_sources: Box<[Source]>,
    keys: Box<[Key]>,
    table: KeyTable,
    /// For requests without a key; `None`: they are refused.
    pub anonymous: Option<Restrictions>,
    /// The origins of all lists.
    pub origins: OriginTable,
    /// What any enabled key, or `anonymous`, lists.
    pub union: OriginList,
    /// What responses need.
    pub response: Arc<ResponsePolicy>,
    /// Which client addresses count as known.
    pub client_ip: ClientIp,
    /// Whether the upstream sees the key itself.
    pub forward_api_key: bool,
    /// Where errors are explained.
    pub docs_url: Option<Box<str>>,
    /// The value of `WWW-Authenticate` on a 401.
    pub challenge: Box<str>,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// What logs and the upstream know it by.
    pub id: Box<str>,
    /// Whether it may be used from a browser.
    pub kind: Kind,
    /// `false`: it is refused.
    pub enabled: bool,
    /// It is refused before.
    pub not_before: Option<Timestamp>,
    /// It is refused from then on.
    pub expires_at: Option<Timestamp>,
    /// From where, for what and how often it may be used.
    pub restrictions: Restrictions,
}

/// From where, for what and how often a key, or no key, may be used.
#[derive(Debug)]
pub struct Restrictions {
    /// Empty: the origin is not checked.
    pub origins: OriginList,
    /// What happens to a request whose origin is not listed.
    pub origin_check: OriginCheck,
    /// Empty: the address is not checked.
    pub networks: Networks,
    /// `None`: any method and path.
    pub scopes: Option<Arc<ScopeRules>>,
    /// `None`: any index.
    pub indexes: Option<IndexList>,
    /// Requests in any 60 seconds.
    pub limit: Option<NonZeroU32>,
    /// Whether verdicts take effect.
    pub enforcement: Enforcement,
}

impl Policy {
    /// The key of this index.
    pub fn key(&self, index: KeyIndex) -> Option<&Key> {
        self.keys.get(index.0 as usize)
    }

    /// The key whose SHA-256 this is.
    pub fn find_key(&self, digest: &KeyDigest) -> Option<(KeyIndex, &Key)> {
        let index = self.table.find(digest)?;
        Some((index, self.key(index)?))
    }

    /// The key of this id, by going through all of them: for people, not for requests.
    pub fn find_key_by_id(&self, id: &str) -> Option<(KeyIndex, &Key)> {
        let indexes = (0..).map(KeyIndex);
        indexes.zip(&self.keys).find(|(_, key)| &*key.id == id)
    }

    /// All keys, in the order of the configuration.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
