//! What changes in the feed and in the policy, and how both meet.

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{End, Fed, STATIC, digest, get, key, policy, raw, with};
use crate::harness::client::{connect, read_response};
use crate::harness::feed_server::Reply;
use crate::harness::token::{OTHER_SECRET, SECRET, Signer, base64url, good};
use crate::harness::{FeedServer, Request};

fn has(mut key: Value, digest_of: &[&str]) -> Value {
    key["api_key"] = digest_of.iter().map(|id| digest(&raw(id))).collect();
    key
}

fn reported(fed: &Fed, expected: &[(&str, &str)]) {
    let expected: Vec<Value> = expected
        .iter()
        .map(|(id, code)| json!({"id": id, "code": code}))
        .collect();
    let mut last = Value::Null;
    fed.gateway.wait_for("the report", |_| {
        let mut reported = fed.reported();
        let first = reported["first"].as_array_mut().unwrap();
        first.sort_by_key(|refused| refused["id"].as_str().unwrap().to_owned());
        last = reported;
        last == json!({"count": expected.len(), "first": expected})
    });
}

#[test]
fn a_key_moves_from_one_id_to_another() {
    let fed = Fed::with(&policy(), 2, FeedServer::start(), |setup| setup);
    let limited = |id: &str, of: &[&str]| with(has(key(id), of), "scopes", json!(["read"]));
    fed.feed.set([has(key("one"), &["k"]), key("other")]);
    fed.wait_for_all("k", 200);
    let post = Request::new("POST", "/v1/x").bearer(&raw("k"));
    let owner = |fed: &Fed| {
        fed.upstream.take();
        fed.gateway.send("main", &get("k"));
        fed.upstream.take_one().all("x-key-id").join("|")
    };
    assert_eq!(owner(&fed), "one");
    // The first id gives it up in the same revision: by its removal, by a change, or by being wrong.
    fed.feed.exchange(["one"], [limited("two", &["k"]), key("m1")]);
    fed.wait_for_all("m1", 200);
    assert_eq!(owner(&fed), "two");
    fed.assert_outcome(&post, "403 scope_not_allowed");
    fed.feed
        .set([has(key("one"), &["k"]), has(key("two"), &["l"]), key("m2")]);
    fed.wait_for_all("m2", 200);
    assert_eq!(owner(&fed), "one");
    fed.assert_outcome(&post, "200");
    fed.assert_outcome(&get("l"), "200");
    fed.feed.set([
        with(has(key("one"), &["k"]), "new", json!(1)),
        limited("two", &["k"]),
        key("m3"),
    ]);
    fed.wait_for_all("m3", 200);
    assert_eq!(owner(&fed), "two");
    fed.assert_outcome(&post, "403 scope_not_allowed");
    fed.assert_outcome(&get("l"), "401 invalid_api_key");
    reported(&fed, &[("one", "unknown_field")]);
    // Two exchange theirs.
    fed.feed.set([has(key("one"), &["x"]), has(key("two"), &["y"])]);
    fed.wait_for_all("x", 200);
    fed.feed
        .set([has(key("one"), &["y"]), has(key("two"), &["x"]), key("m4")]);
    fed.wait_for_all("m4", 200);
    reported(&fed, &[]);
    fed.upstream.take();
    fed.gateway.send("main", &get("x"));
    assert_eq!(fed.upstream.take_one().all("x-key-id"), ["two"]);
    fed.assert_outcome(&get("k"), "401 invalid_api_key");
}

#[test]
fn a_key_that_is_static_and_fed() {
    let mut fed = Fed::start(&policy());
    fed.feed.set([
        with(
            with(key("impostor"), "api_key", json!(digest(STATIC))),
            "scopes",
            json!([]),
        ),
        with(key("static"), "api_key", json!(digest(&raw("fed-static")))),
        key("good"),
    ]);
    fed.wait_for_all("good", 200);
    fed.assert_outcome(&get("static"), "200");
    fed.assert_outcome(&get("fed-static"), "401 invalid_api_key");
    reported(&fed, &[("impostor", "duplicate_api_key"), ("static", "duplicate_id")]);
    // The policy gives both up.
    let mut without = policy();
    without["keys"] = json!([]);
    fed.update(&without, "m1");
    fed.wait_for_all("fed-static", 200);
    fed.assert_outcome(&Request::get("/v1/x").bearer(STATIC), "403 scope_not_allowed");
    reported(&fed, &[]);
    // And takes others.
    let mut again = policy();
    again["keys"] = json!([{"id": "good", "api_key": digest(STATIC)}]);
    fed.update(&again, "m2");
    fed.assert_outcome(&Request::get("/v1/x").bearer(STATIC), "200");
    fed.assert_outcome(&get("good"), "401 invalid_api_key");
    fed.assert_outcome(&get("fed-static"), "200");
    reported(&fed, &[("good", "duplicate_id"), ("impostor", "duplicate_api_key")]);
}

