//! The gateways that have asked lately: each VM with what it has, and the keys that it refuses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::feed::{Poll, Refused};
use crate::state::After;

/// How long a VM that does not ask any more is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The most VMs that are remembered. A fleet of 1,000 gateways with 8 workers each has fewer.
const MAX_INSTANCES: usize = 10_000;

/// The VMs that have asked lately, by their instance.
#[derive(Debug, Default)]
pub struct Gateways(Mutex<HashMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    node: String,
    after: Option<After>,
    refused: Refused,
    at: Instant,
}

impl Gateways {
    /// Remembers a poll. Returns a line for the log if the VM refuses other keys than before.
    pub fn see(&self, poll: &Poll) -> Option<String> {
        let mut instances = self.lock();
        if instances.len() >= MAX_INSTANCES && !instances.contains_key(&poll.instance) {
            forget_old(&mut instances);
            if instances.len() >= MAX_INSTANCES {
                return None;
            }
        }
        let seen = Seen {
            node: poll.node.clone(),
            after: poll.after.clone(),
            refused: poll.refused.clone(),
            at: Instant::now(),
        };
        let before = match instances.entry(poll.instance.clone()) {
            Entry::Occupied(mut entry) => entry.insert(seen).refused,
            Entry::Vacant(entry) => {
                entry.insert(seen);
                Refused::default()
            }
        };
        (before != poll.refused).then(|| refused_line(poll))
    }

    /// How many VMs have asked lately.
    pub fn count(&self) -> usize {
        let mut instances = self.lock();
        forget_old(&mut instances);
        instances.len()
    }

    /// The VMs, sorted by node and instance.
    pub fn to_json(&self) -> Value {
        let mut instances = self.lock();
        forget_old(&mut instances);
        let mut all: Vec<(&String, &Seen)> = instances.iter().collect();
        all.sort_by_key(|(instance, seen)| (&seen.node, *instance));
        let items = all.into_iter().map(|(instance, seen)| {
            let first = seen.refused.first.iter();
            let first = first.map(|(id, code)| json!({"id": id, "code": code}));
            json!({
                "node": seen.node,
                "instance": instance,
                "epoch": seen.after.as_ref().map(|after| &after.epoch),
                "revision": seen.after.as_ref().map(|after| after.revision),
                "age_seconds": seen.at.elapsed().as_secs(),
                "refused": {"count": seen.refused.count, "first": first.collect::<Vec<_>>()},
            })
        });
        json!({"items": items.collect::<Vec<_>>(), "next": null})
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(instances: &mut HashMap<String, Seen>) {
    instances.retain(|_, seen| seen.at.elapsed() < REMEMBERED);
}

fn refused_line(poll: &Poll) -> String {
    let Poll {
        node,
        instance,
        refused: Refused { count, first },
        ..
    } = poll;
    let mut line = match count {
        0 => format!("gateway {node:?} ({instance}) refuses no key any more"),
        1 => format!("gateway {node:?} ({instance}) refuses 1 key:"),
        _ => format!("gateway {node:?} ({instance}) refuses {count} keys:"),
    };
    for (index, (id, code)) in first.iter().enumerate() {
        line.push_str(if index > 0 { ", " } else { " " });
        line.push_str(&format!("{id:?} {code}"));
    }
    if *count > first.len() as u64 && !first.is_empty() {
        line.push_str(", …");
    }
    line
}
