//! 100,000 keys: in force, replaced, and gone, while requests are answered. `KEYFENCE_FED_KEYS=2000` for fewer.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{End, Fed, get, key, policy};
use crate::harness::client::{connect, read_response};
use crate::harness::memory::Memory;
use crate::harness::{FeedServer, Request};

fn size() -> usize {
    std::env::var("KEYFENCE_FED_KEYS").map_or(100_000, |text| text.parse().expect("a number"))
}

fn id(set: &str, number: usize) -> String {
    format!("{set}-{number:06}")
}

fn keys(set: &'static str, count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(move |number| {
        let mut key = key(&id(set, number));
        key["name"] = json!(format!("Shop {number:06} (production)"));
        key["allowed_origins"] = json!([origin(set, number), format!("https://*.{set}-{number}.example")]);
        key["origin_check"] = json!("if_present");
        key["rate_limit_per_minute"] = json!(600);
        key
    })
}

fn origin(set: &str, number: usize) -> String {
    format!("https://{set}-{number}.example")
}

/// The longest that a request of the policy's own key took, as clients on one connection each see it, while `run` runs.
fn longest(to: SocketAddr, run: impl FnOnce()) -> Duration {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asks = || {
            let mut longest = Duration::ZERO;
            let mut reader = BufReader::new(connect(to, None).unwrap());
            while !done.load(SeqCst) {
                let began = Instant::now();
                reader.get_mut().write_all(&get("static").to_bytes()).unwrap();
                let response = read_response(&mut reader, "GET").unwrap();
                assert_eq!(response.status, 200);
                longest = longest.max(began.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            longest
        };
        let asking = scope.spawn(asks);
        let end = End(&done);
        run();
        drop(end);
        asking.join().unwrap()
    })
}

/// All instances that poll have this revision.
fn wait_for_revision(fed: &Fed, instances: usize, revision: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while fed.feed.instances_at(revision).len() < instances {
        assert!(Instant::now() < deadline, "waited in vain for revision {revision}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_hundred_thousand_keys_come_change_and_go() {
    let count = size();
    let fed = Fed::with(&policy(), 1, FeedServer::start(), |setup| setup);
    fed.wait_for_marker("marker");
    fed.feed.take();
    thread::sleep(Duration::from_millis(2_500));
    let instances: BTreeSet<String> = fed.feed.take().iter().map(|poll| poll.instance().to_owned()).collect();
    let instances = instances.len();
    let to = fed.gateway.address("main");
    let set: Vec<Value> = keys("one", count).collect();
    let other: Vec<Value> = keys("two", count).collect();
    let at = |number: usize| [0, count / 2, count - 1][number];
    let all_are = |set: &str, expected: &str| {
        for number in 0..3 {
            fed.assert_outcome(&get(&id(set, at(number))), expected);
        }
    };
    let preflight = |set: &str, number: usize| Request::preflight("/", &origin(set, at(number)), "GET", "");
    let step = |name: &str, change: &mut dyn FnMut() -> u64| {
        fed.feed.take();
        let began = Instant::now();
        let mut took = Duration::ZERO;
        let longest = longest(to, || {
            let revision = change();
            wait_for_revision(&fed, instances, revision);
            took = began.elapsed();
        });
        println!(
            "{name}: {took:?} on {instances} instances, the longest request {longest:?}, {:?}",
            Memory::of(fed.gateway.pid())
        );
    };
    // As changes of a table that has few keys: all at once.
    let (mut first, mut second) = (Some(set.clone()), Some(other));
    step("100,000 come", &mut || fed.feed.set(first.take().unwrap()));
    all_are("one", "200");
    all_are("two", "401 invalid_api_key");
    assert_eq!(fed.metric("keyfence_feed_keys", None), count as f64 + 1.0);
    step("one of them changes", &mut || fed.feed.set([key(&id("one", 5))]));
    step("one comes", &mut || fed.feed.set([key("last")]));
    fed.assert_outcome(&get("last"), "200");
    // A set on top of it, as a complete answer of another epoch.
    step("another 100,000 in their place", &mut || {
        let revision = 7;
        fed.feed.restore("epoch-2", revision, second.take().unwrap());
        revision
    });
    all_are("one", "401 invalid_api_key");
    all_are("two", "200");
    fed.assert_outcome(&get("last"), "401 invalid_api_key");
    for number in 0..3 {
        fed.assert_outcome(&preflight("one", number), "403 origin_not_allowed");
        fed.assert_outcome(&preflight("two", number), "204");
    }
    let ids: Vec<String> = (0..count).map(|number| id("two", number)).collect();
    step("all go at once", &mut || fed.feed.remove(ids.iter().map(|id| &**id)));
    all_are("two", "401 invalid_api_key");
    for number in 0..3 {
        fed.assert_outcome(&preflight("two", number), "403 origin_not_allowed");
    }
    assert_eq!(fed.metric("keyfence_feed_keys", None), 0.0);
    let mut again = Some(set);
    step("100,000 come again", &mut || fed.feed.set(again.take().unwrap()));
    all_are("one", "200");
    // On a busy machine a poll may take too long, and is sent again.
    for code in ["status", "malformed", "too_large", "outdated", "memory"] {
        assert_eq!(fed.metric("keyfence_feed_failures_total", Some(code)), 0.0, "{code}");
    }
}
