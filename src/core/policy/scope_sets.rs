//! The sets of scopes that the keys of a feed name. Keys with the same scopes share them, and their rules under the policy in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::feed_policy::FeedPolicy;
use super::footprint::{RULES, RULES_OF_A_SET};
use super::scopes::ScopeRules;
use super::sorted::sorted;

/// A set of scopes in [`ScopeSets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeSetId(usize);

/// Sets of the names of scopes, and their rules.
#[derive(Debug, Default)]
pub struct ScopeSets {
    sets: Vec<ScopeSet>,
    by_names: BTreeMap<Names, ScopeSetId>,
    /// The bytes that the rules take.
    rule_bytes: usize,
}

/// Sorted, each once.
type Names = Arc<[Box<str>]>;

#[derive(Debug)]
struct ScopeSet {
    names: Names,
    /// `None` until they are needed.
    rules: Option<Result<Arc<ScopeRules>, ScopeSetError>>,
}

/// Why a set of scopes has no rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeSetError {
    /// The policy has no scope of this name.
    Unknown,
    /// The rules take more memory than they may.
    TooManyRules,
}

impl ScopeSets {
    /// The set with these names, in any order.
    pub fn add<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> ScopeSetId {
        let mut names = sorted(names.collect());
        names.dedup();
        let names: Names = names.into_iter().map(Into::into).collect();
        if let Some(id) = self.by_names.get(&names) {
            return *id;
        }
        let id = ScopeSetId(self.sets.len());
        self.by_names.insert(names.clone(), id);
        self.sets.push(ScopeSet { names, rules: None });
        id
    }

    /// The set of another table, in this one.
    pub fn copy(&mut self, id: ScopeSetId, from: &ScopeSets) -> ScopeSetId {
        let names = from.sets.get(id.0).map(|set| set.names.clone()).unwrap_or_default();
        self.add(names.iter().map(|name| &**name))
    }

    /// The names of a set.
    pub fn names(&self, id: ScopeSetId) -> &[Box<str>] {
        self.sets.get(id.0).map_or(&[], |set| &set.names)
    }

    /// The rules of a set, of the scopes of this policy.
    pub fn rules(&mut self, id: ScopeSetId, feed: &FeedPolicy) -> Result<Arc<ScopeRules>, ScopeSetError> {
        let most = RULES.saturating_add(self.sets.len().saturating_mul(RULES_OF_A_SET));
        let set = self.sets.get_mut(id.0).ok_or(ScopeSetError::Unknown)?;
        if let Some(rules) = &set.rules {
            return rules.clone();
        }
        let rules = match feed.scopes_of(&set.names) {
            None => Err(ScopeSetError::Unknown),
            Some(scopes) => {
                let before = most.saturating_sub(self.rule_bytes);
                let mut left = before;
                let rules = ScopeRules::of_scopes(&scopes, &mut left).ok_or(ScopeSetError::TooManyRules);
                if rules.is_ok() {
                    self.rule_bytes += before - left;
                }
                rules.map(Arc::new)
            }
        };
        set.rules = Some(rules.clone());
        rules
    }

    /// Forgets all rules: the scopes of the policy have changed.
    pub fn forget_rules(&mut self) {
        self.rule_bytes = 0;
        for set in &mut self.sets {
            set.rules = None;
        }
    }

    /// The number of sets, those that no key names any more included.
    pub fn set_count(&self) -> usize {
        self.sets.len()
    }
}
