//! The compiled policy: immutable, without a spelling for what is wrong, and laid out for one request at a time.

mod allocator;
mod diagnostic;
pub mod footprint;
pub mod key_table;
pub mod networks;
pub mod origins;
pub mod response_headers;
pub mod scopes;
mod sorted;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::config::config_path::ConfigPath;
use crate::config::key::{self, Enforcement, KeyContext, Kind, OriginCheck};
use crate::config::nearest::nearest;
use crate::config::scope::{Rule, Scope};
use crate::config::timestamp::Timestamp;
use crate::config::{self, ClientIp, Config, Diagnostics, Measure, long_text, memory_limit};
use diagnostic::PolicyDiagnostic;
use footprint::Footprint;
use key_table::{KeyIndex, KeyTable};
use networks::Networks;
use origins::{OriginList, OriginTable};
use response_headers::{CorsValues, ResponsePolicy, StaticHeaders, Vary};
use scopes::{IndexList, ScopeRules};
use sorted::sorted;

pub use crate::config::key_source::KeySource;

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

/// Where a key may be, with names as Envoy has them.
#[derive(Debug)]
pub enum Source {
    /// A header, in lower case, and the scheme that stands before the key, if any.
    Header {
        /// In lower case.
        name: Box<str>,
        /// Compared without regard to case.
        scheme: Option<Box<str>>,
    },
    /// A query parameter.
    Query(Box<str>),
    /// What an item of `Sec-WebSocket-Protocol` begins with.
    WebSocketProtocol(Box<str>),
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
    pub access: Restrictions,
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

/// A policy, and what is doubtful about it.
#[derive(Debug)]
pub struct Loaded {
    /// Ready for requests.
    pub policy: Policy,
    /// [`Measure::hash`] of its text.
    pub hash: u64,
    /// Warnings only.
    pub diagnostics: Diagnostics,
}

/// Which policy it is, in the words of the filter's log and of the command line, so that one can be compared with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many it has.
    pub keys: usize,
    /// As [`Loaded::hash`].
    pub hash: u64,
}

impl Loaded {
    /// Of this policy.
    pub fn summary(&self) -> Summary {
        Summary {
            keys: self.policy.keys().len(),
            hash: self.hash,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.keys == 1 { "key" } else { "keys" };
        write!(f, "policy accepted: {} {noun}, hash {}", self.keys, self.hash)
    }
}

impl Policy {
    /// Compiles the JSON text of a plugin configuration. The error holds everything that is wrong with it. `now` tells which keys
    /// have expired, for a warning only.
    pub fn load(text: &[u8], now: Timestamp) -> Result<Loaded, Diagnostics> {
        long_text::check(text)?;
        Policy::compile(text, &Measure::of(text), now)
    }

    /// As [`Policy::load`], of a text that was measured already.
    pub fn compile(text: &[u8], measure: &Measure, now: Timestamp) -> Result<Loaded, Diagnostics> {
        memory_limit::check(text.len().saturating_add(Footprint::of(measure).peak))?;
        let mut diagnostics = Diagnostics::default();
        let Some(config) = config::read(text, &mut diagnostics) else {
            return Err(diagnostics);
        };
        let mut compiler = Compiler::new(&config, measure);
        let anonymous = compiler.anonymous(&mut diagnostics);
        let context = KeyContext {
            now,
            sources: &config.key_sources,
        };
        config::read_keys(
            text,
            context,
            &mut diagnostics,
            &mut |index, key, place, diagnostics| {
                compiler.add(index, &key, place, diagnostics);
            },
        );
        if diagnostics.error_count() > 0 {
            return Err(diagnostics);
        }
        let resource_policy = config.security_headers.value(RESOURCE_POLICY);
        if let Some(value @ "same-origin") = resource_policy
            && (compiler.union.names_origins() || compiler.union.is_any_alone())
        {
            let value = format_args!("\"{RESOURCE_POLICY}: {value}\"");
            let place = ConfigPath::ROOT.field("security_headers");
            diagnostics.add(&place, &value, &PolicyDiagnostic::ResourcePolicyBesideOrigins);
        }
        if compiler.keys.is_empty() && anonymous.is_none() {
            diagnostics.add_bare(&ConfigPath::ROOT, &PolicyDiagnostic::NothingAllowed);
        }
        Ok(Loaded {
            policy: compiler.finish(anonymous),
            hash: measure.hash,
            diagnostics,
        })
    }

    /// The key of this index.
    pub fn key(&self, index: KeyIndex) -> Option<&Key> {
        self.keys.get(index.0 as usize)
    }

