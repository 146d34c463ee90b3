//! The filter over a host of the test's own, which fails: each call in turn, its memory, its clock. Nothing passes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/token.rs"]
mod maker;
#[path = "harness/host.rs"]
mod world;

use std::collections::BTreeMap;

use keyfence_filter::host::{Action, MapType};
use keyfence_filter::policy_cache::OTHER_MEMORY;
use keyfence_filter::stream::Stream;
use world::{Fake, Vm};

const POLICY: &str = r#"{
    "keys": [
        {"id": "full", "api_key": ["newest", {"key": "full", "label": "2026-05", "expires_at": "2026-07-03T00:00:00Z"}], "allowed_origins": ["https://a.example"], "allowed_ips": ["10.0.0.0/8"], "scopes": ["all"],
         "rate_limit_per_minute": 10, "rate_limit_per_minute_per_client": 5, "expires_at": "2036-01-01T00:00:00Z", "upstream_headers": {"X-Plan": "gold"}},
        {"id": "clients", "api_key": "clients", "rate_limit_per_minute_per_client": 5},
        {"id": "expired", "api_key": "expired", "expires_at": "2026-01-01T00:00:00Z"}
    ],
    "upstream_header_names": ["X-Plan"],
    "scopes": {"all": [{"methods": ["GET"], "path": "/**"}]},
    "forward_api_key": false
}"#;

fn plugin(host: &Fake) -> Vm {
    let mut plugin = Vm::new(host.clone());
    configure(&mut plugin, host, 1);
    plugin
}

fn configure(plugin: &mut Vm, host: &Fake, context: u32) -> bool {
    let size = host.0.configuration.borrow().len();
    plugin.configure(context, size)
}