#[test]
fn a_scope_goes_away_and_comes_back() {
    let mut fed = Fed::with(&policy(), 2, FeedServer::start(), |setup| setup);
    let with_write = |rules: Value| {
        let mut policy = policy();
        policy["scopes"]["write"] = rules;
        policy
    };
    fed.feed.set([with(key("w"), "scopes", json!(["write"])), key("a")]);
    fed.wait_for_all("a", 200);
    fed.assert_outcome(&get("w"), "401 invalid_api_key");
    reported(&fed, &[("w", "unknown_scope")]);
    let mut revisions = Vec::new();
    let rules = [
        (json!([{"methods": ["*"], "path": "/v1/**"}]), "200"),
        (json!([{"methods": ["*"], "path": "/v2/**"}]), "403 scope_not_allowed"),
        (Value::Null, "401 invalid_api_key"),
        (json!([{"methods": ["GET"], "path": "/v1/x"}]), "200"),
    ];
    for (number, (rules, expected)) in rules.into_iter().enumerate() {
        let policy = if rules.is_null() { policy() } else { with_write(rules) };
        fed.update(&policy, &format!("m-{number}"));
        // With the new policy, and with no answer of the feed.
        fed.assert_outcome(&get("w"), expected);
        fed.assert_outcome(&get("a"), "200");
        revisions.push(fed.feed.epoch_and_revision().1);
    }
    assert!(revisions.iter().all(|revision| *revision == revisions[0]));
    reported(&fed, &[]);
}

#[test]
fn fed_keys_survive_policy_updates() {
    let mut fed = Fed::with(&policy(), 2, FeedServer::start(), |setup| setup);
    fed.feed.set([key("a")]);
    fed.wait_for_all("a", 200);
    let (to, done) = (fed.gateway.address("main"), AtomicBool::new(false));
    thread::scope(|scope| {
        let asks = || {
            let mut answers = 0;
            while !done.load(SeqCst) {
                let mut reader = BufReader::new(connect(to, None).unwrap());
                for _ in 0..20 {
                    reader.get_mut().write_all(&get("a").to_bytes()).unwrap();
                    let response = read_response(&mut reader, "GET").unwrap();
                    assert_eq!(response.status, 200, "{}", response.text());
                    answers += 1;
                }
            }
            answers
        };
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(asks)).collect();
        let end = End(&done);
        for round in 0..12 {
            // A poll is under way on each VM nearly always.
            fed.update(&policy(), &format!("m-{round}"));
            let id = format!("k-{round}");
            fed.feed.set([key(&id)]);
            fed.wait_for_all(&id, 200);
        }
        drop(end);
        let answers: u32 = asking.into_iter().map(|asking| asking.join().unwrap()).sum();
        println!("{answers} answers");
        assert!(answers > 100);
    });
    // The pollers of the policies before are gone: each VM has one.
    fed.feed.take();
    thread::sleep(Duration::from_secs(4));
    let polls = fed.feed.take();
    let instances: std::collections::BTreeSet<&str> = polls.iter().map(|poll| poll.instance()).collect();
    assert!((2..=3).contains(&instances.len()), "{instances:?}");
    assert!(
        polls.len() <= instances.len() * 6,
        "{} polls of {} in 4 s",
        polls.len(),
        instances.len()
    );
    assert!(fed.feed.waiting() <= 3, "{} wait", fed.feed.waiting());
    assert!(
        !polls.iter().any(|poll| poll.body["after"].is_null()),
        "none begins anew"
    );
}

/// Whoever asked for it, an answer to a poll of the policy before resolves against the one in force, or is asked for again.
#[test]
fn an_answer_that_comes_after_a_policy_update() {
    let mut both = policy();
    both["scopes"]["write"] = json!([{"methods": ["*"], "path": "/v1/**"}]);
    let mut fed = Fed::start(&both);
    fed.feed.set([key("a")]);
    fed.wait_for_all("a", 200);
    // The answer to polls of now comes in 3 s, and has a key with a scope that is gone then.
    let set = [
        with(key("w"), "scopes", json!(["write"])),
        with(key("r"), "scopes", json!(["read"])),
    ];
    let page = json!({"epoch": "epoch-1", "revision": 50, "complete": false, "set": set});
    fed.feed.lie(move |poll| {
        let mut page = page.clone();
        let mut time = 3_000;
        if poll.revision() == Some(50) {
            page["set"] = json!([]);
            time = 500;
        }
        Some(Reply::Later(Duration::from_millis(time), Box::new(Reply::json(&page))))
    });
    fed.feed.take();
    fed.gateway.wait_for("a poll", |_| !fed.feed.take().is_empty());
    fed.update(&policy(), "m");
    fed.assert_outcome(&get("a"), "200");
    fed.wait_for_all("r", 200);
    fed.assert_outcome(&get("w"), "401 invalid_api_key");
    reported(&fed, &[("w", "unknown_scope")]);
}

