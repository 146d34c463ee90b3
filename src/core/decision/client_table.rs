//! The rate limit of each client of a key: a table of fixed size in the host's shared data.
//!
//! Shared data forgets nothing, so there cannot be a slot for each client. The table is a fixed number of buckets, each in a slot of its
//! own. A keyed hash over key and client chooses the bucket, so that nobody outside can choose who shares it. Each bucket has
//!
//! - [`ENTRIES`] entries, each of one client. An entry is free if no request of the last 60 to 70 seconds is counted in it: then it holds
//!   nothing that could be lost.
//! - [`OVERFLOW`] windows for the clients that come while no entry is free. Each of these clients has one of the windows by its hash, and
//!   shares it with others.
//!
//! Whoever has an entry shares it with nobody, and keeps it at least while its requests are counted there. So a flood from more addresses
//! than the table has entries takes nothing from the clients that were there before. To refuse those that come later as well, it has to
//! send the limit's number of requests in each of the overflow windows of the table, every minute. A client without an entry is counted in
//! its overflow window while that counts any request, even if an entry has become free: the client's earlier requests may be among them. So
//! all requests of a client within 60 seconds are counted in one window, and sharing can only lower the number that is admitted.
//!
//! A window counts by intervals of [`SECONDS`] seconds: the current one and the six before, which cover any 60 seconds up to now. So no more
//! than the limit pass in any 60 seconds, and a client that shares nothing is refused only if as many were admitted in the last 70.

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use super::client::Client;
use super::counts::{self, advance};
use super::rate::{Admission, RateStatus};

/// The clients of a bucket that have a window of their own.
pub const ENTRIES: usize = 16;

/// The windows of a bucket that clients share when all entries are taken.
pub const OVERFLOW: usize = 4;

/// The number of buckets of the table.
pub const BUCKETS: u32 = 16_384;

/// The length of an interval.
const SECONDS: u64 = 10;

/// How many intervals have a count, the current one included.
const INTERVALS: usize = 7;

/// The first bytes of a bucket. One with another layout begins with other bytes.
const LAYOUT: u32 = u32::from_le_bytes(*b"kfc1");

/// The length of a bucket in 32-bit words, which are little-endian: the layout, the newest interval, the tag and counts of each entry, and
/// the counts of each overflow window.
const WORDS: usize = 1 + 2 + ENTRIES * (2 + INTERVALS) + OVERFLOW * INTERVALS;

/// The length of a bucket in bytes.
pub const BUCKET_LENGTH: usize = WORDS * size_of::<u32>();

/// A bucket in shared data.
pub type StoredBucket = [u8; BUCKET_LENGTH];

type Counts = counts::Counts<INTERVALS>;

/// Where in the table the requests of a client are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    bucket: u32,
    tag: u64,
    overflow: u8,
}

impl Place {
    /// The place of a client of the key with this id, or of a client without a key, in a table of `buckets`. Only those who know `secret`
    /// can tell which clients share a bucket.
    pub fn new(secret: &[u8], key_id: Option<&str>, client: &Client, buckets: u32) -> Place {
        let (kind, identity) = client.identity();
        // Each part but the last has a fixed length, or its length before it.
        let digest = Sha256::new()
            .chain_update((secret.len() as u64).to_le_bytes())
            .chain_update(secret)
            .chain_update([kind])
            .chain_update((identity.len() as u64).to_le_bytes())
            .chain_update(identity)
            .chain_update([u8::from(key_id.is_some())])
            .chain_update(key_id.unwrap_or_default())
            .finalize();
        let [tag, bucket, overflow, _] = words_of(digest.into());
        Place {
            bucket: u32::try_from(bucket.checked_rem(u64::from(buckets)).unwrap_or(0)).unwrap_or(0),
            tag,
            overflow: overflow.to_le_bytes()[0],
        }
    }

    /// The number of the bucket.
    pub fn bucket(&self) -> u32 {
        self.bucket
    }

    /// The intervals of different buckets begin at different seconds. Otherwise all clients that wait for their next request would send it
    /// in the same second.
    fn phase(&self) -> u64 {
        u64::from(self.bucket) % SECONDS
    }

    fn interval(&self, now: u64) -> u64 {
        now.saturating_add(self.phase()) / SECONDS
    }

    fn status(&self, counts: &Counts, limit: NonZeroU32, newest: u64, now: u64) -> RateStatus {
        let status = counts.status(limit, newest, SECONDS, now.saturating_add(self.phase()));
        RateStatus {
            reset: status.reset.saturating_sub(self.phase()),
            ..status
        }
    }
}

