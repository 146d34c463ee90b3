//! Memory for what the host hands over, used again from request to request.

use std::cell::RefCell;
use std::mem;
use std::ops::Deref;
use std::ptr;

/// Bytes that the host wrote.
#[derive(Debug, Default)]
pub struct Buffer(Vec<u8>);

/// Larger ones are given back to the allocator: a request's headers seldom have more.
const MAX_KEPT: usize = 64 * 1024;

#[derive(Default)]
struct Room {
    /// What the host was given last, and is writing to. It has a capacity and no length.
    lent: Vec<u8>,
    /// The one that was free last is on top, so that each kind of call comes to find one of its size.
    spare: Vec<Vec<u8>>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Lends the host `size` bytes to write to, until it asks again. Where there is no memory it gets a null pointer, and its call fails.
pub fn lend(size: usize) -> *mut u8 {
    ROOM.with_borrow_mut(|room| {
        let unused = mem::take(&mut room.lent);
        let mut buffer = if unused.capacity() == 0 {
            room.spare.pop().unwrap_or_default()
        } else {
            unused
        };
        if buffer.capacity() < size {
            buffer = Vec::new();
            if buffer.try_reserve_exact(size).is_err() {
                return ptr::null_mut();
            }
        }
        room.lent = buffer;
        room.lent.as_mut_ptr()
    })
}

impl Buffer {
    /// Takes over what was lent; `None` where `data` is something else.
    pub fn take(data: *mut u8, size: usize) -> Option<Buffer> {
        let mut bytes = ROOM.with_borrow_mut(|room| mem::take(&mut room.lent));
        if bytes.as_ptr() != data || bytes.capacity() < size {
            return None;
        }
        // SAFETY: the host has written `size` bytes, which are no more than there is room for.
        unsafe { bytes.set_len(size) };
        Some(Buffer(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.0);
        if (1..=MAX_KEPT).contains(&bytes.capacity()) {
            bytes.clear();
            ROOM.with_borrow_mut(|room| room.spare.push(bytes));
        }
    }
}
