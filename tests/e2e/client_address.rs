//! Where a request comes from, whatever its headers claim.

use std::io::{BufReader, Write};

use serde_json::{Value, json};

use crate::harness::client::{connect, read_response};
use crate::harness::{Gateway, Listener, Request, Upstream, Version};

const KEY: &str = "the-key-000000000";
const ALLOWED: &str = "127.0.0.5";
const OTHER: &str = "127.0.0.6";

fn policy(client_ip: &str) -> Value {
    json!({
        "client_ip": client_ip,
        "keys": [{"id": "office", "api_key": KEY, "allowed_ips": ["127.0.0.5", "10.1.2.0/24", "2001:db8::/32", "::1"]}],
    })
}

#[test]
#[rustfmt::skip]
fn by_listener_and_header() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("edge", &policy("peer")))
        .listener(Listener::new("edge, forwarded", &policy("forwarded")))
        .listener(Listener::new("careless", &policy("peer")).use_remote_address(false))
        .listener(Listener::new("one hop", &policy("forwarded")).trusted_hops(1))
        .listener(Listener::new("one hop, peer", &policy("peer")).trusted_hops(1))
        .listener(Listener::new("one hop, either", &policy("forwarded_or_peer")).trusted_hops(1))
        .start();
    // Listener, source address, X-Forwarded-For, allowed.
    let cases: [(&str, &str, Option<&str>, bool); 46] = [
        ("edge", ALLOWED, None, true),
        ("edge", OTHER, None, false),
        ("edge", OTHER, Some(ALLOWED), false),
        ("edge", OTHER, Some("10.1.2.3, 127.0.0.5"), false),
        ("edge", ALLOWED, Some("8.8.8.8"), true),
        // Envoy reads no header here, so that no address counts.
        ("edge, forwarded", ALLOWED, None, false),
        ("edge, forwarded", OTHER, Some(ALLOWED), false),
        ("edge, forwarded", ALLOWED, Some("8.8.8.8"), false),
        // Without use_remote_address Envoy takes the address from a header that anyone can write:
        // such an address is not known, not even where the peer would have been allowed.
        ("careless", ALLOWED, None, true),
        ("careless", OTHER, None, false),
        ("careless", OTHER, Some(ALLOWED), false),
        ("careless", OTHER, Some("10.1.2.3"), false),
        ("careless", OTHER, Some("8.8.8.8, 10.1.2.3"), false),
        ("careless", OTHER, Some("2001:db8::1"), false),
        ("careless", OTHER, Some("::ffff:10.1.2.3"), false),
        ("careless", ALLOWED, Some(ALLOWED), false),
        // An entry that Envoy does not take leaves the peer.
        ("careless", ALLOWED, Some("10.1.2.3:99"), true),
        ("careless", OTHER, Some("10.1.2.3:99"), false),
        ("careless", OTHER, Some("unknown"), false),
        ("one hop", OTHER, Some("10.1.2.3"), true),
        ("one hop", OTHER, Some("10.1.3.3"), false),
        ("one hop", OTHER, Some("8.8.8.8, 10.1.2.3"), true),
        ("one hop", OTHER, Some("10.1.2.3, 8.8.8.8"), false),
        ("one hop", OTHER, Some("::ffff:10.1.2.3"), true),
        ("one hop", OTHER, Some("::ffff:10.1.3.3"), false),
        ("one hop", OTHER, Some("2001:db8::1"), true),
        ("one hop", OTHER, Some("2001:db9::1"), false),
        ("one hop", OTHER, None, false),
        // The balancer's own network is in the list. Where the header has no address that Envoy takes, it gives the balancer's.
        ("one hop", ALLOWED, None, false),
        ("one hop", ALLOWED, Some(""), false),
        ("one hop", ALLOWED, Some("203.0.113.9:4711"), false),
        ("one hop", ALLOWED, Some("[2001:db8::1]:4711"), false),
        ("one hop", ALLOWED, Some("[2001:db8::1]"), false),
        ("one hop", ALLOWED, Some("unknown"), false),
        ("one hop", ALLOWED, Some("010.1.2.3"), false),
        ("one hop", ALLOWED, Some("10.1.2.3\u{e9}"), false),
        ("one hop", ALLOWED, Some("10.1.2.3,"), false),
        ("one hop", ALLOWED, Some("10.1.2.3"), true),
        ("one hop", OTHER, Some("010.1.2.3"), false),
        ("one hop", OTHER, Some("10.1.2.3\u{e9}"), false),
        ("one hop, either", ALLOWED, None, true),
        ("one hop, either", OTHER, None, false),
        ("one hop, either", OTHER, Some("10.1.2.3"), true),
        ("one hop, either", ALLOWED, Some("8.8.8.8"), false),
        ("one hop, peer", OTHER, Some("10.1.2.3"), false),
        ("one hop, peer", ALLOWED, None, true),
    ];
    for version in Version::BOTH {
        for (listener, from, forwarded, allowed) in cases {
            let mut request = Request::get("/").bearer(KEY).from(from).header("X-Real-IP", ALLOWED).header("Forwarded", "for=10.1.2.3");
            if let Some(value) = forwarded {
                request = request.header("X-Forwarded-For", value);
            }
            let response = gateway.send_over(version, listener, &request);
            let expected = if allowed { (200, "") } else { (403, "ip_not_allowed") };
            let name = format!("{listener}, from {from}, X-Forwarded-For {forwarded:?}, {version:?}");
            assert_eq!((response.status, response.code().as_str()), expected, "{name}");
            assert_eq!(upstream.take().len(), usize::from(allowed), "{name}");
        }
    }
}