fn words_of(digest: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// Takes one request from the limit of a client at `now`, a Unix time in seconds. `bucket` is the content of the client's bucket, `None` if
/// there is none yet.
pub fn admit(bucket: Option<&[u8]>, place: &Place, limit: NonZeroU32, now: u64) -> Admission<StoredBucket> {
    let (mut bucket, repaired) = Bucket::load(bucket, place.interval(now));
    let newest = bucket.newest;
    let counts = bucket.counts(place);
    let admitted = counts.take(limit);
    Admission {
        admitted,
        status: place.status(counts, limit, newest, now),
        store: (admitted || repaired).then(|| bucket.to_stored()),
    }
}

/// The state of the limit of a client at `now`. Takes nothing from it.
pub fn peek(bucket: Option<&[u8]>, place: &Place, limit: NonZeroU32, now: u64) -> RateStatus {
    let (mut bucket, _) = Bucket::load(bucket, place.interval(now));
    let newest = bucket.newest;
    place.status(bucket.counts(place), limit, newest, now)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u64,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// The newest interval.
    newest: u64,
    entries: [Entry; ENTRIES],
    overflow: [Counts; OVERFLOW],
}

impl Bucket {
    /// The bucket at the interval `now`, and whether it must be stored even if the request is refused.
    fn load(stored: Option<&[u8]>, now: u64) -> (Bucket, bool) {
        let Some(bytes) = stored else {
            return (Bucket::filled(now, Counts::NONE), false);
        };
        let Some(mut bucket) = Bucket::from_stored(bytes) else {
            // The numbers of admitted requests are lost, so all limits count as used up until that is certainly past.
            return (Bucket::filled(now, Counts::current(u32::MAX)), true);
        };
        let passed = advance(&mut bucket.newest, now, INTERVALS);
        if passed.intervals > 0 {
            let entries = bucket.entries.iter_mut().map(|entry| &mut entry.counts);
            for counts in entries.chain(&mut bucket.overflow) {
                counts.age(passed.intervals);
            }
        }
        (bucket, passed.is_set_back)
    }

    fn filled(now: u64, counts: Counts) -> Bucket {
        Bucket {
            newest: now,
            entries: [Entry { tag: 0, counts }; ENTRIES],
            overflow: [counts; OVERFLOW],
        }
    }

    /// The window in which a client is counted, see the module's documentation. A free entry becomes the client's.
    fn counts(&mut self, place: &Place) -> &mut Counts {
        let [first, second, third, fourth] = &mut self.overflow;
        let overflow = match place.overflow % 4 {
            0 => first,
            1 => second,
            2 => third,
            _ => fourth,
        };
        let own = self.entries.iter().position(|entry| entry.tag == place.tag);
        let index = match own {
            None if overflow.is_empty() => self.entries.iter().position(|entry| entry.counts.is_empty()),
            own => own,
        };
        match index.and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => {
                entry.tag = place.tag;
                &mut entry.counts
            }
            None => overflow,
        }
    }

    fn from_stored(bytes: &[u8]) -> Option<Bucket> {
        let words: &[[u8; 4]; WORDS] = match bytes.as_chunks() {
            (words, []) => words.try_into().ok()?,
            _ => return None,
        };
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        // There are as many as are read here.
        let mut next = || words.next().unwrap_or(u32::MAX);
        if next() != LAYOUT {
            return None;
        }
        let mut bucket = Bucket::filled(0, Counts::NONE);
        bucket.newest = u64::from(next()) | u64::from(next()) << 32;
        for entry in &mut bucket.entries {
            entry.tag = u64::from(next()) | u64::from(next()) << 32;
            entry.counts.0.fill_with(&mut next);
        }
        for counts in &mut bucket.overflow {
            counts.0.fill_with(&mut next);
        }
        Some(bucket)
    }

    fn to_stored(self) -> StoredBucket {
        let mut stored = [0; BUCKET_LENGTH];
        let mut words = stored.as_chunks_mut().0.iter_mut();
        let mut put = |word: u32| {
            if let Some(bytes) = words.next() {
                *bytes = word.to_le_bytes();
            }
        };
        put(LAYOUT);
        put_u64(self.newest, &mut put);
        for entry in &self.entries {
            put_u64(entry.tag, &mut put);
            entry.counts.0.into_iter().for_each(&mut put);
        }
        for counts in &self.overflow {
            counts.0.into_iter().for_each(&mut put);
        }
        stored
    }
}

