//! The memory that a policy takes, computed before it is compiled.

use super::allocator::{OVERHEAD, table_bytes};
use super::key_table;
use super::origins;
use super::token_verifier;
use super::upstream_headers;
use super::{Entry, Key, TokenParent};
use crate::config::measure::Measure;
use crate::config::node::Node;

/// Upper bounds in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// The memory of the compiled policy, while it is kept.
    pub compiled: usize,
    /// The most memory that compiling takes at any moment. Includes the compiled policy, but not the text of the configuration.
    pub peak: usize,
    /// The allocations among these that grow with the policy and must each be contiguous.
    pub large: [usize; 14],
}

/// Allocations that do not grow with the policy, such as diagnostics.
const FIXED: usize = 256 << 10;

/// The most that the compiled rules of scopes may take: a fixed part, and a part for each set of scopes that keys name.
pub const RULES: usize = 4 << 20;
/// See [`RULES`].
pub const RULES_OF_A_SET: usize = 64 << 10;

impl Footprint {
    /// The footprint of a configuration with this measure.
    pub fn of(measure: &Measure) -> Footprint {
        let keys = measure.keys * size_of::<Key>() + measure.id_bytes + measure.keys * 6 * OVERHEAD;
        let digests = key_table::bytes_for(measure.digests);
        let origins = origins::bytes_for(measure.origins, measure.label_origins, measure.origin_bytes);
        let networks = measure.networks * 2 * size_of::<std::net::Ipv6Addr>();
        let indexes = measure.indexes * (size_of::<Box<str>>() + OVERHEAD) + measure.index_bytes;
        let list_of_entries = measure.listed_entries * size_of::<Entry>();
        let entries = list_of_entries + measure.listed_entries * OVERHEAD + measure.label_bytes;
        let upstream_headers = upstream_headers::bytes_for(measure.upstream_headers, measure.upstream_header_bytes);
        let token_parents = table_bytes::<TokenParent>(measure.token_parents);
        let token_keys = token_verifier::bytes_for(measure.token_parents, measure.token_keys, measure.token_key_bytes);
        let values = measure.values * 2 * size_of::<Node<'_>>() + 2 * measure.value_bytes;
        let compiled = keys
            + digests
            + entries
            + origins
            + networks
            + indexes
            + upstream_headers
            + token_parents
            + token_keys
            + values
            + rules(measure)
            + FIXED;
        let known_token_keys = token_verifier::bytes_of_table(measure.token_keys);
        let index_of_ids = table_bytes::<usize>(measure.keys) + measure.keys * size_of::<usize>();
        let [patterns, text, index, stems] =
            origins::pieces_for(measure.origins, measure.label_origins, measure.origin_bytes);
        Footprint {
            compiled,
            peak: compiled
                + index_of_ids
                + known_token_keys
                + origins::shrinking_bytes_for(measure.origins, measure.label_origins)
                + tree(measure.values, measure.value_bytes)
                + 2 * tree(measure.key_values, measure.key_bytes),
            large: [
                measure.keys * size_of::<Key>(),
                index_of_ids,
                digests,
                list_of_entries,
                token_parents,
                known_token_keys,
                patterns,
                text,
                index,
                stems,
                // A vector that grows, and what it was before.
                2 * list(measure.values),
                list(measure.values),
                2 * list(measure.key_values),
                list(measure.key_values),
            ],
        }
    }
}

/// The bytes of a list of nodes.
fn list(values: usize) -> usize {
    values * size_of::<Node<'_>>()
}

/// The most bytes that the compiled rules of all scopes may take together.
pub fn rules(measure: &Measure) -> usize {
    // A token can name each scope alone, also one of a key that a feed brings.
    let scopes = match measure.token_parents > 0 || measure.has_feed {
        true => measure.scopes,
        false => 0,
    };
    match measure.scope_sets + scopes {
        0 => 0,
        sets => sets.saturating_mul(RULES_OF_A_SET).saturating_add(RULES),
    }
}

/// The bytes of a tree of nodes. Its vectors double as they grow, and a vector that grows exists twice for a moment.
fn tree(values: usize, bytes: usize) -> usize {
    values * (3 * size_of::<(std::borrow::Cow<'_, str>, Node<'_>)>() + OVERHEAD) + bytes
}
