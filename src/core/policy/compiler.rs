//! Compiles a configuration into a policy: every key goes into the tables in which requests are looked up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::challenge::challenge;
use super::diagnostic::PolicyDiagnostic;
use super::feed_policy::FeedPolicy;
use super::footprint::{self, Footprint};
use super::id_hash::id_hash;
use super::key_table::{EntryId, EntryPlace, KeyIndex, KeyTable};
use super::loaded::Loaded;
use super::origin_list::OriginUnion;
use super::origins::OriginTable;
use super::protected_headers::ProtectedHeaders;
use super::response_headers::{CorsValues, ResponsePolicy, StaticHeaders, Vary};
use super::scopes::ScopeRules;
use super::sorted::sorted;
use super::source::Source;
use super::token_verifier::{KnownTokenKey, TokenVerifier};
use super::upstream_headers::{UpstreamHeader, UpstreamHeaders};
use super::{Entry, Key, Policy, Restrictions, TokenParent};
use crate::config::api_key::{ApiKeyEntry, KeyDigest};
use crate::config::config_path::ConfigPath;
use crate::config::key::{self, KeyContext};
use crate::config::nearest::nearest;
use crate::config::scope::Scope;
use crate::config::scoped_tokens::ScopedTokens;
use crate::config::timestamp::Timestamp;
use crate::config::token::{FILTER_HEADER, SUBJECT_HEADER};
use crate::config::upstream_headers;
use crate::config::{self, Config, Diagnostics, Measure, long_text, memory_limit};
use hashbrown::HashTable;

impl Policy {
    /// Compiles the JSON text of a plugin configuration. The error has all diagnostics. `now` is only used to warn of keys that have expired
    /// or soon will.
    pub fn load(text: &[u8], now: Timestamp) -> Result<Loaded, Diagnostics> {
        long_text::check(text)?;
        Policy::compile(text, &Measure::of(text), now)
    }

    /// As [`Policy::load`], for a text whose measure is known.
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
            has_identity_header: config.identity_header.is_some(),
        };
        config::read_keys(text, context, &mut diagnostics, &mut |index, key, path, diagnostics| {
            compiler.add(index, &key, path, diagnostics);
        });
        let token_scopes = compiler.token_scopes(&mut diagnostics);
        if diagnostics.error_count() > 0 {
            return Err(diagnostics);
        }
        let resource_policy = config.security_headers.value(RESOURCE_POLICY);
        if let Some(value @ "same-origin") = resource_policy
            && (compiler.union.names_origins() || compiler.union.is_any_alone())
        {
            let value = format_args!("\"{RESOURCE_POLICY}: {value}\"");
            let path = ConfigPath::ROOT.field("security_headers");
            diagnostics.add(&path, &value, &PolicyDiagnostic::ResourcePolicyBesideOrigins);
        }
        if compiler.keys.is_empty() && anonymous.is_none() && config.keys_from.is_none() {
            diagnostics.add_bare(&ConfigPath::ROOT, &PolicyDiagnostic::NothingAllowed);
        }
        Ok(Loaded {
            policy: compiler.finish(anonymous, token_scopes),
            hash: measure.hash,
            diagnostics,
        })
    }
}

const RESOURCE_POLICY: &str = "Cross-Origin-Resource-Policy";

/// The rules of each scope, sorted by name.
type TokenScopes = Box<[(Box<str>, Arc<ScopeRules>)]>;

/// The tables of a policy while keys are added one by one.
struct Compiler<'c> {
    config: &'c Config<'c>,
    keys: Vec<Key>,
    /// The index in the configuration of each of `keys`. Keys that could not be read have one there, but none here.
    config_index: Vec<usize>,
    ids: HashTable<usize>,
    entries: Vec<Entry>,
    table: KeyTable,
    token_parents: HashTable<TokenParent>,
    /// All secrets and public keys of tokens.
    token_keys: HashTable<KnownTokenKey>,
    origins: OriginTable,
    union: OriginUnion,
    names_origins: bool,
    /// `upstream_header_names` in lower case.
    header_names: Vec<Arc<str>>,
    /// The compiled rules, by the sorted names of their scopes. Keys with the same scopes share them.
    scope_rules: BTreeMap<Vec<&'c str>, Arc<ScopeRules>>,
    /// The bytes that more rules may take.
    rules_left: usize,
}

