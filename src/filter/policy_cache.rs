//! The compiled policies of a VM, bounded in bytes.
//!
//! Envoy keeps the root context of a superseded configuration for as long as a stream of it is open, and a connection of a drained
//! listener still brings requests under it. It lets nobody read that configuration again. So a superseded policy stays while there is
//! space for it, and the one that was not used for the longest time goes first. One that has no newer policy of its own plugin stays:
//! whether it is superseded or only idle, nobody can tell.

use keyfence_core::policy::Policy;

/// Which of the plugins in a VM a configuration is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginId {
    /// `name` in Envoy's configuration of the plugin.
    pub name: String,
    /// `root_id` there.
    pub root_id: String,
}

/// Superseded policies may take so many bytes together, or as many as the newest one if that is more.
const SUPERSEDED_BYTES: usize = 32 << 20;

/// By root context, in the order in which they were configured.
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
    /// A configuration begins, without a policy yet: what its plugin had before is superseded.
    pub fn begin(&mut self, context: u32, plugin: PluginId) {
        self.remove(context);
        self.entries.push(Entry {
            context,
            plugin,
            policy: None,
            last_used: 0,
        });
    }

    /// The policy of a configuration that has begun, with the bytes that it takes.
    pub fn insert(&mut self, context: u32, policy: Policy, bytes: usize) {
        self.clock += 1;
        let last_used = self.clock;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.context == context) {
            entry.policy = Some(Compiled { policy, bytes });
            entry.last_used = last_used;
        }
    }

    /// The policy of a request under this root context; `None` where it is not there any more.
    pub fn get(&mut self, context: u32) -> Option<&Policy> {
        self.clock += 1;
        let entry = self.entries.iter_mut().rev().find(|entry| entry.context == context)?;
        entry.last_used = self.clock;
        entry.policy.as_ref().map(|compiled| &compiled.policy)
    }

    /// The root context is gone.
    pub fn remove(&mut self, context: u32) {
        self.entries.retain(|entry| entry.context != context);
    }

    /// Drops superseded policies until those left are within the bound that a new policy of so many bytes sets.
    pub fn trim(&mut self, newest: usize) {
        while self.superseded_bytes() > newest.max(SUPERSEDED_BYTES) && self.evict() {}
    }

    /// Drops the superseded policy that was not used for the longest time; `false` where there is none.
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

    /// Which entries have a newer one of the same plugin.
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

    /// A step: `configure` a context for a plugin with a policy of some MiB, `use` one, or `delete` one.
    enum Step {
        Configure(u32, &'static str, usize),
        Use(u32),
        Delete(u32),
    }
    use Step::*;

    #[test]
    fn what_is_there_after_some_steps() {
        for (name, steps, there) in [
            ("one policy", vec![Configure(1, "a", 100)], vec![1]),
            (
                "the one before stays",
                vec![Configure(1, "a", 100), Configure(2, "a", 100)],
                vec![1, 2],
            ),
            (
                "only one of those before, where they are large",
                vec![Configure(1, "a", 100), Configure(2, "a", 100), Configure(3, "a", 100)],
                vec![2, 3],
            ),
            (
                "many, where they are small",
                vec![
                    Configure(1, "a", 8),
                    Configure(2, "a", 8),
                    Configure(3, "a", 8),
                    Configure(4, "a", 8),
                ],
                vec![1, 2, 3, 4],
            ),
            (
                "the one in use stays",
                vec![
                    Configure(1, "a", 20),
                    Configure(2, "a", 20),
                    Use(1),
                    Configure(3, "a", 20),
                ],
                vec![1, 3],
            ),
            (
                "another plugin's stays, idle as it is",
                vec![
                    Configure(1, "b", 100),
                    Configure(2, "a", 100),
                    Configure(3, "a", 100),
                    Configure(4, "a", 100),
                ],
                vec![1, 3, 4],
            ),
            (
                "a small one after a large one",
                vec![Configure(1, "a", 100), Configure(2, "a", 1)],
                vec![2],
            ),
            (
                "a context that is configured again is its newest",
                vec![Configure(1, "a", 100), Configure(2, "a", 100), Configure(1, "a", 100)],
                vec![1, 2],
            ),
            (
                "what is deleted makes space",
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
                    Use(context) => assert!(cache.get(context).is_some(), "{name}"),
                    Delete(context) => cache.remove(context),
                }
            }
            let found: Vec<u32> = (1..10).filter(|context| cache.get(*context).is_some()).collect();
            assert_eq!(found, there, "{name}");
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
