//! Scoped tokens in a real Envoy: which ones are good, how they narrow their key, and what upstream and log get to know.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::token::{OTHER_SECRET, SECRET, Signer, base64url, good};
use crate::harness::token_cases::{Clock, HS, NARROWING, SITE, good_and_bad, policy_text};
use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};
use crate::identity::with_trailers;
use crate::observability::{series, with_labels};

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Tokens are sent within half a minute.
fn clock() -> Clock {
    Clock { now: now(), second: 30 }
}

/// The policy of the cases, for a client on this machine and an API without TLS.
fn policy(clock: Clock) -> String {
    here(&policy_text(clock, SECRET))
}

fn here(text: &str) -> String {
    text.replace("192.0.2.", "127.0.0.")
        .replace("https://api.example", "http://api.example")
}

fn outcome(response: &Response) -> String {
    match response.status {
        200 => "allow".to_owned(),
        status => format!("{status} {}", response.code()),
    }
}

#[test]
fn good_and_bad_tokens_in_headers_and_in_the_query() {
    let upstream = Upstream::start();
    let clock = clock();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::with_text("main", &policy(clock)))
        .start();
    for version in Version::BOTH {
        for (name, text, expected) in good_and_bad(clock) {
            let (site, origin) = SITE;
            let in_header = Request::get("/").bearer(&text).header(site, origin);
            let in_query = Request::get(format!("/?api_key={text}")).header(site, origin);
            for (place, request) in [("header", in_header), ("query", in_query)] {
                let response = gateway.send_over(version, "main", &request);
                assert_eq!(
                    outcome(&response),
                    expected,
                    "{name} in the {place}, {version:?}: {text}"
                );
                let reached = usize::from(expected == "allow");
                assert_eq!(upstream.take().len(), reached, "{name} in the {place}, {version:?}");
            }
        }
    }
    let log = gateway.log();
    assert!(!log.contains(&base64url(SECRET)) && !log.contains("eyJ"), "{log}");
}

#[test]
fn a_token_narrows_its_key() {
    let upstream = Upstream::start();
    let clock = clock();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::with_text("main", &policy(clock)))
        .start();
    for (name, kid, further, request, headers, expected) in NARROWING {
        let (method, path) = request.split_once(' ').unwrap();
        let token = good(kid, clock.now, &here(further), HS);
        let request = Request::new(method, path).bearer(&token).header("Host", "api.example");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, here(value)));
        let response = gateway.send("main", &request);
        let cors = match response.header("access-control-allow-origin") {
            Some(_) => "echo",
            None => "omit",
        };
        // The response to HEAD has no code.
        assert_eq!(
            format!("{}, {cors}", outcome(&response)),
            *expected,
            "{name}: {response:?}"
        );
        assert_eq!(upstream.take().len(), usize::from(response.status == 200), "{name}");
    }
}

/// Names and values of the headers that only the filter may set.
fn told(lines: &[(Vec<u8>, Vec<u8>)]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
    let mut told: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .filter(|line| line.starts_with("x-key-") || line.starts_with("x_key") || line.starts_with("x.key"))
        .collect();
    told.sort_unstable();
    told
}