impl<'c> Compiler<'c> {
    fn new(config: &'c Config<'c>, measure: &Measure) -> Self {
        Compiler {
            config,
            keys: Vec::with_capacity(measure.keys),
            config_index: Vec::with_capacity(measure.keys),
            ids: HashTable::with_capacity(measure.keys),
            entries: Vec::with_capacity(measure.listed_entries),
            table: KeyTable::with_capacity(measure.digests),
            token_parents: HashTable::with_capacity(measure.token_parents),
            token_keys: HashTable::with_capacity(measure.token_keys),
            origins: OriginTable::with_capacity(measure.origins, measure.label_origins, measure.origin_bytes),
            union: OriginUnion::default(),
            // Keys of the feed name some sooner or later.
            names_origins: config.keys_from.is_some(),
            header_names: config
                .upstream_header_names
                .iter()
                .map(|name| name.lower().into())
                .collect(),
            scope_rules: BTreeMap::new(),
            rules_left: footprint::rules(measure),
        }
    }

    /// The restrictions of requests without a key. `None` if there are none, or if `enabled` is false: such requests are refused.
    fn anonymous(&mut self, diagnostics: &mut Diagnostics) -> Option<Restrictions> {
        let restrictions = self.config.anonymous.as_ref()?;
        let compiled = self.restrictions(restrictions, &ConfigPath::ROOT.field("anonymous"), diagnostics);
        restrictions.enabled.then_some(compiled)
    }

    fn add(&mut self, index: usize, key: &key::Key<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
        if let Some(first) = self.insert_id(&key.id) {
            diagnostics.add(
                &path.field("id"),
                &format_args!("{:?}", key.id),
                &PolicyDiagnostic::DuplicateId { first },
            );
        }
        let Ok(number) = u32::try_from(self.keys.len()) else {
            return;
        };
        self.config_index.push(index);
        for (entry, at) in key.entries.iter().zip(0..) {
            let Some(id) = self.add_entry(entry, KeyIndex(number), at) else {
                return;
            };
            if let Err(first) = self.table.insert(entry.key.digest, id) {
                let first = self.index_of_key(first).unwrap_or(index);
                diagnostics.add_bare(&path.field("api_key"), &PolicyDiagnostic::DuplicateApiKey { first });
            }
        }
        find_duplicate_labels(&key.entries, path, diagnostics);
        let restrictions = self.restrictions(&key.restrictions, path, diagnostics);
        if let Some(tokens) = &key.scoped_tokens {
            if let Some(diagnostic) = self.insert_token_keys(index, tokens) {
                diagnostics.add_bare(&path.field("scoped_tokens"), &diagnostic);
            }
            let parent = TokenParent {
                key: KeyIndex(number),
                verifier: TokenVerifier::new(tokens),
            };
            let hash_of = |parent: &TokenParent| match parent.key == KeyIndex(number) {
                true => id_hash(&key.id),
                false => self.keys.get(parent.key.0 as usize).map_or(0, |key| id_hash(&key.id)),
            };
            self.token_parents.insert_unique(id_hash(&key.id), parent, hash_of);
        }
        self.keys.push(Key::new(key, restrictions));
    }

    /// The rules of each scope alone, if a token can name them.
    fn token_scopes(&mut self, diagnostics: &mut Diagnostics) -> TokenScopes {
        if self.token_parents.is_empty() && self.config.keys_from.is_none() {
            return TokenScopes::default();
        }
        let path = ConfigPath::ROOT.field("scopes");
        let names = self.config.scopes.iter().map(|scope| &*scope.name);
        let scopes = sorted(names.collect()).into_iter().map(|name| {
            let rules = self.scope_rules(&[Cow::Borrowed(name)], &path.field(name), diagnostics);
            (name.into(), rules)
        });
        scopes.collect()
    }

