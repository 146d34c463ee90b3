//! The keys in force: those of a policy, and those of its feed.

use super::fed_keys::FedKeys;
use super::origin_list::OriginMatch;
use super::token_verifier::TokenVerifier;
use super::{KeyMatch, Policy, Restrictions, TokenParentRef};
use crate::config::api_key::{KeyDigest, MAX_LENGTH};

/// A policy, and the keys of its feed.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// `None` if the policy has no feed, or if the keys of its feed are not known.
    fed: Option<&'p FedKeys>,
}

/// Without the keys of a feed.
impl<'p> From<&'p Policy> for InForce<'p> {
    fn from(policy: &'p Policy) -> Self {
        InForce { policy, fed: None }
    }
}

impl<'p> InForce<'p> {
    /// `fed` is `None` as long as the keys of the policy's feed are not known.
    pub fn new(policy: &'p Policy, fed: Option<&'p FedKeys>) -> InForce<'p> {
        InForce {
            policy,
            fed: fed.filter(|_| policy.feed.is_some()),
        }
    }

    /// Whether the policy has a feed whose keys are not known: a key that is not found may be one of them.
    pub fn is_incomplete(&self) -> bool {
        self.policy.feed.is_some() && self.fed.is_none()
    }

    /// The key, and the entry of it, with this digest.
    pub fn find_key(&self, digest: &KeyDigest) -> Option<KeyMatch<'p>> {
        let fed = || self.fed?.find_key(digest);
        self.policy.find_key(digest).or_else(fed)
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
        let key = match parent {
            TokenParentRef::Static(index) => self.policy.key(index)?,
            TokenParentRef::Fed(key) => self.fed?.parent(key)?,
        };
        Some(KeyMatch { key, entry: None })
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