fn request(key: &str) -> Vec<(&'static str, String)> {
    [
        (":method", "GET"),
        (":path", "/a"),
        ("authorization", &format!("Bearer {key}")),
        ("origin", "https://a.example"),
        ("x-key-id", "forged"),
        ("x_key_id", "forged"),
        ("x-plan", "forged"),
        ("x.plan", "forged"),
        ("x-http-method-override", "DELETE"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn send(plugin: &mut Vm, host: &Fake, stream: u32, root: u32, key: &str) -> Action {
    let lines = request(key);
    host.set(
        MapType::RequestHeaders,
        &lines.iter().map(|(n, v)| (*n, &v[..])).collect::<Vec<_>>(),
    );
    plugin.streams.insert(stream, Stream::new(root));
    plugin.on_request_headers(stream)
}

/// What is true once a request has gone to its upstream.
fn assert_is_clean(host: &Fake, what: &str) {
    let values = |read_as: &str| {
        host.edit(MapType::RequestHeaders, |lines| {
            let alike = |name: &[u8]| String::from_utf8_lossy(name).replace(['_', '.'], "-") == read_as;
            let lines = lines.iter().filter(|(name, _)| alike(name));
            lines
                .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(values("x-key-id"), ["full"], "{what}");
    assert_eq!(values("x-plan"), ["gold"], "{what}");
    assert!(!host.has(MapType::RequestHeaders, "authorization"), "{what}");
    assert!(!host.has(MapType::RequestHeaders, "x-http-method-override"), "{what}");
}

#[test]
fn whatever_call_fails_a_request_does_not_pass() {
    let mut failed: BTreeMap<&str, u32> = BTreeMap::new();
    for number in 0.. {
        let host = Fake::new(POLICY);
        let mut plugin = plugin(&host);
        let before = host.0.calls.get();
        if number > 0 {
            host.0.fails.set(before + number);
        }
        let action = send(&mut plugin, &host, 2, 1, "full");
        let calls = host.0.calls.get() - before;
        let Some(call) = *host.0.failed.borrow() else {
            assert_eq!(action, Action::Continue, "without a failure");
            assert_is_clean(&host, "without a failure");
            if number > 0 {
                assert!(number > calls, "call {number} of {calls}");
                break;
            }
            continue;
        };
        *failed.entry(call).or_default() += 1;
        assert_eq!(action, Action::Pause, "{call}, call {number}");
        let answer = host.last_answer();
        assert!(matches!(answer, Some((503, _))), "{call}, call {number}: {answer:?}");
        assert!(
            host.0
                .log
                .borrow()
                .iter()
                .any(|line| line.contains(&format!("{call} failed"))),
            "{call}, call {number}"
        );
    }
    let names: Vec<&str> = failed.keys().copied().collect();
    assert_eq!(
        names,
        [
            "add_header",
            "headers",
            "increment_metric",
            "nanoseconds",
            "property",
            "random",
            "remove_header",
            "set_filter_state",
            "set_shared_data",
            "shared_data"
        ]
    );
}

/// The stream has ended with the error of a policy that cannot be applied.
fn assert_unavailable(host: &Fake, action: Action, case: &str) {
    assert_eq!(action, Action::Pause, "{case}");
    assert_eq!(host.last_answer(), Some((503, "policy_unavailable".into())), "{case}");
}

#[test]
fn headers_that_are_cut_off_let_nothing_pass() {
    for (map, bytes) in [
        (MapType::RequestHeaders, 1),
        (MapType::RequestHeaders, 20),
        (MapType::RequestTrailers, 1),
        (MapType::ResponseHeaders, 1),
    ] {
        let host = Fake::new(POLICY);
        let mut plugin = plugin(&host);
        if map == MapType::RequestHeaders {
            host.0.cut_off.set(bytes);
        }
        let mut action = send(&mut plugin, &host, 2, 1, "full");
        if map != MapType::RequestHeaders {
            assert_eq!(action, Action::Continue);
            host.set(map, &[("x-a", "b"), ("x-c", "d")]);
            host.0.cut_off.set(bytes);
            action = match map {
                MapType::RequestTrailers => plugin.on_request_trailers(2),
                _ => plugin.on_response_headers(2),
            };
        }
        assert_unavailable(&host, action, &format!("{map:?}"));
    }
}

#[test]
fn an_answer_that_cannot_be_sent_lets_nothing_pass() {
    for key in ["full", "nobody"] {
        let host = Fake::new(POLICY);
        let mut plugin = plugin(&host);
        host.0
            .fails_always
            .borrow_mut()
            .extend(["send_local_response", "increment_metric"]);
        assert_eq!(send(&mut plugin, &host, 2, 1, key), Action::Pause, "{key}");
    }
}

#[test]
fn whatever_call_fails_a_response_does_not_pass_unedited() {
    for number in 1.. {
        let host = Fake::new(POLICY);
        let mut plugin = plugin(&host);
        assert_eq!(send(&mut plugin, &host, 2, 1, "full"), Action::Continue);
        host.set(
            MapType::ResponseHeaders,
            &[
                (":status", "200"),
                ("access-control-allow-origin", "*"),
                ("vary", "Accept"),
                ("access-control-max-age", "1"),
            ],
        );
        host.0.fails.set(host.0.calls.get() + number);
        let action = plugin.on_response_headers(2);
        if host.0.failed.borrow().is_none() {
            assert_eq!(action, Action::Continue);
            break;
        }
        assert_unavailable(&host, action, &format!("call {number}"));
    }
}

#[test]
fn whatever_call_fails_trailers_do_not_pass() {
    for number in 1.. {
        let host = Fake::new(POLICY);
        let mut plugin = plugin(&host);
        assert_eq!(send(&mut plugin, &host, 2, 1, "full"), Action::Continue);
        host.set(
            MapType::RequestTrailers,
            &[
                ("x-key-id", "forged"),
                ("x_plan", "forged"),
                ("x_http_method_override", "PUT"),
                ("x-sum", "1"),
            ],
        );
        host.0.fails.set(host.0.calls.get() + number);
        let action = plugin.on_request_trailers(2);
        if host.0.failed.borrow().is_none() {
            assert_eq!(action, Action::Continue);
            assert_eq!(
                host.edit(MapType::RequestTrailers, |lines| lines.len()),
                1,
                "only x-sum is left"
            );
            break;
        }
        assert_eq!(action, Action::Pause, "call {number}");
    }
}

#[test]
fn old_entries_and_expiries_are_counted() {
    let host = Fake::new(POLICY);
    let mut plugin = plugin(&host);
    let values = || {
        (
            host.value("plugin=.=keyfence;.;keyfence_policy_expiries_within_week"),
            host.value("plugin=.=keyfence;.;keyfence_policy_next_expiry_timestamp_seconds"),
            host.value("keyfence_old_entry_requests_total"),
        )
    };
    let next = world::NOW + 2 * 86_400;
    assert_eq!(values(), (1, next, 0));
    for (key, old) in [("newest", 0), ("full", 1), ("expired", 1), ("nobody", 1), ("full", 2)] {
        send(&mut plugin, &host, 2, 1, key);
        assert_eq!(values(), (1, next, old), "{key}");
    }
    // The entry has expired: requests that still use it are refused and counted.
    host.0.seconds.set(next);
    assert_eq!(send(&mut plugin, &host, 3, 1, "full"), Action::Pause);
    assert_eq!(host.last_answer(), Some((401, "key_expired".into())));
    assert_eq!(values(), (1, next, 3));
    // Loaded again, the policy has another expiry next.
    assert!(configure(&mut plugin, &host, 2));
    assert_eq!(values(), (0, 2_082_758_400, 3));
    assert!(reconfigure(&mut plugin, &host, 3, "keyfence", &policy_with("k", 0)));
    assert_eq!(values(), (0, 0, 3));
}

#[test]
fn a_clock_that_was_never_set_makes_no_expired_key_valid() {
    let host = Fake::new(POLICY);
    let mut plugin = plugin(&host);
    assert_eq!(send(&mut plugin, &host, 2, 1, "expired"), Action::Pause);
    assert_eq!(host.last_answer(), Some((401, "key_expired".into())));
    host.0.seconds.set(0);
    assert_eq!(send(&mut plugin, &host, 3, 1, "expired"), Action::Pause);
    assert_eq!(host.last_answer(), Some((503, "policy_unavailable".into())));
}

#[test]
fn a_lost_race_is_tried_again_and_a_failed_write_is_not() {
    let host = Fake::new(POLICY);
    let mut plugin = plugin(&host);
    host.0.lost_races.set(5);
    assert_eq!(send(&mut plugin, &host, 2, 1, "full"), Action::Continue);
    host.0.fails_always.borrow_mut().push("set_shared_data");
    let before = host.0.calls.get();
    assert_eq!(send(&mut plugin, &host, 3, 1, "full"), Action::Pause);
    assert!(
        host.0.calls.get() - before < 30,
        "{} calls",
        host.0.calls.get() - before
    );
}

fn with_tokens(secret: &[u8]) -> String {
    let secret = maker::base64url(secret);
    format!(
        r#"{{"keys": [{{"id": "parent", "scoped_tokens": {{"secrets": ["{secret}"]}}, "allowed_origins": ["https://a.example"],
            "allowed_ips": ["10.0.0.0/8"], "rate_limit_per_minute": 100, "rate_limit_per_minute_per_client": 50}}]}}"#
    )
}

fn token() -> String {
    let claims = r#""sub":"alice","filter":"user=alice""#;
    maker::good(
        "parent",
        world::NOW as i64,
        claims,
        maker::Signer::Secret(maker::SECRET),
    )
}

#[test]
fn whatever_call_fails_for_a_token_the_request_does_not_pass() {
    for is_remembered in [false, true] {
        for number in 1.. {
            let host = Fake::new(&with_tokens(maker::SECRET));
            let mut plugin = plugin(&host);
            if is_remembered {
                assert_eq!(send(&mut plugin, &host, 2, 1, &token()), Action::Continue);
            }
            host.0.fails.set(host.0.calls.get() + number);
            let action = send(&mut plugin, &host, 3, 1, &token());
            if host.0.failed.borrow().is_none() {
                assert_eq!(action, Action::Continue);
                let sent = |name: &str, value: &str| {
                    let line = (name.as_bytes().to_vec(), value.as_bytes().to_vec());
                    host.edit(MapType::RequestHeaders, |lines| lines.contains(&line))
                };
                assert!(sent("x-key-subject", "alice") && sent("x-key-filter", "user=alice"));
                assert!(number > 12, "{number}");
                break;
            }
            assert_unavailable(&host, action, &format!("call {number}"));
        }
    }
}

#[test]
fn a_token_is_verified_under_the_policy_of_its_request() {
    let host = Fake::new(&with_tokens(maker::SECRET));
    let mut plugin = plugin(&host);
    let invalid = Some((401, "invalid_scoped_token".into()));
    assert_eq!(send(&mut plugin, &host, 2, 1, &token()), Action::Continue);
    let other = with_tokens(maker::OTHER_SECRET);
    assert!(reconfigure(&mut plugin, &host, 2, "keyfence", &other));
    assert_eq!(send(&mut plugin, &host, 3, 2, &token()), Action::Pause, "an update");
    assert_eq!(host.last_answer(), invalid);
    assert_eq!(
        send(&mut plugin, &host, 4, 1, &token()),
        Action::Continue,
        "the policy before it"
    );
    assert!(reconfigure(
        &mut plugin,
        &host,
        3,
        "another",
        &with_tokens(maker::SECRET)
    ));
    assert_eq!(
        send(&mut plugin, &host, 5, 3, &token()),
        Action::Continue,
        "another plugin"
    );
    assert!(reconfigure(&mut plugin, &host, 1, "keyfence", &other));
    assert_eq!(
        send(&mut plugin, &host, 6, 1, &token()),
        Action::Pause,
        "the same context again"
    );
    assert_eq!(host.last_answer(), invalid);
    assert!(reconfigure(
        &mut plugin,
        &host,
        2,
        "keyfence",
        &with_tokens(maker::SECRET)
    ));
    assert_eq!(
        send(&mut plugin, &host, 7, 2, &token()),
        Action::Continue,
        "a bad one that is good now"
    );
}

#[test]
fn a_token_needs_a_clock() {
    let host = Fake::new(&with_tokens(maker::SECRET));
    let mut plugin = plugin(&host);
    assert_eq!(send(&mut plugin, &host, 2, 1, &token()), Action::Continue);
    host.0.seconds.set(0);
    let action = send(&mut plugin, &host, 3, 1, &token());
    assert_unavailable(&host, action, "a clock that was never set");
    host.0.seconds.set(world::NOW + 60);
    assert_eq!(send(&mut plugin, &host, 4, 1, &token()), Action::Pause);
    assert_eq!(host.last_answer(), Some((401, "scoped_token_expired".into())));
}

const OF_CLIENTS: &str = r#"{"keys": [{"id": "full", "api_key": "full", "rate_limit_per_minute_per_client": 2}]}"#;

fn send_from(plugin: &mut Vm, host: &Fake, address: &str) -> Action {
    *host.0.address.borrow_mut() = address.into();
    send(plugin, host, 2, 1, "full")
}

/// As [`whatever_call_fails_a_request_does_not_pass`], where nothing but the limit needs the address: a call that fails makes nobody a
/// client whose address is not known.
#[test]
fn whatever_call_fails_for_a_limit_of_each_client_the_request_does_not_pass() {
    for number in 1.. {
        let host = Fake::new(OF_CLIENTS);
        let mut plugin = plugin(&host);
        host.0.fails.set(host.0.calls.get() + number);
        let action = send_from(&mut plugin, &host, "192.0.2.1:9");
        if host.0.failed.borrow().is_none() {
            assert_eq!(action, Action::Continue);
            assert!(number > 12, "{number}");
            break;
        }
        assert_unavailable(&host, action, &format!("call {number}"));
    }
}

#[test]
fn one_client_over_its_limit_is_refused_and_another_passes() {
    let host = Fake::new(OF_CLIENTS);
    let mut plugin = plugin(&host);
    for (address, is_refused) in [
        ("192.0.2.1:1", false),
        ("192.0.2.1:2", false),
        ("192.0.2.1:3", true),
        ("[::ffff:192.0.2.1]:4", true),
        ("192.0.2.2:1", false),
        ("[2001:db8::1]:1", false),
        ("[2001:db8::2]:1", false),
        ("[2001:db8::3]:1", true),
        ("[2001:db8:0:1::1]:1", false),
        ("/run/client.sock", false),
        ("192.0.2.1:0", false),
        ("192.0.2.2:0", true),
    ] {
        let action = send_from(&mut plugin, &host, address);
        let expected = if is_refused { Action::Pause } else { Action::Continue };
        assert_eq!(action, expected, "{address}");
        if is_refused {
            assert_eq!(host.last_answer(), Some((429, "client_rate_limit_exceeded".into())));
        }
    }
    let refused = "decision=.=deny;.;code=.=client_rate_limit_exceeded;.;keyfence_requests_total";
    assert_eq!(host.value(refused), 4);
    // What is counted is not in the policy, so another one does not forget it.
    assert!(configure(&mut plugin, &host, 1));
    assert_eq!(send_from(&mut plugin, &host, "192.0.2.1:4"), Action::Pause);
}

#[test]
fn without_a_secret_no_client_can_be_counted() {
    let host = Fake::new(OF_CLIENTS);
    let mut plugin = plugin(&host);
    host.0.fails_always.borrow_mut().push("random");
    assert_eq!(send_from(&mut plugin, &host, "192.0.2.1:9"), Action::Pause);
    assert_eq!(host.last_answer(), Some((503, "policy_unavailable".into())));
    // Another worker has made one.
    let secret = (b"keyfence/secret".to_vec(), (vec![1; 32], 1));
    host.0.shared.borrow_mut().extend([secret]);
    assert_eq!(send_from(&mut plugin, &host, "192.0.2.1:9"), Action::Continue);
}

/// Every bucket of the table, with its name and 160 bytes for what the host has beside it.
#[test]
fn the_clients_of_all_keys_take_no_more_than_16_mebibytes() {
    let host = Fake::new(OF_CLIENTS);
    let mut plugin = plugin(&host);
    for number in 0..100_000_u32 {
        let address = format!("{}:9", std::net::Ipv4Addr::from(number.wrapping_mul(2_654_435_761)));
        assert_eq!(send_from(&mut plugin, &host, &address), Action::Continue);
    }
    let shared = host.0.shared.borrow();
    let buckets = shared.iter().filter(|(name, _)| name.starts_with(b"keyfence/client/"));
    let sizes: Vec<usize> = buckets
        .map(|(name, (bytes, _))| name.len() + bytes.len() + 160)
        .collect();
    assert!((16_300..=16_384).contains(&sizes.len()), "{} buckets", sizes.len());
    assert_eq!(
        shared.len() - sizes.len(),
        1 + 2,
        "the secret, and what was logged once"
    );
    assert!(16_384 * sizes.iter().max().unwrap() <= 16 << 20);
}

/// On a worker the configuration call must not fail: Envoy would serve unfiltered. See `Plugin::configure`.
#[test]
fn whatever_call_fails_while_a_policy_is_loaded_nothing_passes() {
    let mut without_policy = 0;
    for number in 1.. {
        let host = Fake::new(POLICY);
        host.0.fails.set(number);
        let mut plugin = Vm::new(host.clone());
        assert!(configure(&mut plugin, &host, 1), "call {number}");
        let failed = host.0.failed.borrow_mut().take();
        host.0.fails.set(0);
        let wrong_key = send(&mut plugin, &host, 2, 1, "nobody");
        assert_eq!(wrong_key, Action::Pause, "call {number}");
        let action = send(&mut plugin, &host, 3, 1, "full");
        if action == Action::Pause {
            without_policy += 1;
            assert_eq!(
                host.last_answer(),
                Some((503, "policy_unavailable".into())),
                "call {number}"
            );
            assert_eq!(
                host.value("plugin=.=keyfence;.;keyfence_policy_load_failures_total"),
                1,
                "call {number}: {failed:?}"
            );
        }
        if failed.is_none() {
            break;
        }
    }
    assert!(without_policy > 10);
}

fn policy_with(key: &str, more: usize) -> String {
    let more: String = (0..more)
        .map(|n| format!(r#", {{"id": "more-{n}", "api_key": "more-{n}-0123456789", "kind": "secret"}}"#))
        .collect();
    format!(
        r#"{{"keys": [{{"id": "full", "api_key": "{key}", "kind": "publishable"}}{more}], "identity_header": null}}"#
    )
}

fn reconfigure(plugin: &mut Vm, host: &Fake, context: u32, name: &str, policy: &str) -> bool {
    *host.0.plugin_name.borrow_mut() = name.into();
    *host.0.configuration.borrow_mut() = policy.into();
    configure(plugin, host, context)
}

#[test]
fn a_policy_that_does_not_fit_is_none_and_is_told_of() {
    let host = Fake::new(&policy_with("first", 0));
    let mut plugin = plugin(&host);
    assert_eq!(send(&mut plugin, &host, 2, 1, "first"), Action::Continue);
    let accepted = host.value("plugin=.=keyfence;.;keyfence_policy_hash");
    // The text fits, and the policy does not.
    let second = policy_with("second", 1_000);
    host.0.memory.set(OTHER_MEMORY + second.len() + 1_000);
    assert!(reconfigure(&mut plugin, &host, 3, "keyfence", &second));
    for key in ["first", "second"] {
        assert_eq!(send(&mut plugin, &host, 4, 3, key), Action::Pause);
        assert_eq!(host.last_answer(), Some((503, "policy_unavailable".into())));
    }
    assert_eq!(host.value("plugin=.=keyfence;.;keyfence_policy_load_failures_total"), 1);
    let missing = host.value("plugin=.=keyfence;.;keyfence_policy_missing_hash");
    assert!(missing != 0 && missing != accepted);
    assert!(
        host.0
            .log
            .borrow()
            .iter()
            .any(|line| line.contains("policy not loaded"))
    );
    // Not even the text of this one fits, so that its hash is not known here. The canary has said it already.
    host.0
        .values
        .borrow_mut()
        .insert("plugin=.=keyfence;.;keyfence_policy_hash".into(), 4711);
    host.0.memory.set(0);
    assert!(reconfigure(
        &mut plugin,
        &host,
        7,
        "keyfence",
        &policy_with("unread", 0)
    ));
    assert_eq!(send(&mut plugin, &host, 8, 7, "unread"), Action::Pause);
    assert_eq!(host.value("plugin=.=keyfence;.;keyfence_policy_missing_hash"), 4711);
    // The next one fits.
    host.0.memory.set(usize::MAX);
    assert!(reconfigure(&mut plugin, &host, 5, "keyfence", &policy_with("third", 0)));
    assert_eq!(send(&mut plugin, &host, 6, 5, "third"), Action::Continue);
    assert_ne!(host.value("plugin=.=keyfence;.;keyfence_policy_hash"), missing);
}

#[test]
fn a_wrong_policy_is_refused() {
    let host = Fake::new(r#"{"keys": [{"id": "full"}]}"#);
    let mut plugin = Vm::new(host.clone());
    assert!(!configure(&mut plugin, &host, 1));
    assert_eq!(send(&mut plugin, &host, 2, 1, "full"), Action::Pause);
    let host = Fake::new("{}");
    let mut plugin = Vm::new(host.clone());
    assert!(!plugin.configure(1, 1 << 30), "a text of a gigabyte is not even read");
}

/// Streams that stay open hold no policy: what the host could give back is given back.
#[test]
fn streams_that_stay_open_hold_what_their_response_needs() {
    let host = Fake::new(&policy_with("key-0", 0));
    let mut plugin = plugin(&host);
    for update in 0..200_u32 {
        let root = 1_000 + update;
        assert!(reconfigure(
            &mut plugin,
            &host,
            root,
            "keyfence",
            &policy_with(&format!("key-{update}"), 0)
        ));
        assert_eq!(
            send(&mut plugin, &host, 10_000 + update, root, &format!("key-{update}")),
            Action::Continue
        );
    }
    // Without memory every superseded policy goes.
    host.0.memory.set(0);
    assert!(reconfigure(
        &mut plugin,
        &host,
        5_000,
        "keyfence",
        &policy_with("newest", 0)
    ));
    host.0.memory.set(usize::MAX);
    for update in [0, 100, 199] {
        // Its request finds its policy gone, and its response has its headers.
        assert_eq!(
            send(
                &mut plugin,
                &host,
                20_000 + update,
                1_000 + update,
                &format!("key-{update}")
            ),
            Action::Pause
        );
        assert_eq!(host.last_answer(), Some((503, "policy_unavailable".into())));
        host.set(
            MapType::ResponseHeaders,
            &[(":status", "200"), ("access-control-allow-origin", "*")],
        );
        assert_eq!(plugin.on_response_headers(10_000 + update), Action::Continue);
        assert!(host.has(MapType::ResponseHeaders, "x-content-type-options"));
        assert!(!host.has(MapType::ResponseHeaders, "access-control-allow-origin"));
    }
}

#[test]
fn another_plugin_s_policy_stays_through_a_thousand_updates() {
    let host = Fake::new("{}");
    let mut plugin = Vm::new(host.clone());
    assert!(reconfigure(&mut plugin, &host, 1, "idle", &policy_with("idle", 0)));
    for update in 0..1_000 {
        assert!(reconfigure(
            &mut plugin,
            &host,
            10 + update,
            "busy",
            &policy_with("busy", 0)
        ));
    }
    host.0.memory.set(0);
    assert!(reconfigure(&mut plugin, &host, 5_000, "busy", &policy_with("busy", 0)));
    host.0.memory.set(usize::MAX);
    assert_eq!(send(&mut plugin, &host, 6_000, 1, "idle"), Action::Continue);
    assert_eq!(host.value("plugin=.=idle;.;keyfence_keys"), 1);
}