    /// The key whose SHA-256 this is.
    pub fn find_key(&self, digest: &crate::config::api_key::KeyDigest) -> Option<(KeyIndex, &Key)> {
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

const RESOURCE_POLICY: &str = "Cross-Origin-Resource-Policy";

/// Puts a policy together, key by key.
struct Compiler<'c> {
    config: &'c Config<'c>,
    keys: Vec<Key>,
    /// Where in the configuration each of `keys` stands: further back than here where a key before it could not be read.
    config_index: Vec<usize>,
    ids: HashTable<usize>,
    table: KeyTable,
    origins: OriginTable,
    union: OriginList,
    names_origins: bool,
    /// By the sorted names of the scopes. Keys with the same scopes share their rules.
    scope_rules: BTreeMap<Vec<&'c str>, Arc<ScopeRules>>,
    /// The bytes that further rules may take.
    rules_left: usize,
}

impl<'c> Compiler<'c> {
    fn new(config: &'c Config<'c>, measure: &Measure) -> Self {
        Compiler {
            config,
            keys: Vec::with_capacity(measure.keys),
            config_index: Vec::with_capacity(measure.keys),
            ids: HashTable::with_capacity(measure.keys),
            table: KeyTable::with_capacity(measure.digests),
            origins: OriginTable::with_capacity(measure.origins, measure.label_origins, measure.origin_bytes),
            union: OriginList::default(),
            names_origins: false,
            scope_rules: BTreeMap::new(),
            rules_left: footprint::rules(measure),
        }
    }

    /// `None` where it is switched off as well: then a request without a key is refused.
    fn anonymous(&mut self, diagnostics: &mut Diagnostics) -> Option<Restrictions> {
        let access = self.config.anonymous.as_ref()?;
        let compiled = self.access(access, &ConfigPath::ROOT.field("anonymous"), diagnostics);
        access.enabled.then_some(compiled)
    }

    fn add(&mut self, index: usize, key: &key::Key<'_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
        if let Some(first) = self.insert_id(&key.id) {
            diagnostics.add(
                &place.field("id"),
                &format_args!("{:?}", key.id),
                &PolicyDiagnostic::DuplicateId { first },
            );
        }
        let Ok(number) = u32::try_from(self.keys.len()) else {
            return;
        };
        self.config_index.push(index);
        for api_key in &key.api_keys {
            if let Err(KeyIndex(first)) = self.table.insert(api_key.digest, KeyIndex(number)) {
                let first = self.config_index.get(first as usize).copied().unwrap_or(index);
                diagnostics.add_bare(&place.field("api_key"), &PolicyDiagnostic::DuplicateApiKey { first });
            }
        }
        let access = self.access(&key.restrictions, place, diagnostics);
        self.keys.push(Key {
            id: key.id.as_ref().into(),
            kind: key.kind,
            enabled: key.restrictions.enabled,
            not_before: key.not_before,
            expires_at: key.expires_at,
            access,
        });
    }

    /// Where in the configuration a key with this id stands already.
    fn insert_id(&mut self, id: &str) -> Option<usize> {
        let keys = &self.keys;
        let id_of = |number: usize| keys.get(number).map_or("", |key| &*key.id);
        if let Some(number) = self.ids.find(text_hash(id), |number| id_of(*number) == id) {
            return self.config_index.get(*number).copied();
        }
        self.ids.insert_unique(text_hash(id), keys.len(), |number| {
            text_hash(if *number == keys.len() { id } else { id_of(*number) })
        });
        None
    }

