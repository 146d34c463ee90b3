//! A key that is being rotated: which of its entries is used is seen, and an entry ends on its day.

use serde_json::{Value, json};

use crate::harness::{Gateway, Listener, Request, Upstream};
use crate::observability::{series, with_labels};

const NEW: &str = "rotated-new-00000";
const OLD: &str = "rotated-old-00000";
const UNNAMED: &str = "rotated-unnamed-0";
const EXPIRED: &str = "rotated-expired-0";
const PLAIN: &str = "plain-key-0000000";

/// 2099-01-01.
const END: f64 = 4_070_908_800.0;

#[test]
#[rustfmt::skip]
fn the_log_and_the_metrics_show_the_entry() {
    let upstream = Upstream::start();
    let policy = json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"query": "api_key"}],
        "keys": [
            {"id": "rotated", "api_key": [
                {"key": NEW, "label": "2026-11"},
                {"key": OLD, "label": "2026-05", "expires_at": "2099-01-01T00:00:00Z"},
                UNNAMED,
                {"key": EXPIRED, "label": "2025-11", "expires_at": "2026-01-01T00:00:00Z"},
            ], "allowed_origins": ["https://yourapp.com"], "origin_check": "if_present"},
            {"id": "plain", "api_key": PLAIN},
        ],
    });
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .amend(with_labels)
        .start();
    let preflight = format!("/preflight?api_key={OLD}");
    // Status, then key_id, key_label and decision in the access log, and requests with old entries.
    let cases: [(&str, Request, u16, [Value; 3], f64); 8] = [
        ("the first", Request::get("/new").bearer(NEW), 200, [json!("rotated"), json!("2026-11"), Value::Null], 0.0),
        ("the second", Request::get("/old").bearer(OLD), 200, [json!("rotated"), json!("2026-05"), Value::Null], 1.0),
        ("one without a label", Request::get("/unnamed").bearer(UNNAMED), 200, [json!("rotated"), Value::Null, Value::Null], 2.0),
        ("one that has expired", Request::get("/expired").bearer(EXPIRED), 401, [json!("rotated"), json!("2025-11"), json!("deny:key_expired")], 3.0),
        ("from elsewhere", Request::get("/evil").bearer(OLD).header("Origin", "https://evil.com"), 403, [json!("rotated"), json!("2026-05"), json!("deny:origin_not_allowed")], 4.0),
        ("a preflight", Request::preflight(&preflight, "https://yourapp.com", "GET", ""), 204, [json!("rotated"), json!("2026-05"), json!("preflight")], 4.0),
        ("another key", Request::get("/plain").bearer(PLAIN), 200, [json!("plain"), Value::Null, Value::Null], 4.0),
        ("an unknown key", Request::get("/unknown").bearer("nobody-0000000000"), 401, [Value::Null, Value::Null, json!("deny:invalid_api_key")], 4.0),
    ];
    for (name, request, status, _, old) in &cases {
        let response = gateway.send("main", request);
        assert_eq!(response.status, *status, "{name}");
        if *status == 401 && name.contains("expired") {
            assert_eq!(response.json()["code"], "key_expired");
        }
        assert_eq!(series(&gateway)["keyfence_old_entry_requests_total"], *old, "{name}");
    }
    gateway.wait_for("the access log", |gateway| gateway.access_log().len() == cases.len());
    for ((name, _, _, expected, _), line) in cases.iter().zip(gateway.access_log()) {
        assert_eq!([&line["key_id"], &line["key_label"], &line["decision"]], [&expected[0], &expected[1], &expected[2]], "{name}: {line}");
    }
    let shown = series(&gateway);
    assert_eq!(shown[r#"keyfence_policy_expiries_within_week{plugin="keyfence"}"#], 0.0);
    assert_eq!(shown[r#"keyfence_policy_next_expiry_timestamp_seconds{plugin="keyfence"}"#], END);
    assert!(gateway.log().contains("keys[0].api_key[3].expires_at: \"2026-01-01T00:00:00Z\": the entry has expired"));
}