/// Puts the low half, then the high half.
fn put_u64(value: u64, put: &mut impl FnMut(u32)) {
    put(value as u32);
    put((value >> 32) as u32);
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn limit(requests: u32) -> NonZeroU32 {
        NonZeroU32::new(requests).unwrap()
    }

    fn v4(number: u32) -> Client {
        Client::new(Some(Ipv4Addr::from(number).into()))
    }

    /// The /64 networks of 2001:db8::/48, then those after it.
    fn v6(number: u32) -> Client {
        let network = 0x2001_0db8_0000_0000_u64 + u64::from(number);
        Client::new(Some(Ipv6Addr::from(u128::from(network) << 64 | 1).into()))
    }

    /// A table as shared data keeps it.
    struct Table {
        buckets: u32,
        stored: HashMap<u32, StoredBucket>,
    }

    impl Table {
        fn of(buckets: u32) -> Table {
            Table {
                buckets,
                stored: HashMap::new(),
            }
        }

        fn place(&self, client: &Client) -> Place {
            Place::new(b"a secret", Some("key"), client, self.buckets)
        }

        fn admit(&mut self, client: &Client, requests: u32, now: u64) -> bool {
            self.admit_at(&self.place(client), requests, now)
        }

        fn admit_at(&mut self, place: &Place, requests: u32, now: u64) -> bool {
            let stored = self.stored.get(&place.bucket()).map(|bucket| &bucket[..]);
            let before = peek(stored, place, limit(requests), now);
            let admission = admit(stored, place, limit(requests), now);
            assert_eq!(admission.admitted, before.remaining > 0);
            assert_eq!(admission.status.remaining, before.remaining.saturating_sub(1));
            if let Some(bucket) = admission.store {
                self.stored.insert(place.bucket(), bucket);
            }
            admission.admitted
        }

        /// Whether the client has an entry.
        fn has_entry(&self, client: &Client) -> bool {
            let place = self.place(client);
            let bucket = self
                .stored
                .get(&place.bucket())
                .and_then(|bytes| Bucket::from_stored(bytes));
            bucket.is_some_and(|bucket| bucket.entries.iter().any(|entry| entry.tag == place.tag))
        }
    }

    #[test]
    fn the_window_slides_by_ten_seconds() {
        for (name, requests, times, expected) in [
            ("up to the limit", 2, &[100, 100, 100][..], &[true, true, false][..]),
            (
                "60 seconds later the first still counts",
                1,
                &[100, 160],
                &[true, false],
            ),
            (
                "70 seconds after its interval began it does not",
                1,
                &[100, 169, 170],
                &[true, false, true],
            ),
            (
                "at the end of its interval it is 61 seconds old then",
                1,
                &[109, 169, 170],
                &[true, false, true],
            ),
            (
                "no second helping around a full minute",
                2,
                &[119, 119, 120, 130, 179, 180],
                &[true, true, false, false, false, true],
            ),
            (
                "each leaves in its turn",
                2,
                &[100, 130, 170, 171, 200],
                &[true, true, true, false, true],
            ),
            (
                "refused requests take nothing",
                1,
                &[100, 120, 140, 170],
                &[true, false, false, true],
            ),
            ("a long silence", 1, &[100, 1_000_000], &[true, true]),
            ("a worker a second behind", 1, &[100, 99], &[true, false]),
            (
                "a minute behind is no later",
                1,
                &[100, 40, 160, 170],
                &[true, false, false, true],
            ),
            (
                "the clock set back an hour",
                1,
                &[10_000, 6_400, 6_460, 6_470],
                &[true, false, false, true],
            ),
        ] {
            let mut table = Table::of(1);
            let admitted: Vec<bool> = times.iter().map(|&now| table.admit(&v4(1), requests, now)).collect();
            assert_eq!(admitted, expected, "{name}");
        }
    }

    #[test]
    fn the_status_tells_when_more_are_admitted() {
        // In a table of many buckets, whose intervals begin at different seconds.
        let mut phases = HashSet::new();
        for number in 0..100 {
            let mut table = Table::of(1_000);
            let client = v4(number);
            let place = table.place(&client);
            let begin = 10 - place.phase();
            phases.insert(begin);
            for now in [990 + begin, 999 + begin, 1_005 + begin] {
                assert!(table.admit(&client, 3, now));
            }
            let stored = &table.stored[&place.bucket()][..];
            for (requests, now, remaining, reset) in [
                (3, 1_005, 0, 1_060),
                (3, 1_059, 0, 1_060),
                (3, 1_060, 2, 1_070),
                (3, 1_070, 3, 1_070),
                (4, 1_005, 1, 1_060),
                // Lowered: three were admitted, so two leaving are not enough.
                (1, 1_005, 0, 1_070),
            ] {
                let (now, reset) = (now + begin, reset + begin);
                let status = peek(Some(stored), &place, limit(requests), now);
                let expected = RateStatus {
                    limit: limit(requests),
                    remaining,
                    reset,
                    retry_after: (reset - now).max(1),
                };
                assert_eq!(status, expected, "limit {requests} at {now}, phase {}", place.phase());
            }
        }
        assert_eq!(phases.len(), 10);
        let untouched = peek(None, &Place::new(b"", None, &v4(1), 1_000), limit(5), 77);
        assert_eq!((untouched.remaining, untouched.reset), (5, 77));
    }

    #[test]
    fn a_bucket_of_unknown_layout_is_used_up_for_one_window() {
        let mut table = Table::of(1);
        table.admit(&v4(1), 2, 100);
        let good = table.stored[&0];
        assert_eq!(Bucket::from_stored(&good).unwrap().to_stored(), good);
        for (name, bytes) in [
            ("empty", &[][..]),
            ("short", &good[..BUCKET_LENGTH - 1]),
            ("a word short", &good[..BUCKET_LENGTH - 4]),
            ("long", &[good.as_slice(), &[0]].concat()),
            ("a word long", &[good.as_slice(), &[0; 4]].concat()),
            ("another layout", &[b"kfc0", &good[4..]].concat()),
        ] {
            for client in (1..20).map(v4) {
                let place = table.place(&client);
                let first = admit(Some(bytes), &place, limit(2), 100);
                assert!(!first.admitted, "{name}");
                let bucket = first.store.expect(name);
                assert!(!admit(Some(&bucket), &place, limit(u32::MAX), 169).admitted, "{name}");
                assert!(admit(Some(&bucket), &place, limit(2), 170).admitted, "{name}");
            }
        }
        let hostile = [b"kfc1".as_slice(), &[0xff; BUCKET_LENGTH - 4]].concat();
        for now in [0, u64::MAX] {
            assert!(!admit(Some(&hostile), &table.place(&v4(1)), limit(u32::MAX), now).admitted);
        }
    }

    #[test]
    fn what_decides_on_the_place() {
        let place = |secret: &str, key_id, client| Place::new(secret.as_bytes(), key_id, &client, BUCKETS);
        let places = [
            place("secret", Some("key"), v4(1)),
            place("secreT", Some("key"), v4(1)),
            place("secret", Some("kez"), v4(1)),
            place("secret", Some(""), v4(1)),
            place("secret", None, v4(1)),
            place("secret", Some("key"), v4(2)),
            place("secret", Some("key"), v6(1)),
            place("secret", Some("key"), Client::Unknown),
            place("secretkey", Some(""), Client::Unknown),
        ];
        for (number, place) in places.iter().enumerate() {
            assert!(place.bucket() < BUCKETS);
            let others = places.iter().skip(number + 1);
            assert!(others.clone().all(|other| place.tag != other.tag), "{number}");
        }
        assert_eq!(place("secret", Some("key"), v4(1)), places[0]);
    }

    /// Nobody can choose a bucket from outside, so the networks of a /48 spread over all. None of their clients has to share.
    #[test]
    fn the_networks_of_a_48_have_an_entry_each() {
        let mut clients = vec![0; BUCKETS as usize];
        for number in 0..1 << 16 {
            clients[Place::new(b"a secret", Some("key"), &v6(number), BUCKETS).bucket() as usize] += 1;
        }
        let most = clients.iter().max().unwrap();
        assert!((8..=ENTRIES).contains(most), "{most}");
        let overflows: HashMap<u8, u32> = (0..4_000).fold(HashMap::new(), |mut counts, number| {
            let place = Place::new(b"a secret", Some("key"), &v6(number), BUCKETS);
            *counts.entry(place.overflow % 4).or_default() += 1;
            counts
        });
        assert_eq!(overflows.len(), OVERFLOW);
        assert!(
            overflows.values().all(|count| (800..1_200).contains(count)),
            "{overflows:?}"
        );
    }

    /// 128 entries, half of them taken by clients that send three requests each 20 seconds, and a flood from 100,000 others.
    #[test]
    fn a_flood_takes_nothing_from_the_clients_that_were_there_before() {
        for flood in [v4, v6] {
            let mut table = Table::of(8);
            let known: Vec<Client> = (0..64).map(|number| v4(0x0a00_0000 + number)).collect();
            let owners: Vec<&Client> = known
                .iter()
                .filter(|client| table.admit(client, 14, 1_000) && table.has_entry(client))
                .collect();
            assert!(owners.len() > 60, "{}", owners.len());
            let mut admitted: HashMap<Client, u32> = HashMap::new();
            for number in 0..100_000 {
                let now = 1_000 + u64::from(number) / 500;
                let client = flood(number);
                // Each sends all that it may, and more.
                let place = table.place(&client);
                let passed = (0..4).filter(|_| table.admit_at(&place, 3, now)).count();
                assert!(passed <= 3);
                *admitted.entry(client).or_default() += passed as u32;
                if number % 10_000 == 0 {
                    for client in &owners {
                        assert!((0..3).all(|_| table.admit(client, 14, now)), "refused at {now}");
                        assert!(table.has_entry(client));
                    }
                }
            }
            // No more than all windows hold: 160, each three times in any 60 seconds of the 200.
            let sum: u32 = admitted.values().sum();
            assert!(sum < 160 * 3 * 4, "{sum}");
            assert_eq!(table.stored.len(), 8, "the table does not grow");
            // When it is over, everybody has an entry again.
            let newcomer = v4(0x0b00_0000);
            assert!(table.admit(&newcomer, 1, 1_300) && table.has_entry(&newcomer));
        }
    }

    #[test]
    fn those_who_come_to_a_full_bucket_share_four_windows() {
        let mut table = Table::of(1);
        for number in 0..16 {
            assert!(table.admit(&v4(number), 1, 1_000) && table.has_entry(&v4(number)));
        }
        let admitted = (100..200).filter(|number| table.admit(&v4(*number), 1, 1_000)).count();
        assert_eq!(admitted, OVERFLOW);
    }

    /// A client that was counted in an overflow window stays there while its requests are counted, though an entry has become free.
    #[test]
    fn a_client_that_shares_gains_no_second_window() {
        let mut table = Table::of(1);
        for number in 0..16 {
            assert!(table.admit(&v4(number), 2, 1_000));
        }
        let newcomer = v4(100);
        assert!(table.admit(&newcomer, 2, 1_060) && table.admit(&newcomer, 2, 1_060));
        // All entries are free.
        assert!(!table.admit(&newcomer, 2, 1_070));
        assert!(!table.admit(&newcomer, 2, 1_129));
        assert!(!table.has_entry(&newcomer));
        assert!(table.admit(&newcomer, 2, 1_130));
        assert!(table.has_entry(&newcomer));
    }

    /// Multiplies and adds (Knuth): the same patterns in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    #[test]
    fn random_arrivals_against_exact_logs() {
        let mut refused_without_need = 0;
        for seed in 0..1_000 {
            let mut random = Random(seed);
            let buckets = 1 + random.below(3) as u32;
            let clients = [1, 3, 16, 30, 60][random.below(5) as usize];
            let requests = 1 + random.below(5);
            let longest_gap = [20, 200, 3_000, 20_000][random.below(4) as usize];
            let mut table = Table::of(buckets);
            let places: Vec<Place> = (0..clients).map(|number| table.place(&v4(number as u32))).collect();
            let mut logs: HashMap<u64, Vec<u64>> = HashMap::new();
            let (mut now, mut latest) = (1_000_000, 0);
            for _ in 0..600 {
                now += random.below(longest_gap);
                let number = random.below(clients);
                let log = logs.entry(number).or_default();
                // Another worker may have read the clock later and stored first: then the request counts as of that time.
                let read_at = now - random.below(500);
                latest = latest.max(read_at);
                let admitted = table.admit_at(&places[number as usize], requests as u32, read_at / 1000);
                let within = |span: u64| log.iter().filter(|&&at| latest - at < span).count() as u64;
                if admitted {
                    assert!(within(60_000) < requests, "seed {seed}: over the limit at {latest} ms");
                    log.push(latest);
                } else if within(70_000) < requests {
                    refused_without_need += 1;
                    assert!(
                        clients > ENTRIES as u64,
                        "seed {seed}: refused without need at {latest} ms"
                    );
                }
            }
        }
        assert!(refused_without_need > 1_000, "clients share: {refused_without_need}");
    }

    #[test]
    fn addresses_of_both_families_are_made_for_these_tests() {
        assert_eq!(v4(0x0a00_0001), Client::new(Some(IpAddr::from([10, 0, 0, 1]))));
        assert_eq!(v6(0xffff), Client::new("2001:db8:0:ffff::2".parse().ok()));
    }
}
