//! The protocol of a feed: pages in, keys in force and refused keys out.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::feed::{AnswerError, Feed};
use keyfence_core::policy::Policy;
use keyfence_core::policy::fed_keys::FedKeys;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_782_864_000);

/// A policy with a feed, and with these fields.
fn policy(more: Value) -> Policy {
    let mut policy = json!({"keys_from": {"cluster": "control", "token_env": "TOKEN"}});
    for (name, value) in more.as_object().unwrap() {
        policy[name] = value.clone();
    }
    Policy::load(policy.to_string().as_bytes(), NOW).unwrap().policy
}

fn usual() -> Policy {
    policy(json!({
        "keys": [{"id": "static", "api_key": "static-key-0123456789", "kind": "secret"}],
        "scopes": {"search": [{"methods": ["GET"], "path": "/search"}]},
        "upstream_header_names": ["X-Plan"],
    }))
}

/// The key `id` with the API key `api_key`, and with these fields.
fn with(id: &str, api_key: &str, more: Value) -> Value {
    let mut key = json!({"id": id, "api_key": raw(api_key), "kind": "secret"});
    for (name, value) in more.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

fn key(id: &str, api_key: &str) -> Value {
    with(id, api_key, json!({}))
}

fn raw(api_key: &str) -> String {
    format!("{api_key}-key-0123456789")
}

/// A page: an incomplete answer of revision `revision` that changes these keys.
fn change(revision: u64, removed: &[&str], set: Vec<Value>) -> Value {
    json!({"epoch": "one", "revision": revision, "complete": false, "removed": removed, "set": set})
}

fn complete(epoch: &str, revision: u64, set: Vec<Value>) -> Value {
    json!({"epoch": epoch, "revision": revision, "complete": true, "set": set})
}

fn answer(feed: &mut Feed, page: &Value, policy: &Policy) -> Result<(), AnswerError> {
    let twice = r#"{"id": "A", "api_key": "a-key-0123456789", "enabled": true, "enabled": false}"#;
    let page = page.to_string().replace("\"TWICE\"", twice);
    feed.answer(page.as_bytes(), policy, NOW).map(drop)
}

/// The keys in force, each as `id=api key`, sorted; then the refused ones, as `id:code`, in their order.
fn fates(feed: &Feed) -> String {
    let Some(keys) = feed.keys() else {
        return "unknown".into();
    };
    let mut in_force: Vec<String> = keys
        .keys()
        .map(|key| format!("{}={}", key.id(), api_keys_of(keys, key.id())))
        .collect();
    in_force.sort();
    let refused = keys.refused().map(|key| format!("{}:{}", key.id, key.code.code()));
    in_force.into_iter().chain(refused).collect::<Vec<_>>().join(" ")
}

/// The API keys of the tables below that find the key.
fn api_keys_of(keys: &FedKeys, id: &str) -> String {
    let known = ["a", "b", "c", "d", "static"];
    let finds = |api_key: &&&str| {
        let found = keys.find_key(&KeyDigest::of(raw(api_key).as_bytes()));
        found.is_some_and(|found| found.key().id() == id)
    };
    known.iter().filter(finds).copied().collect::<Vec<_>>().join(",")
}

#[test]
fn what_becomes_of_keys() {
    let wrong = |id: &str, api_key: &str| with(id, api_key, json!({"kind": "nonsense"}));
    let newer = |id: &str, api_key: &str| with(id, api_key, json!({"allowed_cities": ["Oslo"]}));
    let scoped = |id: &str, api_key: &str, scope: &str| with(id, api_key, json!({"scopes": [scope]}));
    let disabled = |key: Value| {
        let mut key = key;
        key["enabled"] = false.into();
        key
    };
    let two = || complete("one", 1, vec![key("A", "a"), key("B", "b")]);
    for (name, pages, expected) in [
        ("a complete answer", vec![two()], "A=a B=b"),
        (
            "one more",
            vec![two(), change(2, &[], vec![key("C", "c")])],
            "A=a B=b C=c",
        ),
        (
            "another API key",
            vec![two(), change(2, &[], vec![key("A", "c")])],
            "A=c B=b",
        ),
        ("removed", vec![two(), change(2, &["A"], vec![])], "B=b"),
        (
            "removed that was never there",
            vec![two(), change(2, &["Z"], vec![])],
            "A=a B=b",
        ),
        (
            "removed, and set in the same page",
            vec![two(), change(2, &["A"], vec![key("A", "c")])],
            "A=c B=b",
        ),
        (
            "moved to another id",
            vec![two(), change(2, &["A"], vec![key("C", "a")])],
            "B=b C=a",
        ),
        (
            "two that exchange their API keys",
            vec![two(), change(2, &[], vec![key("A", "b"), key("B", "a")])],
            "A=b B=a",
        ),
        (
            "the later of one id",
            vec![two(), change(2, &[], vec![key("A", "c"), key("A", "d")])],
            "A=d B=b",
        ),
        (
            "an API key that another has",
            vec![two(), change(2, &[], vec![key("C", "b")])],
            "A=a B=b C:duplicate_api_key",
        ),
        (
            "an API key that another has, until that is removed",
            vec![two(), change(2, &[], vec![key("C", "b")]), change(3, &["B"], vec![])],
            "A=a C=b",
        ),
        (
            "two wait for the same: the one that came first",
            vec![
                two(),
                change(2, &[], vec![key("C", "b"), key("D", "b")]),
                change(3, &[], vec![key("B", "c")]),
            ],
            "A=a B=c C=b D:duplicate_api_key",
        ),
        (
            "the id of a static key",
            vec![two(), change(2, &[], vec![key("static", "c")])],
            "A=a B=b static:duplicate_id",
        ),
        (
            "the API key of a static key",
            vec![two(), change(2, &[], vec![key("C", "static")])],
            "A=a B=b C:duplicate_api_key",
        ),
        (
            "a wrong key",
            vec![two(), change(2, &[], vec![wrong("C", "c")])],
            "A=a B=b C:invalid_key",
        ),
        (
            "a field that is not known",
            vec![two(), change(2, &[], vec![newer("C", "c")])],
            "A=a B=b C:unknown_field",
        ),
        (
            "a wrong key keeps the one before",
            vec![two(), change(2, &[], vec![wrong("A", "c")])],
            "A=a B=b A:invalid_key",
        ),
        (
            "and that goes when it is removed",
            vec![two(), change(2, &[], vec![wrong("A", "c")]), change(3, &["A"], vec![])],
            "B=b",
        ),
        (
            "and is replaced when a right one comes",
            vec![
                two(),
                change(2, &[], vec![wrong("A", "c")]),
                change(3, &[], vec![key("A", "d")]),
            ],
            "A=d B=b",
        ),
        (
            "a wrong key that is disabled keeps nothing",
            vec![two(), change(2, &[], vec![disabled(newer("A", "c"))])],
            "B=b A:unknown_field",
        ),
        (
            "a wrong key of which one of two members says that it is disabled keeps nothing",
            vec![two(), change(2, &[], vec![json!("TWICE")])],
            "B=b A:invalid_key",
        ),
        (
            "a disabled key that is refused keeps nothing",
            vec![two(), change(2, &[], vec![disabled(scoped("A", "a", "gone"))])],
            "B=b A:unknown_scope",
        ),
        (
            "a wrong key whose API key has moved keeps nothing",
            vec![two(), change(2, &[], vec![wrong("A", "c"), key("C", "a")])],
            "B=b C=a A:invalid_key",
        ),
        (
            "a wrong key whose API key moves later keeps nothing",
            vec![
                two(),
                change(2, &[], vec![wrong("A", "c")]),
                change(3, &[], vec![key("C", "a")]),
            ],
            "B=b C=a A:invalid_key",
        ),
        (
            "a refused key keeps the one before",
            vec![two(), change(2, &[], vec![scoped("A", "c", "gone")])],
            "A=a B=b A:unknown_scope",
        ),
        (
            "a scope that is there",
            vec![two(), change(2, &[], vec![scoped("A", "c", "search")])],
            "A=c B=b",
        ),
        (
            "a header that is not listed",
            vec![
                two(),
                change(
                    2,
                    &[],
                    vec![with("C", "c", json!({"upstream_headers": {"X-Team": "t"}}))],
                ),
            ],
            "A=a B=b C:unlisted_upstream_header",
        ),
        (
            "a header that is listed",
            vec![
                two(),
                change(
                    2,
                    &[],
                    vec![with("C", "c", json!({"upstream_headers": {"x-plan": "t"}}))],
                ),
            ],
            "A=a B=b C=c",
        ),
        (
            "the same header twice",
            vec![
                two(),
                change(
                    2,
                    &[],
                    vec![with(
                        "C",
                        "c",
                        json!({"upstream_headers": {"x-plan": "t", "X-Plan": "u"}}),
                    )],
                ),
            ],
            "A=a B=b C:invalid_key",
        ),
        (
            "the same API key twice in one key",
            vec![
                two(),
                change(2, &[], vec![with("C", "c", json!({"api_key": [raw("c"), raw("c")]}))]),
            ],
            "A=a B=b C:invalid_key",
        ),
        (
            "several API keys",
            vec![
                two(),
                change(2, &[], vec![with("C", "c", json!({"api_key": [raw("c"), raw("d")]}))]),
            ],
            "A=a B=b C=c,d",
        ),
        (
            "a secret that is another's public key",
            vec![
                complete(
                    "one",
                    1,
                    vec![with("A", "a", json!({"scoped_tokens": {"secrets": [BYTES]}}))],
                ),
                change(
                    2,
                    &[],
                    vec![with(
                        "B",
                        "b",
                        json!({"scoped_tokens": {"public_keys": [public_key()]}}),
                    )],
                ),
            ],
            "A=a B:public_token_secret",
        ),
        (
            "another epoch takes the place",
            vec![two(), complete("two", 1, vec![key("C", "a")])],
            "C=a",
        ),
        (
            "another epoch, in which a key is wrong: the one before stays",
            vec![two(), complete("two", 1, vec![wrong("A", "c"), key("C", "c")])],
            "A=a C=c A:invalid_key",
        ),
        (
            "another epoch, in which a key is wrong and its API key has moved",
            vec![two(), complete("two", 1, vec![wrong("A", "c"), key("C", "a")])],
            "C=a A:invalid_key",
        ),
        (
            "another epoch, in which a key is disabled",
            vec![two(), complete("two", 1, vec![disabled(wrong("A", "c"))])],
            "A:invalid_key",
        ),
        (
            "a key without an id",
            vec![two(), change(2, &[], vec![json!({"api_key": "x"})])],
            "A=a B=b",
        ),
    ] {
        let policy = usual();
        let mut feed = Feed::new("test");
        for page in pages {
            answer(&mut feed, &page, &policy).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        assert_eq!(fates(&feed), expected, "{name}");
    }
}

/// As a secret; [`public_key`] has the same bytes. They are a point on the curve (RFC 8037, appendix A.2).
const BYTES: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn public_key() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": BYTES})
}

#[test]
fn what_a_policy_update_changes() {
    let keys = |more: Value| policy(more);
    let search = json!({"search": [{"methods": ["GET"], "path": "/search"}]});
    let static_key = |id: &str, api_key: &str| json!([{"id": id, "api_key": raw(api_key), "kind": "secret"}]);
    let scoped = with("A", "a", json!({"scopes": ["search"]}));
    for (name, first, set, second, expected) in [
        (
            "a scope goes",
            json!({"scopes": search}),
            vec![scoped.clone()],
            json!({}),
            "A:unknown_scope",
        ),
        (
            "a scope comes",
            json!({}),
            vec![scoped.clone()],
            json!({"scopes": search}),
            "A=a",
        ),
        (
            "an id becomes static",
            json!({}),
            vec![key("A", "a")],
            json!({"keys": static_key("A", "b")}),
            "A:duplicate_id",
        ),
        (
            "an id is static no more",
            json!({"keys": static_key("A", "b")}),
            vec![key("A", "a")],
            json!({}),
            "A=a",
        ),
        (
            "an API key becomes static",
            json!({}),
            vec![key("A", "a")],
            json!({"keys": static_key("Z", "a")}),
            "A:duplicate_api_key",
        ),
        (
            "one that waited takes the place of one that goes",
            json!({"scopes": search}),
            vec![scoped.clone(), key("B", "a")],
            json!({}),
            "B=a A:unknown_scope",
        ),
        (
            "a form that stayed goes with its scope",
            json!({"scopes": search}),
            vec![scoped.clone(), with("A", "a", json!({"kind": "nonsense"}))],
            json!({}),
            "A:invalid_key",
        ),
        (
            "a header is not listed any more",
            json!({"upstream_header_names": ["X-Plan"]}),
            vec![with("A", "a", json!({"upstream_headers": {"X-Plan": "p"}}))],
            json!({}),
            "A:unlisted_upstream_header",
        ),
    ] {
        let mut feed = Feed::new("test");
        let before = keys(first);
        answer(&mut feed, &complete("one", 0, vec![]), &before).unwrap();
        for (key, revision) in set.into_iter().zip(1..) {
            answer(&mut feed, &change(revision, &[], vec![key]), &before).unwrap();
        }
        feed.resolve(&keys(second));
        assert_eq!(fates(&feed), expected, "{name}");
    }
}

#[test]
fn which_answers_are_taken() {
    use AnswerError::{Malformed, Outdated};
    let paged = |page: Value, next: &str| {
        let mut page = page;
        page["next"] = next.into();
        page
    };
    let first = || complete("one", 5, vec![key("A", "a")]);
    let malformed = Some("malformed");
    let outdated = Some("outdated");
    for (name, pages, last, expected) in [
        ("a change before anything", vec![], change(1, &[], vec![]), malformed),
        (
            "a change of another epoch",
            vec![first()],
            json!({"epoch": "two", "revision": 6, "complete": false}),
            malformed,
        ),
        ("an older change", vec![first()], change(4, &["A"], vec![]), outdated),
        (
            "an older complete answer",
            vec![first()],
            complete("one", 4, vec![]),
            outdated,
        ),
        (
            "an older revision of another epoch",
            vec![first()],
            complete("two", 1, vec![key("A", "a")]),
            None,
        ),
        ("nothing new", vec![first()], change(5, &[], vec![]), None),
        ("no JSON", vec![first()], json!("<html>"), malformed),
        (
            "no epoch",
            vec![first()],
            json!({"revision": 6, "complete": true}),
            malformed,
        ),
        (
            "an epoch with a space",
            vec![first()],
            complete("o n e", 6, vec![]),
            malformed,
        ),
        (
            "a fraction for a revision",
            vec![first()],
            json!({"epoch": "one", "revision": 6.5, "complete": true}),
            malformed,
        ),
        (
            "no word of whether it is complete",
            vec![first()],
            json!({"epoch": "one", "revision": 6}),
            malformed,
        ),
        (
            "keys that are not a list",
            vec![first()],
            json!({"epoch": "one", "revision": 6, "complete": true, "set": {}}),
            malformed,
        ),
        (
            "ids that are not texts",
            vec![first()],
            json!({"epoch": "one", "revision": 6, "complete": false, "removed": [1]}),
            malformed,
        ),
        (
            "a member that is not known",
            vec![first()],
            json!({"epoch": "one", "revision": 6, "complete": false, "more": 1}),
            None,
        ),
        (
            "an empty page with another to come",
            vec![first()],
            paged(change(6, &[], vec![]), "x"),
            malformed,
        ),
        (
            "pages of different revisions",
            vec![first(), paged(change(6, &["B"], vec![]), "x")],
            change(7, &[], vec![]),
            malformed,
        ),
        (
            "pages of a change and of a complete answer",
            vec![first(), paged(change(6, &["B"], vec![]), "x")],
            complete("one", 6, vec![]),
            malformed,
        ),
        (
            "a page that comes again",
            vec![first(), paged(change(6, &["B"], vec![]), "x")],
            paged(change(6, &["B"], vec![]), "x"),
            malformed,
        ),
    ] {
        let policy = usual();
        let mut feed = Feed::new("test");
        for page in pages {
            answer(&mut feed, &page, &policy).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        let before = fates(&feed);
        let result = match answer(&mut feed, &last, &policy) {
            Ok(()) => None,
            Err(Malformed(_)) => malformed,
            Err(Outdated) => outdated,
        };
        assert_eq!(result, expected, "{name}");
        if result.is_some() {
            assert_eq!(fates(&feed), before, "{name}");
            assert!(!feed.has_more(), "{name}");
        }
    }
}

#[test]
fn pages_of_a_complete_answer_take_the_place_together() {
    let policy = usual();
    let mut feed = Feed::new("test");
    answer(&mut feed, &complete("one", 1, vec![key("A", "a")]), &policy).unwrap();
    let mut page = complete("two", 1, vec![key("B", "b")]);
    page["next"] = "more".into();
    answer(&mut feed, &page, &policy).unwrap();
    assert_eq!(fates(&feed), "A=a");
    let poll: Value = serde_json::from_str(&feed.poll("node", 10)).unwrap();
    assert_eq!(
        (&poll["after"], &poll["cursor"], &poll["wait_seconds"]),
        (&json!({"epoch": "one", "revision": 1}), &json!("more"), &json!(0))
    );
    answer(&mut feed, &complete("two", 1, vec![key("C", "c")]), &policy).unwrap();
    assert_eq!(fates(&feed), "B=b C=c");
}

#[test]
fn a_poll_tells_what_is_in_force_and_what_is_refused() {
    let policy = usual();
    let mut feed = Feed::new("the-instance");
    let first: Value = serde_json::from_str(&feed.poll("a \"node\"", 10)).unwrap();
    let nothing = json!({"count": 0, "first": []});
    assert_eq!(
        first,
        json!({"node": "a \"node\"", "instance": "the-instance", "after": null, "cursor": null, "wait_seconds": 10, "refused": nothing})
    );
    let wrong = (0..12).map(|number| with(&format!("k{number}"), "a", json!({"kind": 1})));
    let keys = wrong.chain([json!({"api_key": "no id"}), json!(7)]).collect();
    answer(&mut feed, &complete("one", 7, keys), &policy).unwrap();
    let poll: Value = serde_json::from_str(&feed.poll("", 10)).unwrap();
    assert_eq!(poll["after"], json!({"epoch": "one", "revision": 7}));
    assert_eq!(poll["refused"]["count"], 14);
    assert_eq!(poll["refused"]["first"].as_array().unwrap().len(), 10);
    assert_eq!(poll["refused"]["first"][9], json!({"id": "k9", "code": "invalid_key"}));
}

/// What goes leaves nothing behind that grows: neither the union of origins nor the memory.
#[test]
fn a_feed_that_changes_for_long_asks_for_everything_again() {
    let policy = usual();
    let mut feed = Feed::new("test");
    answer(&mut feed, &complete("one", 0, vec![]), &policy).unwrap();
    let mut revision = 0;
    loop {
        revision += 1;
        let origins = [format!("https://preview-{revision}.example")];
        let key = json!({"id": "A", "api_key": raw("a"), "allowed_origins": origins});
        answer(&mut feed, &change(revision, &[], vec![key]), &policy).unwrap();
        let poll: Value = serde_json::from_str(&feed.poll("", 10)).unwrap();
        if poll["after"].is_null() {
            break;
        }
        assert!(revision < 10_000);
    }
    answer(&mut feed, &complete("one", revision, vec![key("A", "a")]), &policy).unwrap();
    let poll: Value = serde_json::from_str(&feed.poll("", 10)).unwrap();
    assert_eq!(poll["after"]["revision"], revision);
}
