//! A server that goes away and comes back, a cluster that is not there, a VM that starts anew.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fed, UNAVAILABLE, get, key, policy};
use crate::failure::{TRAP, trapping_filter};
use crate::harness::feed_server::Reply;
use crate::harness::memory::Memory;
use crate::harness::{FeedServer, Request};

/// 4 s, or as many as `KEYFENCE_OUTAGE` says.
fn outage() -> Duration {
    let seconds = env::var("KEYFENCE_OUTAGE").map_or(4, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

#[test]
fn the_last_keys_stay_in_force_while_the_server_is_away() {
    let fed = Fed::with(&policy(), 2, FeedServer::start(), |setup| setup);
    fed.feed.set([key("a"), key("b")]);
    fed.wait_for_all("a", 200);
    fed.wait_for_all("b", 200);
    fed.gateway
        .wait_for("the gauges", |_| fed.metric("keyfence_feed_revision", None) == 2.0);
    let answered = fed.metric("keyfence_feed_last_answer_timestamp_seconds", None);
    fed.feed.go_away();
    let away = Instant::now();
    while away.elapsed() < outage() {
        for (id, expected) in [
            ("a", "200"),
            ("b", "200"),
            ("nobody", "401 invalid_api_key"),
            ("static", "200"),
        ] {
            fed.assert_outcome(&get(id), expected);
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(fed.metric("keyfence_feed_failures_total", None) >= 2.0);
    let last = fed.metric("keyfence_feed_last_answer_timestamp_seconds", None);
    assert!(last <= answered + 2.0, "{answered}, then {last}");
    assert_eq!(
        (
            fed.metric("keyfence_feed_keys", None),
            fed.metric("keyfence_feed_revision", None)
        ),
        (2.0, 2.0)
    );
    // Restored from a backup: another epoch, an older revision, without the key b.
    fed.feed.restore("epoch-2", 1, [key("a"), key("c")]);
    fed.feed.take();
    fed.feed.come_back();
    fed.wait_for_all("c", 200);
    fed.assert_outcome(&get("b"), "401 invalid_api_key");
    fed.assert_outcome(&get("a"), "200");
    let polls = fed.feed.take();
    assert_eq!(polls[0].body["after"], json!({"epoch": "epoch-1", "revision": 2}));
    fed.gateway
        .wait_for("the gauges", |_| fed.metric("keyfence_feed_revision", None) == 1.0);
    // One line when it went, one when it came back, for each VM.
    let log = fed.gateway.log();
    let lines = log.lines().filter(|line| line.contains("feed: "));
    assert!(lines.clone().count() <= 3 * 6, "{:#?}", lines.collect::<Vec<_>>());
}

#[test]
fn stale_keys_are_unavailable_where_the_policy_says_so() {
    let mut stale = policy();
    stale["keys_from"]["max_stale_seconds"] = json!(6);
    stale["keys"][0]["allowed_origins"] = json!(["https://static.example"]);
    let fed = Fed::start(&stale);
    fed.feed.set([super::with(
        key("a"),
        "allowed_origins",
        json!(["https://shop.example"]),
    )]);
    let at_shop = |request: Request| request.header("Origin", "https://shop.example");
    let preflight = || Request::preflight("/", "https://shop.example", "GET", "");
    fed.gateway.wait_for("the key", |gateway| {
        gateway.send("main", &at_shop(get("a"))).status == 200
    });
    fed.assert_outcome(&preflight(), "204");
    fed.feed.go_away();
    let away = Instant::now();
    while away.elapsed() < Duration::from_millis(4_500) {
        fed.assert_outcome(&at_shop(get("a")), "200");
        thread::sleep(Duration::from_millis(100));
    }
    fed.gateway.wait_for("staleness", |gateway| {
        gateway.send("main", &at_shop(get("a"))).status == 503
    });
    let stale_after = away.elapsed();
    println!("stale after {stale_after:?}");
    assert!(stale_after < Duration::from_secs(8), "{stale_after:?}");
    let own = get("static").header("Origin", "https://static.example");
    let own_preflight = Request::preflight("/", "https://static.example", "GET", "");
    for (request, expected) in [
        (at_shop(get("a")), UNAVAILABLE),
        (get("nobody"), UNAVAILABLE),
        (preflight(), UNAVAILABLE),
        (Request::get("/"), "401 missing_api_key"),
        (own, "200"),
        (own_preflight, "204"),
    ] {
        fed.assert_outcome(&request, expected);
    }
    fed.feed.come_back();
    fed.gateway.wait_for("the key again", |gateway| {
        gateway.send("main", &at_shop(get("a"))).status == 200
    });
    fed.assert_outcome(&preflight(), "204");
}

#[test]
fn a_cluster_that_is_not_there() {
    let mut nowhere = policy();
    nowhere["keys_from"]["cluster"] = json!("nowhere");
    let mut fed = Fed::start(&nowhere);
    fed.gateway.wait_for("the failures", |_| {
        fed.metric("keyfence_feed_failures_total", Some("unreachable")) >= 2.0
    });
    for (id, expected) in [("static", "200"), ("a", UNAVAILABLE)] {
        fed.assert_outcome(&get(id), expected);
    }
    thread::sleep(Duration::from_secs(3));
    let log = fed.gateway.log();
    let told = log
        .lines()
        .filter(|line| line.contains("feed: ") && line.contains("nowhere"))
        .count();
    assert!((1..=3).contains(&told), "told {told} times");
    // The operator corrects it.
    fed.feed.set([key("a")]);
    fed.update(&policy(), "marker");
    fed.wait_for_all("a", 200);
}

#[test]
fn a_cluster_that_refuses_connections() {
    let feed = FeedServer::start();
    feed.go_away();
    let fed = Fed::with(&policy(), 2, feed, |setup| setup);
    fed.gateway.wait_for("the failures", |_| {
        fed.metric("keyfence_feed_failures_total", None) >= 2.0
    });
    fed.assert_outcome(&get("static"), "200");
    fed.assert_outcome(&get("a"), UNAVAILABLE);
    fed.feed.set([key("a")]);
    fed.feed.come_back();
    fed.wait_for_all("a", 200);
    fed.assert_outcome(&get("b"), "401 invalid_api_key");
}

/// Until a server has it.
#[test]
fn a_vm_that_starts_anew_begins_without_keys() {
    let fed = Fed::with(&policy(), 1, FeedServer::start(), |setup| {
        setup.wasm(trapping_filter()).crash_expected()
    });
    fed.feed.set([key("a")]);
    fed.wait_for_all("a", 200);
    let before = fed.feed.take();
    for _ in 0..2 {
        // The new VM gets no answer at first.
        fed.feed.lie(|_| {
            Some(Reply::Later(
                Duration::from_secs(30),
                Box::new(Reply::Close(Vec::new())),
            ))
        });
        assert_eq!(
            fed.gateway.send("main", &Request::get("/").header(TRAP, "now")).status,
            503
        );
        fed.gateway.wait_for("the new VM", |gateway| {
            gateway.send("main", &get("static")).status == 200
        });
        fed.assert_outcome(&get("a"), UNAVAILABLE);
        fed.assert_outcome(&get("nobody"), UNAVAILABLE);
        fed.gateway.wait_for("its poll", |_| {
            fed.feed
                .take()
                .iter()
                .any(|poll| poll.body["after"].is_null() && !before.iter().any(|old| old.instance() == poll.instance()))
        });
        fed.feed.be_honest();
        fed.wait_for_all("a", 200);
        fed.assert_outcome(&get("nobody"), "401 invalid_api_key");
    }
}

/// Two stores behind one name: each poll finds the other one, which knows nothing of the first one's revisions.
#[test]
fn two_servers_with_stores_of_their_own() {
    let fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    let pages = ["epoch-a", "epoch-b"].map(|epoch| {
        let keys: Vec<_> = (0..900).map(|number| key(&format!("{epoch}-{number}"))).collect();
        json!({"epoch": epoch, "revision": 5, "complete": true, "set": keys}).to_string()
    });
    let before = Memory::of(fed.gateway.pid());
    fed.feed.take();
    fed.feed
        .lie(move |poll| Some(Reply::ok(&*pages[usize::from(poll.epoch() == Some("epoch-a"))])));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        fed.assert_outcome(&get("static"), "200");
        let fed_key = fed.get("epoch-a-7").status;
        assert!([200, 401].contains(&fed_key), "{fed_key} after {:?}", began.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    let (polls, after) = (fed.feed.take().len(), Memory::of(fed.gateway.pid()));
    println!("{polls} polls in 8 s; memory {before:?}, then {after:?}");
    assert_eq!(fed.metric("keyfence_feed_failures_total", None), 0.0);
    // Each of these tables takes about 1 MB.
    assert!(after.wasm < before.wasm + 40_000, "{before:?}, then {after:?}");
    assert!(polls < 1_000, "{polls} polls in 8 s");
    fed.feed.be_honest();
    fed.wait_for_marker("b");
    fed.assert_outcome(&get("epoch-a-7"), "401 invalid_api_key");
}
