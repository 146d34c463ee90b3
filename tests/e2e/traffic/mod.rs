//! Traffic of every kind to one policy, a part of it hostile, each answer held to what it must be.
//!
//! - [`cast`]: legitimate requests, and the exact answer to each.
//! - [`attacks`]: what else a client may send.
//! - [`properties`]: what holds for every answer to whatever request.
//! - [`http1`], [`http2`]: clients that send both; [`frames`]: HTTP/2 as no client library would write it.

mod attacks;
mod cast;
mod frames;
mod http1;
mod http2;
mod properties;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Listener, Witness};

use cast::{Case, LIMIT, LIMITED};
pub use cast::{IDS, policy};

/// So many connections over HTTP/1.1 and so many over HTTP/2 at once.
const HTTP1_THREADS: usize = 3;
const HTTP2_THREADS: usize = 2;

/// How the requests of one run are made, and what their answers may be.
pub struct Traffic<'w> {
    to: SocketAddr,
    witness: &'w Witness,
    cast: Vec<Case>,
    /// At most so many requests.
    total: u64,
    /// So many of a hundred.
    hostile: u32,
    seed: u64,
    /// Connections may fail, and answers be lost.
    pub may_disconnect: bool,
    /// Envoy may answer 503 in the filter's place.
    pub may_be_unavailable: bool,
    /// How many Envoys there are one after the other, each with rate limits of its own.
    pub lives: u64,
    /// The number of the next request.
    next: AtomicU64,
    finished: AtomicU64,
    done: AtomicBool,
    outcomes: Mutex<BTreeMap<String, u64>>,
}

impl<'w> Traffic<'w> {
    pub fn new(to: SocketAddr, witness: &'w Witness, total: u64, hostile: u32) -> Self {
        Self {
            to,
            witness,
            cast: cast::cast(),
            total,
            hostile,
            seed: std::env::var("KEYFENCE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap()),
            may_disconnect: false,
            may_be_unavailable: false,
            lives: 1,
            next: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            done: AtomicBool::new(false),
            outcomes: Mutex::default(),
        }
    }

    /// Sends it all from several threads while `meanwhile` runs in this one; a run that has no end of its own ends with it.
    /// Fails on the first wrong answer, and at the end on whatever should not have come to the upstream.
    pub fn run<T>(&self, meanwhile: impl FnOnce(&Self) -> T) -> T {
        println!("seed {}", self.seed);
        let begin = Instant::now();
        let result = thread::scope(|scope| {
            for thread in 0..HTTP1_THREADS + HTTP2_THREADS {
                scope.spawn(move || {
                    let _end = End(self);
                    let random = fastrand::Rng::with_seed(self.seed.wrapping_add(thread as u64));
                    if thread < HTTP1_THREADS {
                        http1::Client::new(self, random).run();
                    } else {
                        http2::Client::new(self, random).run();
                    }
                });
            }
            let _end = End(self);
            meanwhile(self)
        });
        let hostile = self.outcomes("hostile");
        let outcomes = self.outcomes.lock().unwrap();
        println!(
            "{} requests in {:.0?}, {hostile} of them hostile: {outcomes:#?}",
            self.finished(),
            begin.elapsed()
        );
        let complaints = self.witness.complaints();
        assert!(complaints.is_empty(), "at the upstream: {complaints:#?}");
        let windows = begin.elapsed().as_secs() / 60 + self.lives;
        let admitted = outcomes
            .get(&format!("legitimate: 200 {LIMITED}"))
            .copied()
            .unwrap_or_default();
        assert!(
            admitted <= LIMIT * windows,
            "{admitted} were admitted, and the limit is {LIMIT}"
        );
        result
    }

    /// How many requests had an answer, or did not wait for one.
    pub fn finished(&self) -> u64 {
        self.finished.load(SeqCst)
    }

    /// How many of them ended in a certain way, for example `legitimate: 200`.
    pub fn outcomes(&self, kind: &str) -> u64 {
        let outcomes = self.outcomes.lock().unwrap();
        let of_kind = outcomes.iter().filter(|(outcome, _)| outcome.starts_with(kind));
        of_kind.map(|(_, count)| count).sum()
    }

    /// Until so many requests are finished; false where there will not be so many.
    pub fn wait_for(&self, finished: u64) -> bool {
        while self.finished() < finished && !self.done.load(SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
        self.finished() >= finished
    }

    /// The number of the next request; none where there is to be none.
    fn number(&self) -> Option<u64> {
        let is_more = self.finished() < self.total && !self.done.load(SeqCst);
        is_more.then(|| self.next.fetch_add(1, SeqCst))
    }

    fn count(&self, outcome: String) {
        *self.outcomes.lock().unwrap().entry(outcome).or_default() += 1;
        self.finished.fetch_add(1, SeqCst);
    }

    fn draws_hostile(&self, random: &mut fastrand::Rng) -> bool {
        random.u32(0..100) < self.hostile
    }
}

/// Ends the run with a thread that fails, or with what there was to do meanwhile.
struct End<'t, 'w>(&'t Traffic<'w>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() || self.0.finished() < self.0.total {
            self.0.done.store(true, SeqCst);
        }
    }
}

/// A listener with the policy.
pub fn listener(name: &str) -> Listener {
    Listener::new(name, &policy())
}