    /// Adds an entry, the one with this `index` in `api_key`, to the list of entries if it belongs there.
    fn add_entry(&mut self, entry: &ApiKeyEntry<'_>, key: KeyIndex, index: u32) -> Option<EntryId> {
        if index == 0 && entry.label.is_none() && entry.expires_at.is_none() {
            return EntryId::of(EntryPlace::Plain(key));
        }
        let id = EntryId::of(EntryPlace::Listed(self.entries.len()))?;
        self.entries.push(Entry {
            key,
            index,
            label: entry.label.as_deref().map(Into::into),
            expires_at: entry.expires_at,
        });
        Some(id)
    }

    /// The index in the configuration of the key that has this entry.
    fn index_of_key(&self, entry: EntryId) -> Option<usize> {
        let KeyIndex(key) = match entry.place() {
            EntryPlace::Plain(key) => key,
            EntryPlace::Listed(index) => self.entries.get(index)?.key,
        };
        self.config_index.get(key as usize).copied()
    }

    /// Adds an id. Returns the index in the configuration of the key that has it already, if any.
    fn insert_id(&mut self, id: &str) -> Option<usize> {
        let keys = &self.keys;
        let id_of = |number: usize| keys.get(number).map_or("", |key| &*key.id);
        if let Some(number) = self.ids.find(id_hash(id), |number| id_of(*number) == id) {
            return self.config_index.get(*number).copied();
        }
        self.ids.insert_unique(id_hash(id), keys.len(), |number| {
            id_hash(if *number == keys.len() { id } else { id_of(*number) })
        });
        None
    }

    /// Adds the secrets and public keys of the key with this index in the configuration. Returns what is wrong if another key has one of them.
    fn insert_token_keys(&mut self, key: usize, tokens: &ScopedTokens) -> Option<PolicyDiagnostic> {
        let secrets = tokens.secrets.iter().map(|secret| (secret.bytes(), true));
        let public_keys = tokens.public_keys.iter();
        let public_keys = public_keys.map(|key| (key.0.as_bytes().as_slice(), false));
        let mut found = None;
        for (bytes, is_secret) in secrets.chain(public_keys) {
            let digest = KeyDigest::of(bytes);
            match self.token_keys.find(digest.hash(), |known| known.digest == digest) {
                // What is wrong within a key was found when it was read.
                Some(known) if known.key == key => {}
                Some(known) if known.is_secret != is_secret => {
                    found = Some(PolicyDiagnostic::PublicTokenSecret { first: known.key });
                }
                Some(known) => found = found.or(Some(PolicyDiagnostic::SharedTokenKey { first: known.key })),
                None => {
                    let known = KnownTokenKey { digest, key, is_secret };
                    self.token_keys
                        .insert_unique(digest.hash(), known, |known| known.digest.hash());
                }
            }
        }
        found
    }

