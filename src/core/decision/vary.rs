//! `Vary` (RFC 9110, section 12.5.5): the request headers by which responses differ, so that caches keep them apart.

use super::headers::{Headers, Line};
use super::mutation::HeaderMutation;
use crate::policy::response_headers::Vary;

/// Adds the policy's names to those of the upstream, no name twice. `*` includes every name.
pub fn apply<'h>(
    vary: &Vary,
    present: &Headers<impl Iterator<Item = Line<'h>> + Clone>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    let lines = present.values(b"vary");
    let count = lines.clone().count();
    if count == 0 {
        if !vary.names.is_empty() {
            mutate(HeaderMutation::Add(b"vary", vary.value.as_bytes()));
        }
        return;
    }
    let listed = lines
        .flat_map(|line| line.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii);
    let own = vary.names.iter().map(|name| name.as_bytes());
    let mut names: Vec<&[u8]> = Vec::new();
    let mut is_changed = count > 1;
    for (name, is_own) in listed.map(|name| (name, false)).chain(own.map(|name| (name, true))) {
        let is_known = name.is_empty() || names.iter().any(|known| known.eq_ignore_ascii_case(name));
        // The value changes if a duplicate of the upstream is dropped, or a name of the policy is added.
        is_changed |= is_known != is_own;
        if !is_known {
            names.push(name);
        }
    }
    if is_changed && !names.contains(&&b"*"[..]) {
        mutate(HeaderMutation::Replace(b"vary", &names.join(&b", "[..])));
    }
}
