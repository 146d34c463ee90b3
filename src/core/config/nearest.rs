//! "Did you mean ...?": the known name that a misspelt name resembles most.

/// The longest name that is compared, in bytes. No known name is that long, and the distance takes time proportional to the product of
/// both lengths.
const LONGEST: usize = 128;

/// Returns the entry of `known` that `name` probably means, or `None` if no entry is near enough.
///
/// An entry is near enough if `name` is its beginning (4 bytes or more), or if the number of edits (optimal string alignment) is at
/// most one plus a quarter of the entry's length. ASCII case does not count.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let folded = name.to_ascii_lowercase();
    known
        .into_iter()
        .filter(|_| name.len() <= LONGEST)
        .filter_map(|candidate| {
            let entry = candidate.to_ascii_lowercase();
            let distance = strsim::osa_distance(&folded, &entry);
            let is_begun = folded.len() >= 4 && entry.starts_with(&folded);
            (is_begun || distance <= 1 + entry.len() / 4).then_some((distance, candidate))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}