#[test]
#[rustfmt::skip]
fn the_upstream_and_the_log_learn_who_it_is() {
    let upstream = Upstream::start();
    let clock = clock();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::with_text("main", &policy(clock)))
        .amend(with_trailers)
        .amend(with_labels)
        .start();
    let token = |kid: &str, further: &str| good(kid, clock.now, further, HS);
    let both = r#""sub":"alice","filter":"user=alice""#;
    let forged = |request: Request| {
        let names = ["X-Key-Filter", "x_key_filter", "X.Key.Subject", "X-KEY-SUBJECT", "X-Key-Id"];
        names.into_iter().fold(request, |request, name| request.header(name, "root"))
    };
    let get = |token: &str| Request::get("/").bearer(token);
    // What the upstream gets, then key_id, subject and decision in the log.
    let cases: [(&str, Request, &[&str], [Value; 3]); 8] = [
        ("both", get(&token("free", both)), &["x-key-filter: user=alice", "x-key-id: free", "x-key-subject: alice"], [json!("free"), json!("alice"), Value::Null]),
        ("forged", forged(get(&token("free", both))), &["x-key-filter: user=alice", "x-key-id: free", "x-key-subject: alice"], [json!("free"), json!("alice"), Value::Null]),
        ("neither", forged(get(&token("free", ""))), &["x-key-id: free"], [json!("free"), Value::Null, Value::Null]),
        ("forged, with a key", forged(get("both-key-0000000").header(SITE.0, SITE.1)), &["x-key-id: both"], [json!("both"), Value::Null, Value::Null]),
        ("report mode, although the address is refused", forged(get(&token("watched", both))), &["x-key-filter: user=alice", "x-key-subject: alice"], [json!("watched"), json!("alice"), json!("report:ip_not_allowed")]),
        ("denied", get(&token("both", both)), &[], [json!("both"), json!("alice"), json!("deny:origin_not_allowed")]),
        ("a forged token", forged(get(&good("free", clock.now, both, Signer::Secret(OTHER_SECRET)))), &[], [Value::Null, Value::Null, json!("deny:invalid_scoped_token")]),
        ("expired", get(&good("free", clock.now - 60, both, HS)), &[], [Value::Null, Value::Null, json!("deny:scoped_token_expired")]),
    ];
    for version in Version::BOTH {
        for (name, request, expected, _) in &cases {
            gateway.send_over(version, "main", request);
            let received = upstream.take();
            let found = received.first().map(|request| told(&request.headers())).unwrap_or_default();
            assert_eq!(found, *expected, "{name}, {version:?}");
        }
    }
    gateway.wait_for("the access log", |gateway| gateway.access_log().len() == 2 * cases.len());
    for ((name, _, _, expected), line) in cases.iter().cycle().zip(gateway.access_log()) {
        assert_eq!([&line["key_id"], &line["subject"], &line["decision"]], [&expected[0], &expected[1], &expected[2]], "{name}: {line}");
    }
    let series = series(&gateway);
    for code in ["invalid_scoped_token", "scoped_token_expired"] {
        assert_eq!(series[&format!(r#"keyfence_requests_total{{decision="deny",code="{code}"}}"#)], 2.0, "{code}");
    }
}

/// Each user has a window, wherever requests come from, over all workers.
#[test]
fn the_limit_of_each_client_counts_by_sub() {
    let upstream = Upstream::start();
    let clock = clock();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::with_text("main", &policy(clock)))
        .workers(2)
        .start();
    let send = |sub: &str, jti: usize, address: &str| {
        let token = good("limited", clock.now, &format!(r#""sub":"{sub}","jti":{jti}"#), HS);
        gateway
            .send("main", &Request::get("/").bearer(&token).from(address))
            .status
    };
    let alice: Vec<u16> = (0..8)
        .map(|n| send("alice", n, &format!("127.0.0.{}", 10 + n)))
        .collect();
    assert_eq!(alice, [200, 200, 200, 200, 200, 429, 429, 429]);
    assert_eq!(send("bob", 0, "127.0.0.10"), 200, "another user from the same address");
}

/// A token of the old secret ends with the update that takes the secret away, although it was remembered.
#[test]
fn an_update_revokes_what_was_remembered() {
    let upstream = Upstream::start();
    let with = |secret: &[u8], not_before: &str| json!({"keys": [{"id": "free", "scoped_tokens": {"secrets": [base64url(secret)], "not_before": not_before}}]});
    let past = "2026-01-01T00:00:00Z";
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &with(SECRET, past)).updatable())
        .start();
    let token = good("free", now(), "", HS);
    let send = |gateway: &Gateway| outcome(&gateway.send("main", &Request::get("/").bearer(&token)));
    assert_eq!(send(&gateway), "allow");
    for (name, secret, not_before, expected) in [
        ("another secret", OTHER_SECRET, past, "401 invalid_scoped_token"),
        ("the first again", SECRET, past, "allow"),
        (
            "all tokens revoked",
            SECRET,
            "2099-01-01T00:00:00Z",
            "401 invalid_scoped_token",
        ),
    ] {
        gateway.update("main", &with(secret, not_before));
        gateway.wait_for(name, |gateway| send(gateway) == expected);
    }
}

/// A flood of forged tokens, each with another signature, while a user goes on.
#[test]
fn a_flood_of_forged_tokens_passes_nothing_and_stops_nobody() {
    let upstream = Upstream::start();
    let clock = clock();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::with_text("main", &policy(clock)))
        .start();
    let token = good("free", clock.now, "", HS);
    let (signed, _) = token.rsplit_once('.').unwrap();
    for number in 0_u64..3_000 {
        let signature = [&number.to_le_bytes()[..], &[1; 24]].concat();
        let forged = format!("{signed}.{}", base64url(signature));
        let response = gateway.send("main", &Request::get("/").bearer(&forged));
        assert_eq!(outcome(&response), "401 invalid_scoped_token");
        if number % 100 == 0 {
            assert_eq!(
                outcome(&gateway.send("main", &Request::get("/").bearer(&token))),
                "allow"
            );
            assert_eq!(upstream.take().len(), 1);
        }
    }
    assert_eq!(upstream.take().len(), 0);
}
