//! No byte sequence ends in a 5xx, a panic, or a request let through in doubt.
//! (That the log holds no panic is looked for at the end of every gateway.)

use std::io::{BufReader, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::{connect, exchange_raw, read_response};
use crate::harness::{Gateway, Listener, Request, Upstream, Version};

const KEY: &str = "the-key-000000000";
const SITE: &str = "https://yourapp.com";

#[rustfmt::skip]
fn policy() -> Value {
    json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
        "keys": [
            {"id": "site", "api_key": KEY, "allowed_origins": [SITE, "https://*.yourapp.com", "http://localhost:*"], "allowed_ips": ["127.0.0.0/8"]},
            {"id": "star", "api_key": "star-key-0000000", "allowed_origins": ["*"]},
        ],
        "forward_api_key": false,
    })
}

fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::in_front_of(upstream)
        .listener(Listener::new("main", &policy()))
        .start()
}

/// May a byte stand in a header value, by RFC 9110?
fn is_of_a_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[test]
#[rustfmt::skip]
fn every_byte_in_every_header_that_is_read() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    // With an odd byte in it, each of these headers must keep the request from the upstream …
    let deciding: [(&str, &[u8], &[u8]); 7] = [
        ("Authorization", b"Bearer the-key", b"-000000000"),
        ("Authorization", b"Bearer the-key-00000000", b"0"),
        ("X-API-Key", b"the-k", b"ey-000000000"),
        ("Origin", b"https://yourapp", b".com"),
        ("Origin", b"https://yourapp.com", b"x"),
        ("Origin", b"https://a.evil.com", b".yourapp.com"),
        ("Origin", b"http://localhost:30", b".example"),
    ];
    // … and these must not matter.
    let others = ["Sec-Fetch-Site", "X-Key-Id", "X_Key_Id", "Cookie", "X-Request-Id", "X-Forwarded-For", "Access-Control-Request-Method", "Vary"];
    for version in Version::BOTH {
        for byte in 0..=255_u8 {
            // The h2 client sends only what the standard allows; the raw one sends everything.
            if version == Version::Http2 && !is_of_a_value(byte) {
                continue;
            }
            for (header, before, after) in deciding {
                let of_a_label = before.ends_with(b".evil.com") && (byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
                // Envoy takes a bare CR out before any filter sees the header.
                let taken_out = version == Version::Http1 && byte == b'\r';
                if of_a_label || taken_out {
                    continue;
                }
                let mut request = Request::get("/").header(header, [before, &[byte], after].concat());
                request = if header == "Origin" { request.bearer(KEY) } else { request.header("Origin", SITE) };
                // A line break may make Envoy close without an answer.
                if let Ok(response) = request.send(version, gateway.address("main")) {
                    assert!((400..500).contains(&response.status), "{request:?}: {response:?}");
                }
                assert_eq!(upstream.take().len(), 0, "{request:?} at the upstream");
            }
            for header in others {
                let request = Request::get("/").bearer(KEY).header("Origin", SITE).header(header, [b"a", [byte].as_slice(), b"b"].concat());
                if let Ok(response) = request.send(version, gateway.address("main")) {
                    let allowed = (is_of_a_value(byte) || byte == b'\r') && response.status == 200;
                    assert!(allowed || (400..500).contains(&response.status), "{request:?}: {response:?}");
                }
                upstream.take();
            }
        }
    }
}

#[test]
fn every_byte_in_path_and_method() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for byte in 0..=255_u8 {
        let odd = [byte];
        let paths = [
            [b"/a".as_slice(), &odd, b"b"].concat(),
            [b"/a?api_key=the-key-0000".as_slice(), &odd, b"00000"].concat(),
            [b"/a?".as_slice(), &odd, b"api_key=the-key-000000000"].concat(),
            [b"/a?x=%".as_slice(), &odd, b"&b=%f", &odd].concat(),
        ];
        for path in paths {
            let request = Request::get(path).header("Origin", SITE);
            if let Ok(response) = request.send(Version::Http1, gateway.address("main")) {
                assert!(response.status < 500, "{request:?}: {response:?}");
            }
        }
        let method = [b"G", odd.as_slice(), b"T / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let mut connection = connect(gateway.address("main"), None).unwrap();
        connection.write_all(&method).unwrap();
        if let Ok(response) = read_response(&mut BufReader::new(connection), "GET") {
            assert!((400..500).contains(&response.status), "{byte}: {response:?}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn absurd_requests() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let start = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nOrigin: {SITE}\r\n");
    let cases: [(&str, Vec<u8>); 14] = [
        ("nothing", Vec::new()),
        ("a line break", b"\r\n\r\n".to_vec()),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00".to_vec()),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("two hosts", format!("{start}Host: b\r\n\r\n").into_bytes()),
        ("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: https://yourapp.com\r\nAccess-Control-Request-Method: GET\r\n\r\n".to_vec()),
        ("an absolute path", format!("GET http://evil.com/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n").into_bytes()),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_vec()),
        ("an upgrade", format!("{start}Connection: Upgrade, Origin\r\nUpgrade: websocket\r\n\r\n").into_bytes()),
        ("100 of one header", format!("{start}{}\r\n", "X-API-Key: a\r\n".repeat(90)).into_bytes()),
        ("100 origins", format!("{start}{}\r\n", "Origin: https://yourapp.com\r\n".repeat(90)).into_bytes()),
        ("50 kB of origin", format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {}\r\n\r\n", "x".repeat(50_000)).into_bytes()),
        ("50 kB of query", format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "api_key&".repeat(6_000)).into_bytes()),
        ("50 kB of X-Forwarded-For", format!("{start}X-Forwarded-For: {}\r\n\r\n", "1.1.1.1,".repeat(6_000)).into_bytes()),
    ];
    for (name, bytes) in cases {
        let answer = exchange_raw(gateway.address("main"), &bytes, Duration::from_millis(500)).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{name}: {}", String::from_utf8_lossy(&answer));
    }
    for prefix in (0..start.len()).step_by(7) {
        // Early closes.
        let mut connection = connect(gateway.address("main"), None).unwrap();
        connection.write_all(&start.as_bytes()[..prefix]).unwrap();
    }
    assert_eq!(gateway.send("main", &Request::get("/").bearer(KEY).header("Origin", SITE)).status, 200);
}

#[test]
fn pipelined_requests_are_decided_one_by_one() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let good = Request::get("/good").bearer(KEY).header("Origin", SITE);
    let bad = Request::get("/bad").bearer(KEY).header("Origin", "https://evil.com");
    let bytes = [&good, &bad, &good, &bad, &bad, &good].map(Request::to_bytes).concat();
    let mut connection = connect(gateway.address("main"), None).unwrap();
    connection.write_all(&bytes).unwrap();
    let mut reader = BufReader::new(connection);
    // Envoy may close after an answer that it gave without the upstream, if more requests wait.
    let statuses: Vec<u16> = std::iter::from_fn(|| read_response(&mut reader, "GET").ok())
        .map(|response| response.status)
        .take(6)
        .collect();
    assert!(
        statuses.len() >= 2 && [200, 403, 200, 403, 403, 200].starts_with(&statuses),
        "{statuses:?}"
    );
    assert!(upstream.take().iter().all(|received| received.path() == "/good"));
}
