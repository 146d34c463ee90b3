//! The keys in force: those of a policy, and those of its feed.

use super::fed_keys::FedKeys;
use super::feed_policy::FeedPolicy;
use super::footprint::RULES;
use super::origin_list::OriginMatch;
use super::scopes::ScopeRules;
use super::token_verifier::TokenVerifier;
use super::{KeyMatch, Policy, Restrictions, TokenParentRef};
use crate::config::api_key::{KeyDigest, MAX_LENGTH};
use crate::config::key::Enforcement;

/// A policy, and the keys of its feed.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// `None` if the policy has no feed, or if the keys of its feed are not known.
    fed: Option<&'p FedKeys>,
    /// Whether these are compiled with another policy, from which they take something else.
    is_of_other: bool,
}

/// Without the keys of a feed.
impl<'p> From<&'p Policy> for InForce<'p> {
    fn from(policy: &'p Policy) -> Self {
        InForce::new(policy, None)
    }
}

impl<'p> InForce<'p> {
    /// `fed` is `None` as long as the keys of the policy's feed are not known.
    pub fn new(policy: &'p Policy, fed: Option<&'p FedKeys>) -> InForce<'p> {
        InForce {
            policy,
            fed: fed.filter(|_| policy.feed.is_some()),
            is_of_other: false,
        }
    }

    /// The same, with keys that are compiled with `other`, `None` if that has ended. It is a newer policy with this feed, and replaces this one, or both
    /// are in force side by side. So a key may do what both allow.
    pub fn compiled_with(self, other: Option<&Policy>) -> InForce<'p> {
        let is_alike = |own: &FeedPolicy| {
            other
                .and_then(Policy::feed)
                .is_some_and(|other| own.compiles_like(other))
        };
        InForce {
            is_of_other: !self.policy.feed().is_some_and(is_alike),
            ..self
        }
    }

    /// Whether the keys of the feed are compiled with another policy, from which they take something else.
    pub fn is_of_other(&self) -> bool {
        self.is_of_other
    }

    /// Whether the policy has a feed whose keys are not known: a key that is not found may be one of them.
    pub fn is_incomplete(&self) -> bool {
        self.policy.feed.is_some() && self.fed.is_none()
    }

    /// The key, and the entry of it, with this digest.
    pub fn find_key(&self, digest: &KeyDigest) -> Option<KeyMatch<'p>> {
        let fed = || self.fed?.find_key(digest).filter(|found| self.accepts(found));
        self.policy.find_key(digest).or_else(fed)
    }

    /// Whether the policy would not refuse this key of the feed, which may be compiled with another one.
    fn accepts(&self, found: &KeyMatch<'_>) -> bool {
        let (Some(fed), Some(form), Some(feed), true) = (self.fed, found.form, self.policy.feed(), self.is_of_other)
        else {
            return true;
        };
        let has_scopes = fed
            .scope_names(form)
            .is_none_or(|names| feed.scopes_of(names).is_some());
        has_scopes
            && feed.lists(&form.key.restrictions.upstream_headers)
            && !feed.has_id(&self.policy.keys, &form.key.id)
    }

    /// What the policy's own scopes allow a key of the feed that is compiled with another one. `None` if the key is compiled with this one, or has
    /// no scopes.
    pub(crate) fn own_rules(&self, found: KeyMatch<'_>) -> Option<ScopeRules> {
        let (true, Some(form)) = (self.is_of_other, found.form) else {
            return None;
        };
        let names = self.fed?.scope_names(form)?;
        // If a scope is missing, or the rules need too much memory, nothing is allowed.
        let scopes = self
            .policy
            .feed()
            .and_then(|feed| feed.scopes_of(names))
            .unwrap_or_default();
        let mut left = RULES;
        Some(ScopeRules::of_scopes(&scopes, &mut left).unwrap_or_default())
    }

    /// Whether decisions on a request with this key, or without one, take effect.
    pub(crate) fn enforcement(&self, found: Option<KeyMatch<'_>>, restrictions: Option<&Restrictions>) -> Enforcement {
        let form = found.and_then(|found| found.form).filter(|_| self.is_of_other);
        match (form, self.policy.feed(), restrictions) {
            (Some(form), Some(feed), _) => form.enforcement(feed),
            (_, _, Some(restrictions)) => restrictions.enforcement,
            _ => self.policy.response.enforcement,
        }
    }

    /// The key with this id, if it has scoped tokens, and what verifies them.
    pub(crate) fn token_parent(&self, id: &str) -> Option<(TokenParentRef, &'p TokenVerifier)> {
        match self.policy.token_parent(id) {
            Some((key, verifier)) => Some((TokenParentRef::Static(key), verifier)),
            None => {
                let (key, verifier) = self.fed?.token_parent(id)?;
                Some((TokenParentRef::Fed(key), verifier))
            }
        }
    }

    /// The key that a token was narrowed from. `None` if it has changed since.
    pub(crate) fn parent(&self, parent: TokenParentRef) -> Option<KeyMatch<'p>> {
        match parent {
            TokenParentRef::Static(index) => Some(KeyMatch {
                key: self.policy.key(index)?,
                entry: None,
                form: None,
            }),
            TokenParentRef::Fed(key) => self.fed?.parent(key).filter(|found| self.accepts(found)),
        }
    }

    /// Whether any key has scoped tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        !self.policy.token_parents.is_empty() || self.fed.is_some_and(FedKeys::has_tokens)
    }

    /// The most bytes of a key or token in a request.
    pub fn max_credential_length(&self) -> usize {
        /// The longest token.
        const MAX_TOKEN: usize = 4096;
        match self.has_tokens() || self.policy.feed.is_some() {
            true => MAX_TOKEN,
            false => MAX_LENGTH,
        }
    }

    /// What `origin` matches in the list of these restrictions; without any, in the lists of all enabled keys.
    pub(crate) fn match_origin(&self, restrictions: Option<&Restrictions>, origin: &[u8]) -> Option<OriginMatch> {
        let policy = self.policy;
        match restrictions {
            Some(restrictions) if restrictions.origins.is_of_feed => {
                self.fed?.origins().match_list(&restrictions.origins, origin)
            }
            Some(restrictions) => policy.origins.match_list(&restrictions.origins, origin),
            None => {
                let found = policy.origins.match_union(&policy.union, origin);
                match (found, self.fed) {
                    (None | Some(OriginMatch::Any), Some(fed)) => OriginMatch::closer(found, fed.match_union(origin)),
                    _ => found,
                }
            }
        }
    }
}