#[test]
fn the_log_says_once_what_to_set() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("careless", &policy("peer")).use_remote_address(false))
        .start();
    let advice = |gateway: &Gateway| gateway.log().matches("client_ip is \"peer\"").count();
    let request = Request::get("/").bearer(KEY).from(ALLOWED);
    gateway.send("careless", &request);
    assert_eq!(advice(&gateway), 0, "{}", gateway.log());
    for _ in 0..5 {
        gateway.send("careless", &request.clone().header("X-Forwarded-For", "10.1.2.3"));
    }
    assert_eq!(advice(&gateway), 1, "{}", gateway.log());
    assert!(gateway.log().contains("set use_remote_address"), "{}", gateway.log());
}

#[test]
fn the_log_says_once_that_the_header_had_no_address() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("one hop", &policy("forwarded")).trusted_hops(1))
        .start();
    let advice = |gateway: &Gateway| gateway.log().matches("forwarded_or_peer").count();
    let request = Request::get("/").bearer(KEY).from(ALLOWED);
    gateway.send("one hop", &request.clone().header("X-Forwarded-For", "10.1.2.3"));
    assert_eq!(advice(&gateway), 0, "{}", gateway.log());
    for _ in 0..5 {
        gateway.send(
            "one hop",
            &request.clone().header("X-Forwarded-For", "203.0.113.9:4711"),
        );
    }
    assert_eq!(advice(&gateway), 1, "{}", gateway.log());
}

/// Addresses that come by another way than `X-Forwarded-For`: from a header that the proxy in front writes, and by the PROXY protocol.
#[test]
#[rustfmt::skip]
fn by_another_header_and_the_proxy_protocol() {
    let upstream = Upstream::start();
    let mut setup = Gateway::in_front_of(&upstream);
    for client_ip in ["peer", "forwarded"] {
        setup = setup.listener(Listener::new(&format!("header, {client_ip}"), &policy(client_ip)).use_remote_address(false));
        setup = setup.listener(Listener::new(&format!("proxy, {client_ip}"), &policy(client_ip)));
    }
    let gateway = setup.amend(|bootstrap| {
        for listener in bootstrap["static_resources"]["listeners"].as_array_mut().unwrap() {
            let name = listener["name"].as_str().unwrap().to_owned();
            if name.starts_with("header") {
                let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                manager["original_ip_detection_extensions"] = json!([{
                    "name": "envoy.http.original_ip_detection.custom_header",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig",
                        "header_name": "CF-Connecting-IP",
                    },
                }]);
            } else {
                listener["listener_filters"] = json!([{
                    "name": "envoy.filters.listener.proxy_protocol",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"},
                }]);
            }
        }
    }).start();
    // Listener, the line before the request, CF-Connecting-IP, allowed.
    for (listener, line, header, allowed) in [
        ("header, forwarded", "", Some("10.1.2.3"), true),
        ("header, forwarded", "", Some("8.8.8.8"), false),
        ("header, forwarded", "", Some("10.1.2.3:99"), false),
        ("header, forwarded", "", None, false),
        ("header, peer", "", Some("10.1.2.3"), false),
        ("proxy, peer", "PROXY TCP4 10.1.2.3 127.0.0.1 4711 80\r\n", None, true),
        ("proxy, peer", "PROXY TCP4 8.8.8.8 127.0.0.1 4711 80\r\n", None, false),
        ("proxy, peer", "PROXY TCP4 10.1.2.3 127.0.0.1 0 80\r\n", None, false),
        ("proxy, forwarded", "PROXY TCP4 10.1.2.3 127.0.0.1 4711 80\r\n", None, false),
        ("proxy, forwarded", "PROXY TCP4 10.1.2.3 127.0.0.1 0 80\r\n", None, true),
    ] {
        let mut request = Request::get("/").bearer(KEY);
        if let Some(value) = header {
            request = request.header("CF-Connecting-IP", value);
        }
        let mut reader = BufReader::new(connect(gateway.address(listener), Some(ALLOWED.parse().unwrap())).unwrap());
        reader.get_mut().write_all(&[line.as_bytes(), &request.to_bytes()].concat()).unwrap();
        let response = read_response(&mut reader, "GET").unwrap();
        let expected = if allowed { (200, "") } else { (403, "ip_not_allowed") };
        assert_eq!((response.status, response.code().as_str()), expected, "{listener}, {line:?}, {header:?}");
    }
    let log = gateway.log();
    assert_eq!(log.matches("PROXY protocol line with port 0").count(), 1, "{log}");
}

#[test]
fn over_ipv6() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("six", &policy("peer")).bind("::1"))
        .listener(Listener::new("both", &policy("peer")).bind("::"))
        .start();
    for version in Version::BOTH {
        let request = Request::get("/").bearer(KEY);
        assert_eq!(gateway.send_over(version, "six", &request).status, 200);
        // Over a socket for both, an IPv4 client has an IPv4-mapped address.
        let port = gateway.address("both").port();
        for (from, status) in [(ALLOWED, 200), (OTHER, 403)] {
            let to = ([127, 0, 0, 1], port).into();
            assert_eq!(
                request.clone().from(from).send(version, to).unwrap().status,
                status,
                "{from}"
            );
        }
    }
}
