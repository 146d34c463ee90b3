//! Resolves the merge keys (`<<`) of YAML 1.1 as `kubectl` does. Envoy's reader does not: to it, `<<` is a name like others.
//!
//! <https://yaml.org/type/merge.html> lets the object's own members win. kubectl's reader (go.yaml.in/yaml/v2) lets the last one win, so
//! that a merge also overwrites what is written before it. Where the two differ, this is an error.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::tree::{Mark, Member, Node, SyntaxError, Value};

/// The node without merge keys. What has none is shared, so that its aliases still cost no memory.
pub fn resolve(node: &Node) -> Result<Node, SyntaxError> {
    Ok(resolved(node)?.unwrap_or_else(|| node.clone()))
}

/// `None` if there is nothing to resolve.
fn resolved(node: &Node) -> Result<Option<Node>, SyntaxError> {
    let value = match &node.value {
        Value::Scalar(_) => None,
        Value::List(items) => resolved_all(items.iter())?.map(|items| Value::List(items.into())),
        Value::Object(members) => {
            let nodes = resolved_all(members.iter().map(|member| &member.node))?;
            if nodes.is_none() && !members.iter().any(|member| member.is_merge) {
                None
            } else {
                let mut members = members.to_vec();
                for (member, node) in members.iter_mut().zip(nodes.into_iter().flatten()) {
                    member.node = node;
                }
                Some(Value::Object(merged(members)?.into()))
            }
        }
    };
    Ok(value.map(|value| Node { mark: node.mark, value }))
}

/// `None` if none of them has something to resolve.
fn resolved_all<'n>(nodes: impl Iterator<Item = &'n Node> + Clone) -> Result<Option<Vec<Node>>, SyntaxError> {
    let all: Vec<Option<Node>> = nodes.clone().map(resolved).collect::<Result<_, _>>()?;
    if all.iter().all(Option::is_none) {
        return Ok(None);
    }
    let nodes = nodes
        .zip(all)
        .map(|(node, resolved)| resolved.unwrap_or_else(|| node.clone()));
    Ok(Some(nodes.collect()))
}

/// A member of the result.
struct Taken {
    index: usize,
    /// The place of the object that has it, among those of `<<`; `None` if it is a member of its own.
    source: Option<usize>,
}

fn merged(members: Vec<Member>) -> Result<Vec<Member>, SyntaxError> {
    let mut result: Vec<Member> = Vec::with_capacity(members.len());
    let mut taken: HashMap<String, Taken> = HashMap::new();
    let mut has_merge = false;
    for member in members {
        if member.is_merge {
            if has_merge {
                return Err(error(
                    member.mark,
                    "<< is there twice",
                    "write one with a list: <<: [*a, *b]",
                ));
            }
            has_merge = true;
            merge(&member, &mut result, &mut taken)?;
            continue;
        }
        match taken.entry(member.name.clone()) {
            Entry::Occupied(mut known) if known.get().source.is_some() => {
                known.get_mut().source = None;
                if let Some(old) = result.get_mut(known.get().index) {
                    *old = member;
                }
            }
            Entry::Occupied(_) => result.push(member),
            Entry::Vacant(free) => {
                let index = result.len();
                free.insert(Taken { index, source: None });
                result.push(member);
            }
        }
    }
    Ok(result)
}

/// Adds the members of an object, or of each object of a list, that none before it has.
fn merge(merge: &Member, result: &mut Vec<Member>, taken: &mut HashMap<String, Taken>) -> Result<(), SyntaxError> {
    let sources = match &merge.node.value {
        Value::Object(_) => std::slice::from_ref(&merge.node),
        Value::List(items) => items,
        Value::Scalar(_) => &[],
    };
    let is_wrong = |source: &&Node| !matches!(source.value, Value::Object(_));
    if sources.iter().any(|source| is_wrong(&source)) || matches!(merge.node.value, Value::Scalar(_)) {
        return Err(error(
            merge.mark,
            "<< merges an object, or a list of objects, and this is neither",
            "write <<: *name, or <<: [*name, *other]",
        ));
    }
    let sources = sources.iter().enumerate();
    for (source, member) in sources.flat_map(|(source, node)| node.members().iter().map(move |member| (source, member)))
    {
        match taken.entry(member.name.clone()) {
            // Of a repeated name kubectl takes the last. It stays repeated, which the check of what it is in reports.
            Entry::Occupied(known) if known.get().source == Some(source) => result.push(member.clone()),
            Entry::Occupied(known) if known.get().source.is_some() => {}
            Entry::Occupied(_) => {
                let name = &member.name;
                let message =
                    format!("kubectl lets << overwrite {name:?}, which is before it, and other readers do not");
                return Err(error(merge.mark, message, "write << first"));
            }
            Entry::Vacant(free) => {
                let index = result.len();
                free.insert(Taken {
                    index,
                    source: Some(source),
                });
                result.push(member.clone());
            }
        }
    }
    Ok(())
}

fn error(mark: Mark, reason: impl Into<String>, help: &'static str) -> SyntaxError {
    SyntaxError {
        mark,
        reason: reason.into(),
        help: Some(help),
    }
}
