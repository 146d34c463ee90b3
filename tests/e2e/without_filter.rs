//! What Envoy and the harness do by themselves, so that a failure elsewhere is the filter's.

use crate::harness::{Gateway, Listener, Request, Upstream, Version};

#[test]
fn requests_reach_the_upstream_as_they_are() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("plain"))
        .start();
    for version in Version::BOTH {
        let request = Request::new("POST", "/path?query")
            .header("x-bytes", b"\xff\x80")
            .body("body")
            .from("127.0.0.7");
        let response = gateway.send_over(version, "plain", &request);
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "upstream\n"),
            "{version:?}"
        );
        let received = upstream.take_one();
        assert_eq!(received.path(), "/path?query");
        assert_eq!(received.body, b"body");
        assert_eq!(received.all("x-forwarded-for"), ["127.0.0.7"]);
        assert!(
            received
                .headers()
                .contains(&(b"x-bytes".to_vec(), b"\xff\x80".to_vec())),
            "{received:?}"
        );
    }
}

#[test]
fn envoy_answers_by_itself() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("plain"))
        .start();
    for (path, status) in [("/redirect", 301), ("/direct", 200), ("/dead", 503)] {
        assert_eq!(gateway.send("plain", &Request::get(path)).status, status, "{path}");
    }
    assert_eq!(upstream.take().len(), 0);
}
