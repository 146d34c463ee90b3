//! The compiled policies of a VM, bounded in bytes.
//!
//! Envoy keeps the root context of a superseded configuration while a stream under it is open, and connections of a draining listener
//! still send requests under it. The filter cannot read that configuration again. So a superseded policy stays in memory as long as there
//! is enough, and the least recently used one is evicted first. The newest policy of a plugin is never evicted, even if it is idle. While a configuration is loaded, the policy before
//! it counts as superseded: Envoy gives a worker only configurations that the canary on its main thread has accepted.

use keyfence_core::decision::token_cache;
use keyfence_core::policy::Policy;

/// Identifies a plugin in a VM that runs several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginId {
    /// `name` in Envoy's `PluginConfig`.
    pub name: String,
    /// `root_id` in Envoy's `PluginConfig`.
    pub root_id: String,
}

/// The memory that policies and keys leave free for others, in bytes: for about 100,000 open streams, and for what is remembered of tokens, even
/// if some of it is in use already.
pub const OTHER_MEMORY: usize = (16 << 20) + token_cache::MAX_BYTES;

/// The most memory that all superseded policies may use together, in bytes, unless the newest policy uses more.
const SUPERSEDED_BYTES: usize = 32 << 20;

/// Policies by root context, in the order of their configuration.
#[derive(Debug, Default)]
pub struct PolicyCache {
    entries: Vec<Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    context: u32,
    plugin: PluginId,
    policy: Option<Compiled>,
    last_used: u64,
}

#[derive(Debug)]
struct Compiled {
    policy: Policy,
    bytes: usize,
}

impl PolicyCache {
    /// Adds a root context, without a policy yet. The earlier policies of its plugin become superseded.
    pub fn begin(&mut self, context: u32, plugin: PluginId) {
        self.remove(context);
        self.entries.push(Entry {
            context,
            plugin,
            policy: None,
            last_used: 0,
        });
    }

    /// Stores the policy of a root context that [`PolicyCache::begin`] added, and its size in bytes.
    pub fn insert(&mut self, context: u32, policy: Policy, bytes: usize) {
        self.clock += 1;
        let last_used = self.clock;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.context == context) {
            entry.policy = Some(Compiled { policy, bytes });
            entry.last_used = last_used;
        }
    }

    /// The policy of a root context. `None` if there is none, or if it has been evicted.
    pub fn get(&self, context: u32) -> Option<&Policy> {
        let entry = self.entries.iter().rev().find(|entry| entry.context == context)?;
        entry.policy.as_ref().map(|compiled| &compiled.policy)
    }

    /// Marks the policy of a root context as used.
    pub fn touch(&mut self, context: u32) {
        self.clock += 1;
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.context == context) {
            entry.last_used = self.clock;
        }
    }

    /// Removes a root context and its policy.
    pub fn remove(&mut self, context: u32) {
        self.entries.retain(|entry| entry.context != context);
    }

    /// Evicts superseded policies until the rest is within the limit that applies with a new policy of `newest` bytes.
    pub fn trim(&mut self, newest: usize) {
        while self.superseded_bytes() > newest.max(SUPERSEDED_BYTES) && self.evict() {}
    }

    /// Evicts the least recently used superseded policy; `false` if there is none.
    pub fn evict(&mut self) -> bool {
        let superseded = self.superseded().filter(|index| self.has_policy(*index));
        let oldest = superseded.min_by_key(|index| self.entries.get(*index).map(|entry| entry.last_used));
        match oldest.and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => entry.policy.take().is_some(),
            None => false,
        }
    }

    fn has_policy(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.policy.is_some())
    }

    /// The indices of entries with a newer entry of the same plugin.
    fn superseded(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let mut newer = self.entries.iter().skip(index + 1);
            newer.any(|newer| newer.plugin == entry.plugin).then_some(index)
        })
    }

    fn superseded_bytes(&self) -> usize {
        let entries = self.superseded().filter_map(|index| self.entries.get(index));
        entries
            .filter_map(|entry| entry.policy.as_ref())
            .map(|compiled| compiled.bytes)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyfence_core::config::timestamp::Timestamp;

    fn policy() -> Policy {
        Policy::load(b"{}", Timestamp(0)).unwrap().policy
    }

    fn plugin_id(name: &str) -> PluginId {
        PluginId {
            name: name.into(),
            root_id: String::new(),
        }
    }

    /// A step of a test case.
    ///
    /// `Configure` gives a context of a plugin a policy of some MiB.
    enum Step {
        Configure(u32, &'static str, usize),
        Use(u32),
        Delete(u32),
    }
    use Step::*;

    #[test]
    fn the_least_recently_used_superseded_policy_is_evicted() {
        for (name, steps, expected) in [
            ("one policy", vec![Configure(1, "a", 100)], vec![1]),
            (
                "the previous one stays",
                vec![Configure(1, "a", 100), Configure(2, "a", 100)],
                vec![1, 2],
            ),
            (
                "only one previous policy stays if they are large",
                vec![Configure(1, "a", 100), Configure(2, "a", 100), Configure(3, "a", 100)],
                vec![2, 3],
            ),
            (
                "several previous policies stay if they are small",
                vec![
                    Configure(1, "a", 8),
                    Configure(2, "a", 8),
                    Configure(3, "a", 8),
                    Configure(4, "a", 8),
                ],
                vec![1, 2, 3, 4],
            ),
            (
                "the most recently used one stays",
                vec![
                    Configure(1, "a", 20),
                    Configure(2, "a", 20),
                    Use(1),
                    Configure(3, "a", 20),
                ],
                vec![1, 3],
            ),
            (
                "the idle policy of another plugin stays",
                vec![
                    Configure(1, "b", 100),
                    Configure(2, "a", 100),
                    Configure(3, "a", 100),
                    Configure(4, "a", 100),
                ],
                vec![1, 3, 4],
            ),
            (
                "a large one is evicted for a small one",
                vec![Configure(1, "a", 100), Configure(2, "a", 1)],
                vec![2],
            ),
            (
                "a context that is configured again is the newest",
                vec![Configure(1, "a", 100), Configure(2, "a", 100), Configure(1, "a", 100)],
                vec![1, 2],
            ),
            (
                "a deleted policy frees memory",
                vec![
                    Configure(1, "a", 100),
                    Delete(1),
                    Configure(2, "a", 100),
                    Configure(3, "a", 100),
                ],
                vec![2, 3],
            ),
        ] {
            let mut cache = PolicyCache::default();
            for step in steps {
                match step {
                    Configure(context, plugin, mebibytes) => {
                        cache.begin(context, plugin_id(plugin));
                        cache.trim(mebibytes << 20);
                        cache.insert(context, policy(), mebibytes << 20);
                    }
                    Use(context) => {
                        cache.touch(context);
                        assert!(cache.get(context).is_some(), "{name}");
                    }
                    Delete(context) => cache.remove(context),
                }
            }
            let found: Vec<u32> = (1..10).filter(|context| cache.get(*context).is_some()).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn only_superseded_policies_are_evicted() {
        let mut cache = PolicyCache::default();
        for (context, name) in [(1, "a"), (2, "a"), (3, "b")] {
            cache.begin(context, plugin_id(name));
            cache.insert(context, policy(), 1);
        }
        assert!(cache.evict());
        assert!(!cache.evict());
        assert!(cache.get(1).is_none() && cache.get(2).is_some() && cache.get(3).is_some());
    }
}
