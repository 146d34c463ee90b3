use serde_json::Value;

use super::page::{MAX_KEY_BYTES, MAX_PAGE_BYTES};
use super::table::MAX_TOMBSTONES;
use super::*;

fn key(id: &str, version: u32) -> FedKey {
    FedKey::unchecked(id, &format!(r#"{{"id":"{id}","version":{version}}}"#))
}

/// A key with JSON of this length.
fn large(id: &str, bytes: usize) -> FedKey {
    let json = format!(r#"{{"id":"{id}","name":"{}"}}"#, "x".repeat(bytes - 19 - id.len()));
    assert_eq!(json.len(), bytes);
    FedKey::unchecked(id, &json)
}

/// What a gateway has, as ids with their versions.
#[derive(Debug, Default)]
struct Gateway {
    keys: std::collections::BTreeMap<String, Value>,
    after: Option<After>,
}

impl Gateway {
    /// Takes a whole answer, and calls `between` after each page but the last. Returns the number of its pages, and whether it is complete.
    fn poll(&mut self, state: &State, mut between: impl FnMut()) -> Option<(usize, bool)> {
        let (mut cursor, mut first) = (None, None);
        for pages in 1.. {
            let Answer::Page { body, is_complete } = state.answer(self.after.as_ref(), cursor.as_deref()) else {
                return None;
            };
            assert!(body.len() <= MAX_PAGE_BYTES, "{}", body.len());
            let page: Value = serde_json::from_str(&body).unwrap();
            let head = (
                page["epoch"].clone(),
                page["revision"].clone(),
                page["complete"].clone(),
            );
            assert_eq!(page["complete"], is_complete);
            if first.is_none() && is_complete {
                self.keys.clear();
            }
            assert_eq!(*first.get_or_insert(head.clone()), head, "all pages are of one answer");
            for id in page["removed"].as_array().unwrap() {
                self.keys.remove(id.as_str().unwrap());
            }
            for key in page["set"].as_array().unwrap() {
                self.keys.insert(key["id"].as_str().unwrap().into(), key.clone());
            }
            let next = page["next"].as_str().map(str::to_owned);
            if next.is_none() {
                let epoch = page["epoch"].as_str().unwrap().into();
                let revision = page["revision"].as_u64().unwrap();
                self.after = Some(After { epoch, revision });
                return Some((pages, is_complete));
            }
            assert_ne!(
                page["removed"].as_array().unwrap().len() + page["set"].as_array().unwrap().len(),
                0
            );
            assert!(next.as_ref().unwrap().len() <= 256);
            assert_ne!(next, cursor, "a page goes on");
            cursor = next;
            between();
        }
        None
    }

    fn ids(&self) -> Vec<&str> {
        self.keys.keys().map(String::as_str).collect()
    }
}

#[test]
fn a_change_is_one_revision_if_it_changes_anything() {
    let state = State::new();
    type Change<'c> = (&'c [(&'c str, u32)], &'c [&'c str]);
    type Given<'c> = (u64, usize, &'c [&'c str], &'c [&'c str]);
    let changes: [(Change, Given); 8] = [
        // What is set and removed; then the revision, the keys there are, and what a gateway gets.
        ((&[("a", 1), ("b", 1)], &[]), (1, 2, &[], &["a", "b"])),
        ((&[("a", 1)], &[]), (1, 2, &[], &[])),
        ((&[], &["none"]), (1, 2, &[], &[])),
        ((&[("a", 2)], &[]), (2, 2, &[], &["a"])),
        ((&[], &["a", "none"]), (3, 1, &["a"], &[])),
        ((&[("a", 2)], &["b"]), (4, 1, &["b"], &["a"])),
        ((&[("a", 3)], &["a"]), (5, 1, &["a"], &["a"])),
        ((&[], &[]), (5, 1, &[], &[])),
    ];
    let mut after = None;
    for ((set, removed), (revision, count, given_removed, given_set)) in changes {
        let set: Vec<FedKey> = set.iter().map(|(id, version)| key(id, *version)).collect();
        assert_eq!(state.change(set, removed.iter().copied()), revision);
        assert_eq!((state.revision(), state.key_count()), (revision, count));
        match state.answer(after.as_ref(), None) {
            Answer::Page { body, .. } => {
                let page: Value = serde_json::from_str(&body).unwrap();
                let ids: Vec<&str> = page["set"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|key| key["id"].as_str().unwrap())
                    .collect();
                assert_eq!(
                    (ids.as_slice(), &page["removed"]),
                    (given_set, &Value::from(given_removed))
                );
            }
            answer => {
                let body = format!(
                    r#"{{"epoch":"{}","revision":{revision},"complete":false}}"#,
                    state.epoch()
                );
                assert_eq!((answer, given_set.len()), (Answer::Unchanged { body }, 0));
            }
        }
        after = Some(After {
            epoch: state.epoch().into(),
            revision,
        });
    }
    // Each change is there once, as it was last.
    let first = After {
        epoch: state.epoch().into(),
        revision: 0,
    };
    let Answer::Page { body, .. } = state.answer(Some(&first), None) else {
        panic!("there are changes");
    };
    let page: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&page["removed"], &page["set"]),
        (
            &serde_json::json!(["b", "a"]),
            &serde_json::json!([{"id": "a", "version": 3}])
        )
    );
}

#[test]
fn all_keys_can_be_replaced() {
    let state = State::new();
    state.set([key("a", 1), key("b", 1), key("c", 1)]);
    let mut gateway = Gateway::default();
    gateway.poll(&state, || {});
    assert_eq!(state.replace_all([key("b", 1), key("c", 2), key("d", 1)]), 2);
    assert_eq!(gateway.poll(&state, || {}), Some((1, false)));
    assert_eq!(gateway.ids(), ["b", "c", "d"]);
    assert_eq!(state.replace_all([key("b", 1), key("c", 2), key("d", 1)]), 2);
}

#[test]
fn what_a_gateway_has_decides_its_answer() {
    let state = State::new();
    let empty = state.answer(None, None);
    assert!(matches!(empty, Answer::Page { is_complete: true, .. }), "{empty:?}");
    state.set([key("a", 1)]);
    state.set([key("b", 1)]);
    let own = state.epoch();
    let other = State::new();
    assert_ne!(own, other.epoch());
    for (epoch, revision, expected) in [
        (own, 0, "changes"),
        (own, 1, "changes"),
        (own, 2, "unchanged"),
        (own, 3, "ahead"),
        (own, 1 << 53, "ahead"),
        (other.epoch(), 2, "complete"),
        (other.epoch(), 9, "complete"),
    ] {
        let after = After {
            epoch: epoch.into(),
            revision,
        };
        let found = match state.answer(Some(&after), None) {
            Answer::Page { is_complete: true, .. } => "complete",
            Answer::Page { .. } => "changes",
            Answer::Unchanged { .. } => "unchanged",
            Answer::Ahead => "ahead",
            Answer::UnknownCursor => "unknown cursor",
        };
        assert_eq!(found, expected, "{after:?}");
    }
}

#[test]
fn pages_are_full_and_no_larger() {
    // The bytes of keys, without the comma of each: a page of several has 50,000.
    for (keys, pages) in [
        (vec![MAX_KEY_BYTES], 1),
        (vec![MAX_KEY_BYTES, 100], 2),
        (vec![24_999, 24_999], 1),
        (vec![24_999, 25_001], 2),
        (vec![20_000; 5], 3),
        (vec![MAX_KEY_BYTES; 4], 4),
    ] {
        let state = State::new();
        state.set([key("old", 1)]);
        let mut gateway = Gateway::default();
        gateway.poll(&state, || {});
        state.remove(["old"]);
        let all: Vec<FedKey> = keys
            .iter()
            .zip(10..)
            .map(|(bytes, n)| large(&format!("k{n}"), *bytes))
            .collect();
        state.set(all);
        // The removed id takes a page of its own where a key fills one.
        let found = gateway.poll(&state, || {}).unwrap();
        assert!(
            !found.1 && (pages..=pages + 1).contains(&found.0),
            "{keys:?}: {found:?}"
        );
        assert_eq!(gateway.keys.len(), keys.len());
        let mut other = Gateway::default();
        assert_eq!(other.poll(&state, || {}), Some((pages, true)), "{keys:?}");
        assert_eq!(other.keys, gateway.keys);
    }
}

#[test]
fn removals_go_over_pages_too() {
    let state = State::new();
    let ids: Vec<String> = (0..10_000).map(|n| format!("{n:064}")).collect();
    state.set(ids.iter().map(|id| key(id, 1)));
    let mut gateway = Gateway::default();
    assert!(gateway.poll(&state, || {}).unwrap().0 > 2);
    state.remove(ids.iter().map(String::as_str));
    state.set([key("new", 1)]);
    // An id takes 67 bytes, so 746 of them fill a page.
    assert_eq!(gateway.poll(&state, || {}), Some((14, false)));
    assert_eq!(gateway.ids(), ["new"]);
}

#[test]
fn an_answer_stays_one_answer_while_keys_change() {
    for is_complete in [true, false] {
        let state = State::new();
        let mut gateway = Gateway::default();
        state.set([key("z", 1)]);
        if !is_complete {
            gateway.poll(&state, || {});
        }
        state.set((10..20).map(|n| large(&format!("k{n}"), 20_000)));
        let revision = state.revision();
        // After the first page, of k10 and k11: what was given changes, what was not given is changed, removed and new.
        let mut times = 0;
        let answer = gateway.poll(&state, || {
            if times == 0 {
                state.set([key("k10", 2), key("k15", 2), key("a", 1), key("zz", 1)]);
                state.remove(["k11", "k16"]);
            }
            times += 1;
        });
        assert_eq!(answer.unwrap().1, is_complete);
        let after = gateway.after.clone().unwrap();
        assert_eq!(
            after.revision, revision,
            "the answer is of the revision in which it began"
        );
        // A key that has changed meanwhile is never missing: its old form or its new one is there.
        for id in ["k10", "k12", "k14", "k17", "z"] {
            assert!(gateway.keys.contains_key(id), "{id} {is_complete}");
        }
        assert_eq!(
            gateway.keys.contains_key("k15"),
            is_complete,
            "of changes, the new form is left to the next poll"
        );
        assert_eq!(gateway.poll(&state, || {}), Some((1, false)));
        let mut other = Gateway::default();
        other.poll(&state, || {});
        assert_eq!(gateway.keys, other.keys);
    }
}

#[test]
fn forgotten_removals_make_an_answer_complete() {
    let state = State::new();
    let ids: Vec<String> = (0..=MAX_TOMBSTONES).map(|n| format!("k{n}")).collect();
    state.set(ids.iter().map(|id| key(id, 1)));
    state.set([key("stays", 1)]);
    let mut gateways = [const {
        Gateway {
            keys: std::collections::BTreeMap::new(),
            after: None,
        }
    }; 2];
    let [early, late] = &mut gateways;
    early.poll(&state, || {});
    // The first of them is one too many.
    state.remove(["k0"]);
    late.poll(&state, || {});
    state.remove(ids.iter().skip(1).map(String::as_str));
    assert_eq!(
        early.poll(&state, || {}).map(|(_, is_complete)| is_complete),
        Some(true)
    );
    assert_eq!(
        late.poll(&state, || {}).map(|(_, is_complete)| is_complete),
        Some(false)
    );
    assert_eq!((early.ids(), late.ids()), (vec!["stays"], vec!["stays"]));
    state.set([key("k5", 2)]);
    assert_eq!(late.poll(&state, || {}), Some((1, false)));
    assert_eq!(late.ids(), ["k5", "stays"]);
}

/// A gateway that cannot use the new key would keep the old one, if it did not know that this was removed.
#[test]
fn an_id_that_was_removed_and_comes_back_is_removed_first() {
    let state = State::new();
    state.set([key("a", 1), key("b", 1)]);
    let after = After {
        epoch: state.epoch().into(),
        revision: 1,
    };
    let removed_after = |after: &After| {
        let Answer::Page { body, .. } = state.answer(Some(after), None) else {
            panic!("there are changes")
        };
        let page: Value = serde_json::from_str(&body).unwrap();
        (page["removed"].clone(), page["set"][0]["version"].clone())
    };
    for version in 2..5 {
        state.remove(["a"]);
        let last = After {
            revision: state.revision(),
            ..after.clone()
        };
        state.set([key("a", version)]);
        assert_eq!(removed_after(&after), (Value::from(vec!["a"]), Value::from(version)));
        let none: [&str; 0] = [];
        assert_eq!(removed_after(&last), (Value::from(none.to_vec()), Value::from(version)));
    }
}

#[test]
fn a_cursor_that_is_not_known_is_refused() {
    let state = State::new();
    state.set([key("a", 1)]);
    let epoch = state.epoch();
    let after = After {
        epoch: epoch.into(),
        revision: 0,
    };
    for (cursor, is_known) in [
        (format!("{epoch}:1:k:a"), true),
        (format!("{epoch}:1:k:"), true),
        (format!("{epoch}:1:k:gone"), true),
        (format!("{epoch}:1:c:1:a"), true),
        (format!("{epoch}:1:r:1:a"), true),
        (format!("{epoch}:1:c:9:a"), true),
        (format!("{epoch}:0:c:{}:a", u64::MAX), true),
        (format!("{epoch}:2:k:a"), false),
        (format!("{epoch}:{}:k:a", u64::MAX), false),
        (format!("{}:1:k:a", State::new().epoch()), false),
        (format!("{epoch}:1:x:a"), false),
        (format!("{epoch}:1:c:a"), false),
        (format!("{epoch}:-1:k:a"), false),
        (format!("{epoch}:1"), false),
        ("".into(), false),
        (":::".into(), false),
    ] {
        let answer = state.answer(Some(&after), Some(&cursor));
        assert_eq!(answer != Answer::UnknownCursor, is_known, "{cursor}");
        if let Some(parsed) = Cursor::parse(&cursor) {
            assert_eq!(Cursor::parse(&parsed.to_string()), Some(parsed), "{cursor}");
        }
        // Without what the gateway has, only a complete answer goes on.
        let answer = state.answer(None, Some(&cursor));
        assert_eq!(
            answer != Answer::UnknownCursor,
            is_known && cursor.contains(":k:"),
            "{cursor}"
        );
    }
}
