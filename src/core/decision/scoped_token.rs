//! Scoped tokens: what a backend narrows from a key, for one of its users.

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::jwt::{Jwt, Members};
use super::token_error::TokenError;
use super::token_times::{Dates, Times};
use crate::config::index::IndexPattern;
use crate::config::network::Network;
use crate::config::node::Node;
use crate::config::origin::OriginPattern;
use crate::config::timestamp::Timestamp;
use crate::policy::in_force::InForce;
use crate::policy::networks::Networks;
use crate::policy::origin_list::{OriginList, OriginMatch};
use crate::policy::origins::OriginTable;
use crate::policy::scopes::{IndexList, ScopeRules};
use crate::policy::sorted::sorted;
use crate::policy::token_verifier::{Algorithm, TokenVerifier};
use crate::policy::{Policy, TokenParentRef};

/// A token whose signature and claims are right. Its times have to be compared with the clock on each request.
#[derive(Debug)]
pub struct ScopedToken {
    pub(super) key: TokenParentRef,
    times: Times,
    /// The user.
    subject: Option<Subject>,
    /// What the upstream is to filter by.
    filter: Option<Box<str>>,
    /// The origins of web pages. `None`: those of the key.
    origins: Option<TokenOrigins>,
    /// Empty: those of the key.
    pub(super) networks: Networks,
    /// The indexes of scopes in the policy. `None`: those of the key.
    scopes: Option<Box<[usize]>>,
    /// `None`: those of the key.
    pub(super) indexes: Option<IndexList>,
    bytes: usize,
}

/// What is remembered of a token: when it is valid, and whether the rest of it is right. So the result at any time is what it would be if the
/// token were verified then.
#[derive(Debug, Clone)]
pub struct Verdict {
    key: TokenParentRef,
    times: Times,
    result: Result<Arc<ScopedToken>, TokenError>,
}

/// What an entry of a list takes at most, besides its text. Origins take most: a pattern and its share of two hash tables.
const ENTRY_BYTES: usize = 192;

/// What the allocator and empty lists take.
const FIXED_BYTES: usize = 512;

#[derive(Debug)]
struct Subject {
    text: Box<str>,
    digest: [u8; 32],
}

#[derive(Debug)]
struct TokenOrigins {
    table: OriginTable,
    list: OriginList,
}

/// A token of which everything has been checked that costs little: not its signature, and not its other claims.
pub struct Unverified<'p, 't> {
    in_force: InForce<'p>,
    jwt: Jwt<'t>,
    algorithm: Algorithm,
    key: TokenParentRef,
    verifier: &'p TokenVerifier,
    times: Times,
}

impl<'p, 't> Unverified<'p, 't> {
    /// Reads a token: everything that can be checked without its signature. Its end comes before all that depends on the policy, so that the
    /// reason tells nothing of the policy to those who cannot sign.
    pub fn read(in_force: InForce<'p>, text: &'t str, now: Timestamp) -> Result<Unverified<'p, 't>, TokenError> {
        let jwt = Jwt::parse(text).ok_or(TokenError::Malformed)?;
        let header = Members::parse(&jwt.header).ok_or(TokenError::Header)?;
        // No extension is understood, so a token that needs one is refused (RFC 7515, section 4.1.11).
        if header.get("crit").is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = header.text("alg").and_then(Algorithm::named);
        let algorithm = algorithm.ok_or(TokenError::Algorithm)?;
        let claims = Members::parse(&jwt.claims).ok_or(TokenError::Claims)?;
        let dates = Dates::of(&claims)?;
        let times = dates.times();
        if now >= times.end {
            return Err(TokenError::Expired);
        }
        let parent = header.text("kid").and_then(|kid| in_force.token_parent(kid));
        let (key, verifier) = parent.ok_or(TokenError::Parent)?;
        dates.check(verifier)?;
        times.check(now)?;
        if !verifier.may_verify(algorithm, &jwt.signature) {
            return Err(TokenError::SignatureForm);
        }
        Ok(Unverified {
            in_force,
            algorithm,
            key,
            verifier,
            times,
            jwt,
        })
    }

    /// Verifies the signature, and reads the other claims.
    pub fn verdict(self) -> Verdict {
        Verdict {
            key: self.key,
            times: self.times,
            result: self.verify(),
        }
    }

