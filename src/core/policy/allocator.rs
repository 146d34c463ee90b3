//! What allocations take of the allocator, for upper bounds on memory.

/// What it adds to an allocation, and rounds it up by, in bytes.
pub const OVERHEAD: usize = 24;

/// A hash table of so many items: its number of places is a power of two, of which seven in eight are used.
pub fn table_bytes<T>(items: usize) -> usize {
    match items {
        0 => 0,
        items => (items.max(4) * 8).div_ceil(7).next_power_of_two() * (size_of::<T>() + 1) + OVERHEAD,
    }
}