/// Another cluster, path or token is another feed; without `keys_from` there is none.
#[test]
fn a_policy_without_a_feed_any_more() {
    let mut fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    let mut without = policy();
    without.as_object_mut().unwrap().remove("keys_from");
    fed.update(&without, "m1");
    fed.assert_outcome(&get("a"), "401 invalid_api_key");
    fed.assert_outcome(&get("static"), "200");
    thread::sleep(Duration::from_secs(2));
    fed.feed.take();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(fed.feed.take().len(), 0, "nobody asks any more");
    fed.feed.remove(["a"]);
    fed.feed.set([key("b")]);
    fed.update(&policy(), "m2");
    fed.wait_for_all("b", 200);
    fed.assert_outcome(&get("a"), "401 invalid_api_key");
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn tokens_of_a_fed_key_end_with_its_secret() {
    let fed = Fed::with(&policy(), 2, FeedServer::start(), |setup| setup);
    let parent = |id: &str, secrets: &[&[u8]]| {
        let secrets: Vec<String> = secrets.iter().map(base64url).collect();
        with(key(id), "scoped_tokens", json!({"secrets": secrets}))
    };
    let bearer = |kid: &str, secret: &'static [u8]| {
        Request::get("/v1/x").bearer(&good(
            kid,
            now(),
            r#""sub":"alice","filter":"owner=alice""#,
            Signer::Secret(secret),
        ))
    };
    fed.feed.set([
        parent("p", &[SECRET]),
        parent("q", &[SECRET]),
        parent("off", &[SECRET]),
        key("m0"),
    ]);
    fed.wait_for_all("m0", 200);
    let (of_p, of_q, of_off, newer) = (
        bearer("p", SECRET),
        bearer("q", SECRET),
        bearer("off", SECRET),
        bearer("p", OTHER_SECRET),
    );
    // They are remembered from now on.
    for _ in 0..2 {
        for request in [&of_p, &of_q, &of_off] {
            fed.assert_outcome(request, "200");
        }
        fed.assert_outcome(&newer, "401 invalid_scoped_token");
        fed.assert_outcome(&bearer("nobody", SECRET), "401 invalid_scoped_token");
    }
    fed.upstream.take();
    fed.gateway.send("main", &of_p);
    let received = fed.upstream.take_one();
    let told = ["x-key-id", "x-key-subject", "x-key-filter"].map(|name| received.all(name).join("|"));
    assert_eq!(told, ["p", "alice", "owner=alice"]);
    // Rotated, with a time in which both work; then the old one ends. One key is removed, one disabled.
    fed.feed.set([parent("p", &[OTHER_SECRET, SECRET]), key("m1")]);
    fed.wait_for_all("m1", 200);
    for _ in 0..2 {
        fed.assert_outcome(&of_p, "200");
        fed.assert_outcome(&newer, "200");
    }
    let off = with(parent("off", &[SECRET]), "enabled", json!(false));
    fed.feed.exchange(["q"], [parent("p", &[OTHER_SECRET]), off, key("m2")]);
    fed.wait_for_all("m2", 200);
    fed.assert_outcome(&of_p, "401 invalid_scoped_token");
    fed.assert_outcome(&newer, "200");
    fed.assert_outcome(&of_q, "401 invalid_scoped_token");
    fed.assert_outcome(&of_off, "401 key_disabled");
    // The same id with the same secret again, as another key: what was remembered of the first does not hold for it.
    let narrow = with(parent("q", &[SECRET]), "scopes", json!([]));
    fed.feed.set([narrow, key("m3")]);
    fed.wait_for_all("m3", 200);
    fed.assert_outcome(&of_q, "403 scope_not_allowed");
    // Revoked by date.
    let mut revoked = parent("p", &[OTHER_SECRET]);
    revoked["scoped_tokens"]["not_before"] = json!("2099-01-01T00:00:00Z");
    fed.feed.set([revoked, key("m4")]);
    fed.wait_for_all("m4", 200);
    fed.assert_outcome(&newer, "401 invalid_scoped_token");
    // A complete answer without it.
    fed.feed.restore("epoch-2", 1, [key("m5")]);
    fed.wait_for_all("m5", 200);
    for request in [&of_p, &of_q, &of_off, &newer] {
        fed.assert_outcome(request, "401 invalid_scoped_token");
    }
}