    /// The token, if its signature and its other claims are right.
    pub fn verify(self) -> Result<Arc<ScopedToken>, TokenError> {
        let Jwt {
            claims,
            signed,
            signature,
            ..
        } = &self.jwt;
        if !self.verifier.verify(self.algorithm, signed.as_bytes(), signature) {
            return Err(TokenError::Signature);
        }
        // From here on, all that is read has been signed.
        let claims = Members::parse(claims).ok_or(TokenError::Claims)?;
        let mut entries = 0;
        let scopes = list(&claims, "scopes", &mut entries, |name| {
            self.in_force.policy.token_scope_index(name)
        })?;
        let indexes = list(&claims, "indexes", &mut entries, |entry| {
            IndexPattern::parse(Cow::Borrowed(entry))
        })?;
        let networks = list(&claims, "ips", &mut entries, |text| Network::parse(text).ok())?;
        let origins = list(&claims, "origins", &mut entries, |text| OriginPattern::parse(text).ok())?;
        // For a key, an empty list of these means that nothing is checked. A token narrows.
        if networks.as_ref().is_some_and(Vec::is_empty) {
            return Err(TokenError::Claim("ips"));
        }
        if origins.as_ref().is_some_and(Vec::is_empty) {
            return Err(TokenError::Claim("origins"));
        }
        Ok(Arc::new(ScopedToken {
            key: self.key,
            times: self.times,
            subject: header_text(&claims, "sub", 256)?.map(|text| Subject {
                digest: Sha256::digest(text.as_bytes()).into(),
                text,
            }),
            filter: header_text(&claims, "filter", 1024)?,
            origins: origins.as_deref().map(TokenOrigins::new),
            networks: Networks::new(networks.as_deref().unwrap_or_default()),
            scopes: scopes.map(|scopes| {
                let mut scopes = sorted(scopes);
                scopes.dedup();
                scopes.into()
            }),
            indexes: indexes.as_deref().map(IndexList::new),
            bytes: size_of::<ScopedToken>() + 2 * self.jwt.claims.len() + entries * ENTRY_BYTES + FIXED_BYTES,
        }))
    }
}

/// The value of a claim that is a list of strings. `None` without the claim. `entries` counts the items.
fn list<'c, T>(
    claims: &'c Members<'_>,
    name: &'static str,
    entries: &mut usize,
    parse: impl Fn(&'c str) -> Option<T>,
) -> Result<Option<Vec<T>>, TokenError> {
    let items = match claims.get(name) {
        None => return Ok(None),
        Some(Node::List(items)) => items.iter(),
        Some(_) => return Err(TokenError::Claim(name)),
    };
    *entries += items.len();
    let parsed = items.map(|item| match item {
        Node::Text(text) => parse(text).ok_or(TokenError::Claim(name)),
        _ => Err(TokenError::Claim(name)),
    });
    parsed.collect::<Result<_, _>>().map(Some)
}

/// The value of a claim that goes into a header: visible ASCII, up to `longest` bytes and not empty, because an upstream could take an empty
/// filter for none.
fn header_text(claims: &Members<'_>, name: &'static str, longest: usize) -> Result<Option<Box<str>>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Node::Text(text)) if (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(text.as_ref().into()))
        }
        Some(_) => Err(TokenError::Claim(name)),
    }
}

impl Verdict {
    /// The token, if it is good at this time.
    pub fn at(&self, now: Timestamp) -> Result<Arc<ScopedToken>, TokenError> {
        self.times.check(now)?;
        self.result.clone()
    }

    /// Whether the token has expired, and is not worth remembering.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.times.end
    }

    /// The key that the token names.
    pub fn key(&self) -> TokenParentRef {
        self.key
    }

    /// Whether everything is right but perhaps the time.
    pub fn is_good(&self) -> bool {
        self.result.is_ok()
    }

    /// Of a bad token with this end.
    #[cfg(test)]
    pub fn for_test(error: TokenError, end: Timestamp) -> Verdict {
        let begin = Timestamp(i64::MIN);
        Verdict {
            key: TokenParentRef::Static(crate::policy::key_table::KeyIndex(0)),
            times: Times { begin, end },
            result: Err(error),
        }
    }

    /// An upper bound on the bytes that it takes besides itself.
    pub fn bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |token| token.bytes())
    }
}

impl ScopedToken {
    /// The user whom the token is for: the claim `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_ref().map(|subject| &*subject.text)
    }

    /// The SHA-256 of the subject.
    pub(super) fn subject_digest(&self) -> Option<[u8; 32]> {
        self.subject.as_ref().map(|subject| subject.digest)
    }

    /// What the upstream is to filter by: the claim `filter`.
    pub fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    /// The first second at which it is no longer valid.
    pub fn expires_at(&self) -> Timestamp {
        self.times.end
    }

    /// Whether it lists networks.
    pub fn lists_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Whether it lists scopes.
    pub fn lists_scopes(&self) -> bool {
        self.scopes.is_some()
    }

    /// Whether it lists origins.
    pub fn lists_origins(&self) -> bool {
        self.origins.is_some()
    }

    /// What in its list of origins this one matches.
    pub(super) fn match_origin(&self, origin: &[u8]) -> Option<OriginMatch> {
        let origins = self.origins.as_ref()?;
        origins.table.match_list(&origins.list, origin)
    }

    /// The origins of its list, to show what an origin matched.
    pub fn origins(&self) -> Option<&OriginTable> {
        self.origins.as_ref().map(|origins| &origins.table)
    }

    /// Whether it says something about the path.
    pub fn reads_path(&self) -> bool {
        self.scopes.is_some() || self.indexes.is_some()
    }

    /// The rules of its scopes; `None` if it does not narrow them.
    pub(super) fn scopes<'p>(&self, policy: &'p Policy) -> Option<impl Iterator<Item = &'p ScopeRules>> {
        let scopes = self.scopes.as_ref()?;
        Some(scopes.iter().filter_map(|index| policy.token_scope(*index)))
    }

    /// An upper bound on its bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl TokenOrigins {
    fn new(patterns: &[OriginPattern]) -> TokenOrigins {
        let mut table = OriginTable::default();
        let list = table.add(patterns, false);
        table.shrink();
        TokenOrigins { table, list }
    }
}
