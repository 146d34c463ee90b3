//! The headers that keys set for the upstream: the policy's, whatever a client sends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::exchange_raw;
use crate::harness::{Gateway, Listener, Request, Upstream, Version};
use crate::identity::with_trailers;

const GOLD: &str = "gold-key-00000000";
const TIER: &str = "tier-key-00000000";
const PLAIN: &str = "plain-key-0000000";
const WATCHED: &str = "watched-key-00000";

fn policy(anonymous: Value) -> Value {
    json!({
        "upstream_header_names": ["X-Plan", "X-Tier"],
        "keys": [
            {"id": "gold", "api_key": GOLD, "upstream_headers": {"X-Plan": "gold, 1;q=\"2\"", "x-tier": "7"}},
            {"id": "tier", "api_key": TIER, "upstream_headers": {"X-Tier": ""}},
            {"id": "plain", "api_key": PLAIN},
            {"id": "watched", "api_key": WATCHED, "upstream_headers": {"X-Plan": "watched"}, "enforcement": "report"},
        ],
        "anonymous": anonymous,
    })
}

fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::in_front_of(upstream)
        .listener(Listener::new("main", &policy(json!({}))))
        .listener(Listener::new(
            "free",
            &policy(json!({"upstream_headers": {"X-Plan": "free"}})),
        ))
        .amend(with_trailers)
        .start()
}

#[test]
#[rustfmt::skip]
fn they_are_the_policys() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let get = || Request::get("/");
    let forged = |request: Request| {
        let names = ["X-Plan", "x_plan", "X.Plan", "x~plan", "X-Tier", "x_tier", "X-TIER"];
        names.into_iter().fold(request, |request, name| request.header(name, "platinum"))
    };
    // Then X-Plan and X-Tier at the upstream.
    let cases: [(&str, &str, Request, &[&str], &[&str]); 10] = [
        ("a key that sets both", "main", get().bearer(GOLD), &["gold, 1;q=\"2\""], &["7"]),
        ("forged", "main", forged(get().bearer(GOLD)), &["gold, 1;q=\"2\""], &["7"]),
        ("a key that sets one, and that one empty", "main", get().bearer(TIER), &[], &[""]),
        ("forged, with a key that sets one", "main", forged(get().bearer(TIER)), &[], &[""]),
        ("forged, with a key that sets none", "main", forged(get().bearer(PLAIN)), &[], &[]),
        ("forged, anonymous", "main", forged(get()), &[], &[]),
        ("forged, a key in report mode", "main", forged(get().bearer(WATCHED)), &[], &[]),
        ("anonymous", "free", get(), &["free"], &[]),
        ("forged, anonymous, who has one", "free", forged(get()), &["free"], &[]),
        ("a key beside anonymous", "free", get().bearer(PLAIN), &[], &[]),
    ];
    for version in Version::BOTH {
        for (name, listener, request, plan, tier) in &cases {
            let request = request.clone().header("x-plans", "kept");
            assert_eq!(gateway.send_over(version, listener, &request).status, 200, "{name}");
            let received = upstream.take_one();
            assert_eq!(received.all("x-plan"), *plan, "{name}, {version:?}");
            assert_eq!(received.all("x-tier"), *tier, "{name}, {version:?}");
            for alike in ["x_plan", "x.plan", "x~plan", "x_tier"] {
                assert!(received.all(alike).is_empty(), "{name}, {version:?}: {alike}");
            }
            assert_eq!(received.all("x-plans"), ["kept"], "{name}");
        }
    }
}

/// `Connection` names what the next hop takes away (RFC 9110, section 7.6.1).
#[test]
fn the_next_hop_does_not_take_them_away() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy(json!({}))))
        .amend(|bootstrap| {
            let manager =
                &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
            manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
        })
        .start();
    for connection in [
        "x-plan",
        "X-Tier, keep-alive",
        "upgrade, X-Plan,x-tier",
        "x-plan,Upgrade,x-key-id",
        "x_tier,upgrade",
    ] {
        let request = Request::get("/")
            .bearer(GOLD)
            .header("Connection", connection)
            .header("Upgrade", "websocket");
        let response = gateway.send("main", &request);
        if response.status != 200 {
            assert_eq!((response.status / 100, upstream.take().len()), (4, 0), "{connection}");
            continue;
        }
        let received = upstream.take_one();
        assert_eq!(received.all("x-plan"), ["gold, 1;q=\"2\""], "{connection}");
        assert_eq!(received.all("x-tier"), ["7"], "{connection}");
        let options = received.all("connection").join(",").to_lowercase();
        assert!(
            !options.contains("x-") && !options.contains("x_"),
            "{connection}: {options}"
        );
    }
}

/// An upstream may add trailers to the headers (RFC 9110, section 6.5.1).
#[test]
fn nor_does_a_client_say_them_behind_the_body() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for key in [GOLD, PLAIN, WATCHED, ""] {
        let authorization = match key {
            "" => String::new(),
            key => format!("Authorization: Bearer {key}\r\n"),
        };
        let request = format!(
            "POST / HTTP/1.1\r\nHost: api.test\r\n{authorization}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Plan: platinum\r\nx_plan: a\r\nX.Tier: a\r\nX-Other: kept\r\nX~TIER: a\r\nx_key_id: a\r\n\r\n"
        );
        let answer = exchange_raw(gateway.address("main"), request.as_bytes(), Duration::from_secs(10)).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let received = upstream.take_one();
        assert_eq!(
            String::from_utf8_lossy(&received.trailers),
            "x-other: kept\r\n\r\n",
            "{key}"
        );
    }
}
