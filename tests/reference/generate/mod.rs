//! Policies and requests from a small alphabet, so that they meet often, and miss each other narrowly as often.

use fastrand::Rng;

mod addresses;
pub mod feed;
mod policies;
mod requests;
mod tokens;

#[allow(unused_imports, reason = "the fuzz targets make their own")]
pub use policies::Written;

/// A generator of one seed.
pub struct Generator(Rng, Tokens);

#[derive(Default)]
struct Tokens {
    /// They are sent again, while time passes: the filter remembers what it made of them.
    made: Vec<tokens::Made>,
}

impl Generator {
    pub fn of_seed(seed: u64) -> Generator {
        Generator(Rng::with_seed(seed), Tokens::default())
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.0.u32(..n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.0.usize(..list.len())]
    }

    pub fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.0.usize(..=most)).map(|_| make(self)).collect()
    }

    /// One small change.
    pub fn spoil(&mut self, bytes: &mut Vec<u8>) {
        const ODD: &[u8] = b"./:*@-_,%\\ a1A~\0\x80\xff#?[]";
        let at = self.0.usize(..=bytes.len());
        let odd = ODD[self.0.usize(..ODD.len())];
        match self.0.u32(..6) {
            0 | 1 => bytes.insert(at, odd),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] = odd,
            4 if at < bytes.len() => bytes[at] = bytes[at].to_ascii_uppercase(),
            _ => match self.0.u32(..5) {
                0 => bytes.extend(b".evil.test"),
                1 => bytes.extend(b"@evil.test"),
                2 => bytes.truncate(at),
                3 => bytes.extend(std::iter::repeat_n(b'a', 500)),
                _ => bytes.extend(bytes.clone()),
            },
        }
    }
}
