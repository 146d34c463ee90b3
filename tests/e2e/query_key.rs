//! Where a key that comes in the query ends up beside the upstream, and what Envoy's own redirects make of it, as the README has it.

use serde_json::{Value, json};

use crate::harness::{Gateway, Listener, Request, Response, Upstream};

const KEY: &str = "ak_test_query_key_00";

fn policy(forward_api_key: bool) -> Value {
    json!({
        "key_sources": [{"query": "api_key"}],
        "keys": [{"id": "one", "api_key": KEY, "allowed_origins": ["https://yourapp.com"], "origin_check": "if_present"}],
        "forward_api_key": forward_api_key,
    })
}

/// The first routes of this listener.
fn with_routes(bootstrap: &mut Value, listener: usize, routes: &[Value]) {
    let manager =
        &mut bootstrap["static_resources"]["listeners"][listener]["filter_chains"][0]["filters"][0]["typed_config"];
    let all = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
    *all = [routes, all.as_array().unwrap()].concat().into();
}

/// One route of each kind that repeats the path somewhere.
fn repeating_routes() -> [Value; 4] {
    let disabled =
        json!({"keyfence": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
    let https = json!({"https_redirect": true});
    [
        json!({"match": {"prefix": "/to-https"}, "redirect": https}),
        json!({"match": {"prefix": "/open"}, "redirect": https, "typed_per_filter_config": disabled}),
        json!({"match": {"prefix": "/old/"}, "route": {"cluster": "upstream", "prefix_rewrite": "/new/"}}),
        json!({"match": {"prefix": "/mirrored"}, "route": {"cluster": "upstream", "request_mirror_policies": [{"cluster": "mirror"}]}}),
    ]
}

#[test]
fn forwarded_it_is_wherever_the_path_is_and_removed_it_is_lost_in_redirects() {
    let (upstream, mirror) = (Upstream::start(), Upstream::start());
    let mirror_address = mirror.address();
    let gateway =
        Gateway::in_front_of(&upstream)
            .listener(Listener::new("forwarded", &policy(true)))
            .listener(Listener::new("removed", &policy(false)))
            .listener(Listener::without_filter("before"))
            .amend(move |bootstrap| {
                for listener in [0, 1] {
                    with_routes(bootstrap, listener, &repeating_routes());
                }
                let everything = json!({"match": {"prefix": "/"}, "redirect": {"https_redirect": true}});
                with_routes(bootstrap, 2, &[everything]);
                let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
                let mut cluster = clusters[0].clone();
                cluster["name"] = json!("mirror");
                cluster["load_assignment"]["cluster_name"] = json!("mirror");
                cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
                    ["port_value"] = json!(mirror_address.port());
                clusters.push(cluster);
            })
            .start();
    let query = format!("?api_key={KEY}&q=shoes");
    let get = |listener: &str, path: &str| {
        let request = Request::get(format!("{path}{query}")).header("Origin", "https://yourapp.com");
        gateway.send(listener, &request)
    };
    let location = |response: &Response| response.header("location").unwrap().to_owned();

    for (listener, kept) in [("forwarded", query.as_str()), ("removed", "?q=shoes")] {
        assert_eq!(get(listener, "/old/path").status, 200, "{listener}");
        let received = upstream.take_one();
        assert_eq!(received.path(), format!("/new/path{kept}"), "{listener}");
        assert_eq!(
            received.all("x-envoy-original-path"),
            [format!("/old/path{kept}")],
            "{listener}"
        );

        assert_eq!(get(listener, "/mirrored").status, 200, "{listener}");
        assert_eq!(upstream.take_one().path(), format!("/mirrored{kept}"), "{listener}");
        let mut mirrored = Vec::new();
        gateway.wait_for("the mirrored request", |_| {
            mirrored.extend(mirror.take());
            !mirrored.is_empty()
        });
        assert_eq!(mirrored[0].path(), format!("/mirrored{kept}"), "{listener}");

        let redirect = get(listener, "/to-https");
        assert_eq!(redirect.status, 301, "{listener}");
        assert!(
            location(&redirect).ends_with(&format!("/to-https{kept}")),
            "{listener}: {redirect:?}"
        );
        // A page follows a redirect only where it may read it.
        assert_eq!(
            redirect.header("access-control-allow-origin"),
            Some("https://yourapp.com"),
            "{listener}"
        );
    }
    let followed = gateway.send("removed", &Request::get("/v1?q=shoes"));
    assert_eq!(followed.code(), "missing_api_key");

    for (listener, path) in [("removed", "/open"), ("before", "/v1")] {
        let redirect = get(listener, path);
        assert_eq!(redirect.status, 301, "{listener}");
        let location = location(&redirect);
        assert!(
            location.starts_with("https://") && location.ends_with(&format!("{path}{query}")),
            "{listener}: {location}"
        );
        assert_eq!(redirect.header("access-control-allow-origin"), None, "{listener}");
    }
    let followed = gateway.send("removed", &Request::get(format!("/v1{query}")));
    assert_eq!(followed.status, 200);
    assert_eq!(upstream.take_one().path(), "/v1?q=shoes");
}