    fn access(
        &mut self,
        access: &key::Restrictions<'_>,
        place: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Restrictions {
        let origins = self.origins.add(&access.allowed_origins, access.enabled);
        self.names_origins |= origins.names_origins();
        if access.enabled {
            self.union.include(&origins);
        }
        self.find_rules_without_index(access, place, diagnostics);
        Restrictions {
            origins,
            origin_check: access.origin_check,
            networks: Networks::new(&access.allowed_ips),
            scopes: access
                .scopes
                .as_ref()
                .map(|names| self.scope_rules(names, &place.field("scopes"), diagnostics)),
            indexes: access.indexes.as_deref().map(IndexList::new),
            limit: access.rate_limit_per_minute.and_then(NonZeroU32::new),
            enforcement: access.enforcement.unwrap_or(self.config.enforcement),
        }
    }

    /// Rules that no request can fit, for the key has `indexes` and they name none.
    fn find_rules_without_index(
        &self,
        access: &key::Restrictions<'_>,
        place: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let (Some(names), Some(_)) = (&access.scopes, &access.indexes) else {
            return;
        };
        let scopes = self
            .config
            .scopes
            .iter()
            .filter(|scope| names.contains(&Cow::Borrowed(&scope.name)));
        for scope in scopes {
            for rule in scope.rules.iter().filter(|rule| !rule.path.names_index()) {
                let kind = PolicyDiagnostic::RuleWithoutIndex {
                    rule: rule.to_string(),
                    scope: scope.name.clone(),
                };
                diagnostics.add_bare(&place.field("indexes"), &kind);
            }
        }
    }

    fn scope_rules(
        &mut self,
        names: &[Cow<'_, str>],
        place: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Arc<ScopeRules> {
        let mut scopes: Vec<&'c Scope> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            match self.config.scopes.iter().find(|scope| scope.name == *name) {
                Some(scope) => scopes.push(scope),
                None => {
                    let known = self.config.scopes.iter().map(|scope| scope.name.as_str());
                    let nearest = nearest(name, known).map(str::to_owned);
                    diagnostics.add(
                        &place.item(index),
                        &format_args!("{name:?}"),
                        &PolicyDiagnostic::UnknownScope { nearest },
                    );
                }
            }
        }
        let mut key = sorted(scopes.iter().map(|scope| scope.name.as_str()).collect());
        key.dedup();
        if let Some(rules) = self.scope_rules.get(&key) {
            return rules.clone();
        }
        let rules: Vec<&Rule> = scopes.iter().flat_map(|scope| &scope.rules).collect();
        let compiled = ScopeRules::new(&rules, &mut self.rules_left).unwrap_or_else(|| {
            diagnostics.add_bare(place, &PolicyDiagnostic::TooManyRules);
            ScopeRules::default()
        });
        self.scope_rules.entry(key).or_insert(Arc::new(compiled)).clone()
    }

    fn finish(mut self, anonymous: Option<Restrictions>) -> Policy {
        let config = self.config;
        self.origins.shrink();
        self.table.shrink();
        let union_is_any_alone = self.union.is_any_alone();
        Policy {
            key_sources: config.key_sources.iter().map(Source::new).collect(),
            keys: self.keys.into(),
            table: self.table,
            anonymous,
            origins: self.origins,
            union: self.union,
            response: Arc::new(ResponsePolicy {
                key_headers: config
                    .key_sources
                    .iter()
                    .filter_map(|source| Some(source.header()?.lower().into()))
                    .collect(),
                cors: CorsValues::new(&config.cors, &config.key_sources),
                vary: Vary::new(self.names_origins, &config.key_sources),
                static_headers: StaticHeaders::new(&config.security_headers),
                union_is_any_alone,
                identity_header: config
                    .identity_header
                    .as_ref()
                    .map(|name| name.0.to_ascii_lowercase().into()),
                enforcement: config.enforcement,
            }),
            client_ip: config.client_ip,
            forward_api_key: config.forward_api_key,
            docs_url: config.docs_url.as_deref().map(Into::into),
            challenge: challenge(&config.key_sources),
        }
    }
}

/// FNV-1a. Only ids of the configuration are hashed.
fn text_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Source {
    fn new(source: &KeySource) -> Source {
        match source {
            KeySource::Header(header) => Source::Header {
                name: header.lower().into(),
                scheme: None,
            },
            KeySource::Scheme { header, scheme } => Source::Header {
                name: header.lower().into(),
                scheme: Some(scheme.as_str().into()),
            },
            KeySource::Query(name) => Source::Query(name.as_str().into()),
            KeySource::WebSocketProtocol(prefix) => Source::WebSocketProtocol(prefix.as_str().into()),
        }
    }
}

/// A challenge for each source (RFC 9110, section 11.6.1). Only headers with a scheme have a registered one.
fn challenge(sources: &[KeySource]) -> Box<str> {
    let challenges: Vec<String> = sources
        .iter()
        .map(|source| match source {
            KeySource::Scheme { scheme, .. } => format!("{scheme} realm=\"keyfence\""),
            KeySource::Header(header) => format!("ApiKey realm=\"keyfence\", header=\"{}\"", header.0),
            KeySource::Query(name) => format!("ApiKey realm=\"keyfence\", query=\"{}\"", quoted(name)),
            KeySource::WebSocketProtocol(prefix) => {
                format!("ApiKey realm=\"keyfence\", websocket-protocol=\"{prefix}\"")
            }
        })
        .collect();
    challenges.join(", ").into()
}

/// What can stand in a quoted string of a header; the rest becomes `?`.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hash_apart() {
        let hashes: std::collections::BTreeSet<u64> = (0..10_000).map(|id| text_hash(&format!("key-{id}"))).collect();
        assert_eq!(hashes.len(), 10_000);
    }

    #[test]
    fn a_challenge_names_each_source() {
        let header = |name: &str| crate::config::token::HeaderName(name.into());
        let query = |name: &str| KeySource::Query(name.into());
        for (source, expected) in [
            (KeySource::by_default().remove(0), "Bearer realm=\"keyfence\""),
            (
                KeySource::Header(header("X-API-Key")),
                "ApiKey realm=\"keyfence\", header=\"X-API-Key\"",
            ),
            (query("api_key"), "ApiKey realm=\"keyfence\", query=\"api_key\""),
            (query("api key"), "ApiKey realm=\"keyfence\", query=\"api key\""),
            (query("a\"b\\c"), "ApiKey realm=\"keyfence\", query=\"a?b?c\""),
            (query("clé\n"), "ApiKey realm=\"keyfence\", query=\"cl??\""),
            (
                KeySource::WebSocketProtocol("api-key.".into()),
                "ApiKey realm=\"keyfence\", websocket-protocol=\"api-key.\"",
            ),
        ] {
            assert_eq!(&*challenge(&[source]), expected);
        }
    }
}