    fn restrictions(
        &mut self,
        restrictions: &key::Restrictions<'_>,
        path: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Restrictions {
        let origins = self.origins.add(&restrictions.allowed_origins, restrictions.enabled);
        self.names_origins |= origins.names_origins();
        if restrictions.enabled {
            self.union.include(&origins);
        }
        self.find_rules_without_index(restrictions, path, diagnostics);
        let scopes = restrictions
            .scopes
            .as_ref()
            .map(|names| self.scope_rules(names, &path.field("scopes"), diagnostics));
        let at = path.field("upstream_headers");
        let upstream_headers = self.upstream_headers(&restrictions.upstream_headers, &at, diagnostics);
        Restrictions {
            scopes,
            enforcement: restrictions.enforcement.unwrap_or(self.config.enforcement),
            ..Restrictions::new(restrictions, origins, upstream_headers)
        }
    }

    /// The headers that a key sets. Each must be in `upstream_header_names`.
    fn upstream_headers(
        &self,
        headers: &[upstream_headers::UpstreamHeader<'_>],
        path: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) -> UpstreamHeaders {
        let names = &self.header_names;
        let mut compiled: Vec<UpstreamHeader> = Vec::with_capacity(headers.len().min(names.len()));
        for header in headers {
            let is_named = |name: &&Arc<str>| name.eq_ignore_ascii_case(&header.name);
            let diagnostic = match names.iter().find(is_named) {
                None => {
                    let known = self.config.upstream_header_names.iter().map(|name| name.0.as_str());
                    let nearest = nearest(&header.name, known).map(str::to_owned);
                    PolicyDiagnostic::UnlistedUpstreamHeader { nearest }
                }
                Some(name) if compiled.iter().any(|earlier| earlier.name == *name) => {
                    PolicyDiagnostic::DuplicateUpstreamHeader
                }
                Some(name) => {
                    compiled.push(UpstreamHeader {
                        name: name.clone(),
                        value: header.value.as_ref().into(),
                    });
                    continue;
                }
            };
            diagnostics.add(
                &path.field(&header.name),
                &format_args!("{:?}", header.name),
                &diagnostic,
            );
        }
        UpstreamHeaders::new(compiled)
    }

    /// Warns of rules that no request can fit: the key has `indexes`, and the rule has no `{index}`.
    fn find_rules_without_index(
        &self,
        restrictions: &key::Restrictions<'_>,
        path: &ConfigPath<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let (Some(names), Some(_)) = (&restrictions.scopes, &restrictions.indexes) else {
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
                diagnostics.add_bare(&path.field("indexes"), &kind);
            }
        }
    }

    fn scope_rules(
        &mut self,
        names: &[Cow<'_, str>],
        path: &ConfigPath<'_>,
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
                        &path.item(index),
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
        let compiled = ScopeRules::of_scopes(&scopes, &mut self.rules_left).unwrap_or_else(|| {
            diagnostics.add_bare(path, &PolicyDiagnostic::TooManyRules);
            ScopeRules::default()
        });
        self.scope_rules.entry(key).or_insert(Arc::new(compiled)).clone()
    }

    fn finish(mut self, anonymous: Option<Restrictions>, token_scopes: TokenScopes) -> Policy {
        let config = self.config;
        self.origins.shrink();
        self.table.shrink();
        let feed = config.keys_from.as_ref().map(|settings| {
            Box::new(FeedPolicy {
                settings: settings.clone(),
                key_sources: config.key_sources.clone(),
                scopes: config.scopes.clone(),
                header_names: config.upstream_header_names.clone(),
                enforcement: config.enforcement,
                ids: self.ids,
                token_keys: self.token_keys,
            })
        });
        let union_is_any_alone = self.union.is_any_alone() && feed.is_none();
        let may_have_tokens = !self.token_parents.is_empty() || feed.is_some();
        Policy {
            key_sources: config.key_sources.iter().map(Source::new).collect(),
            keys: self.keys.into(),
            entries: self.entries.into(),
            table: self.table,
            token_parents: self.token_parents,
            token_scopes,
            anonymous,
            origins: self.origins,
            union: self.union,
            feed,
            identity_header: config.identity_header.as_ref().map(|name| name.lower().into()),
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
                protected_headers: ProtectedHeaders::new(
                    config
                        .upstream_header_names
                        .iter()
                        .map(|name| name.0.as_str())
                        .chain(config.identity_header.as_ref().map(|name| name.0.as_str()))
                        .chain([FILTER_HEADER, SUBJECT_HEADER].into_iter().filter(|_| may_have_tokens)),
                ),
                enforcement: config.enforcement,
            }),
            client_ip: config.client_ip,
            forward_api_key: config.forward_api_key,
            docs_url: config.docs_url.as_deref().map(Into::into),
            challenge: challenge(&config.key_sources),
        }
    }
}

/// A label must tell which entry of the key was used.
fn find_duplicate_labels(entries: &[ApiKeyEntry<'_>], path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let labels = sorted(entries.iter().filter_map(|entry| entry.label.as_deref()).collect());
    let mut earlier = None;
    for label in labels {
        if earlier.replace(label) == Some(label) {
            let value = format_args!("{label:?}");
            diagnostics.add(&path.field("api_key"), &value, &PolicyDiagnostic::DuplicateLabel);
        }
    }
}
