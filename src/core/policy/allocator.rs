//! The memory that allocations take, as upper bounds.

/// The bytes that the allocator adds to an allocation: its header, and what it rounds the size up by.
pub const OVERHEAD: usize = 24;

/// The bytes of a hash table with this number of items. It has a power of two of buckets, of which at most seven in eight are used.
pub fn table_bytes<T>(items: usize) -> usize {
    match items {
        0 => 0,
        items => (items.max(4) * 8).div_ceil(7).next_power_of_two() * (size_of::<T>() + 1) + OVERHEAD,
    }
}
