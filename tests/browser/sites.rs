//! The hosts of the tests: pages under any name, the gateways, and gateways whose answers are
//! changed on the way. Chromium is told by `--host-resolver-rules` where each name and port leads.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertifiedKey, PublicKeyData};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::case::{Case, Change, Scheme};
use crate::chromium::Chromium;
use crate::harness::gateway::{demo_token, repository};
use crate::harness::token::{self, Signer};
use crate::harness::{Gateway, Listener, Upstream};

pub struct Sites {
    pub browser: Chromium,
    pub upstream: Upstream,
    _demo_upstream: Gateway,
    _gateway: Gateway,
    _edge: Gateway,
    _playground: Gateway,
}

impl Sites {
    /// `policies` are the gateways; `cases` say which changed ones there are.
    pub fn start(driver: &Path, policies: &[(&str, Value)], cases: &[Case]) -> Self {
        let certificate = rcgen::generate_simple_self_signed(["keyfence.test".to_owned()]).unwrap();
        let public_key = Sha256::digest(certificate.signing_key.subject_public_key_info());
        let upstream = Upstream::start();
        let demo_upstream = start_demo_upstream();
        let gateway = start_gateway(&upstream, &demo_upstream, policies, &certificate);
        let edge = start_edge(&upstream, &gateway, policies, cases, &certificate);
        let playground = start_playground(&gateway);
        let browser = Chromium::start(
            driver,
            &host_rules(&gateway, &edge, &playground, policies),
            &BASE64_STANDARD.encode(public_key),
        );
        Self {
            browser,
            upstream,
            _demo_upstream: demo_upstream,
            _gateway: gateway,
            _edge: edge,
            _playground: playground,
        }
    }
}

/// The gateway with this policy, as it is.
pub fn gateway_url(gateway: &str, over: Scheme) -> String {
    match over {
        Scheme::Https => format!("https://{gateway}.gate.test"),
        // Another name: HSTS would turn http into https.
        Scheme::Http => format!("http://{gateway}.plain.test"),
    }
}

/// The same, with the changes of the case of this number.
pub fn changed_url(number: usize, over: Scheme) -> String {
    match over {
        Scheme::Https => format!("https://case{number}.changed.test"),
        Scheme::Http => format!("http://case{number}.changed-plain.test"),
    }
}

fn host_rules(gateway: &Gateway, edge: &Gateway, playground: &Gateway, policies: &[(&str, Value)]) -> String {
    let (plain, tls) = (edge.address("pages"), edge.address("pages-tls"));
    let mut rules = Vec::new();
    for (name, _) in policies {
        rules.push(format!(
            "MAP {name}.gate.test:443 {}",
            gateway.address(&format!("{name}-tls"))
        ));
        rules.push(format!("MAP {name}.plain.test:80 {}", gateway.address(name)));
    }
    rules.extend([
        format!("MAP *.changed.test:443 {}", edge.address("changed-tls")),
        format!("MAP *.changed-plain.test:80 {}", edge.address("changed")),
        format!("MAP localhost:10000 {}", gateway.address("demo")),
        format!("MAP *localhost:10002 {}", playground.address("playground")),
        format!("MAP *localhost:10003 {}", playground.address("playground")),
        format!("MAP *:80 {plain}"),
        format!("MAP *:3000 {plain}"),
        format!("MAP *:3001 {plain}"),
        format!("MAP *:443 {tls}"),
        format!("MAP *:8443 {tls}"),
        "MAP * ~NOTFOUND".to_owned(),
    ]);
    rules.join(", ")
}

/// Every policy on a listener with TLS and on one without.
fn start_gateway(
    upstream: &Upstream,
    demo_upstream: &Gateway,
    policies: &[(&str, Value)],
    certificate: &Certificate,
) -> Gateway {
    let demo_upstream = demo_upstream.address("upstream");
    let tls = tls(certificate);
    let websocket = start_websocket();
    let mut setup = Gateway::in_front_of(upstream);
    for (name, policy) in policies {
        setup = setup.listener(Listener::new(name, policy));
    }
    setup
        .amend(move |bootstrap| {
            let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
            for listener in listeners.iter_mut() {
                let is_demo = listener["name"] == "demo";
                let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
                let routes = manager["route_config"]["virtual_hosts"][0]["routes"]
                    .as_array_mut()
                    .unwrap();
                if is_demo {
                    routes.last_mut().unwrap()["route"]["cluster"] = json!("demo-upstream");
                }
                routes.insert(
                    0,
                    json!({"match": {"path": "/websocket"}, "route": {"cluster": "websocket"}}),
                );
                routes.insert(
                    0,
                    json!({"match": {"path": "/leads-away"}, "redirect": {"host_redirect": "yourapp.com"}}),
                );
            }
            let mut with_tls = listeners.clone();
            for listener in &mut with_tls {
                listener["name"] = json!(format!("{}-tls", listener["name"].as_str().unwrap()));
                listener["filter_chains"][0]["transport_socket"] = tls.clone();
            }
            listeners.append(&mut with_tls);
            add_cluster(bootstrap, "websocket", websocket);
            add_cluster(bootstrap, "demo-upstream", demo_upstream);
        })
        .start()
}

/// An Envoy for what is not the gateway: the pages, and the changes on the way to it.
fn start_edge(
    upstream: &Upstream,
    gateway: &Gateway,
    policies: &[(&str, Value)],
    cases: &[Case],
    certificate: &Certificate,
) -> Gateway {
    let tls = tls(certificate);
    let gateways: Vec<(String, SocketAddr)> = policies
        .iter()
        .map(|(name, _)| ((*name).to_owned(), gateway.address(name)))
        .collect();
    let mut changed: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let url = changed_url(number, case.over);
            let host = url.split("//").nth(1).unwrap();
            changing_host(host, case.gateway, &case.changes)
        })
        .collect();
    changed.push(asks_preflights_for_a_key());
    let pages = vec![json!({"name": "pages", "domains": ["*"], "routes": [{
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "<!doctype html><title>page</title><body>"}},
        "response_headers_to_add": [overwrite("Content-Type", "text/html; charset=utf-8")],
    }]})];
    Gateway::in_front_of(upstream)
        .amend(move |bootstrap| {
            for (name, hosts) in [("pages", &pages), ("changed", &changed)] {
                let plain = listener(name, hosts);
                let mut with_tls = listener(&format!("{name}-tls"), hosts);
                with_tls["filter_chains"][0]["transport_socket"] = tls.clone();
                let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
                listeners.extend([plain, with_tls]);
            }
            for (name, address) in gateways {
                add_cluster(bootstrap, &name, address);
            }
        })
        .start()
}

/// Where the tokens that the playground's backend gives out have expired.
pub const EXPIRED: &str = "http://expired.localhost:10002/";

/// The demo's upstream, on a free port.
fn start_demo_upstream() -> Gateway {
    start_demo("", "upstream.yaml", &[("port_value: 10001 ", "port_value: 0 ")])
}

/// The demo's playground, on free ports.
fn start_playground(gateway: &Gateway) -> Gateway {
    demo_token("alice");
    let gateway = format!("port_value: {} ", gateway.address("demo").port());
    let first_route = "              routes:\n";
    start_demo(
        "static_resources:\n  listeners:\n",
        "playground.yaml",
        &[
            ("port_value: 10000 ", &gateway),
            ("port_value: 10002 ", "port_value: 0 "),
            ("port_value: 10003 ", "port_value: 0 "),
            (
                first_route,
                &format!("{first_route}              - {}\n", expired_sign_in()),
            ),
        ],
    )
}

/// A file of the demo below this head, with replacements.
fn start_demo(head: &str, file: &str, replacements: &[(&str, &str)]) -> Gateway {
    let mut text = std::fs::read_to_string(repository().join("envoy").join(file)).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} in envoy/{file}");
        text = text.replace(from, to);
    }
    let admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }";
    Gateway::from_yaml(&format!("{head}{text}\n{admin}\n"))
}

/// A route that, on one host, gives out a token which was good in 2023.
fn expired_sign_in() -> Value {
    let policy = std::fs::read_to_string(repository().join("envoy/policy.json")).unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let keys = policy["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["id"] == "demo-users").unwrap();
    let secret = key["scoped_tokens"]["secrets"][0].as_str().unwrap();
    let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).unwrap().leak();
    let token = token::good("demo-users", 1_700_000_000, r#""sub":"alice""#, Signer::Secret(secret));
    let host = EXPIRED.trim_start_matches("http://").trim_end_matches('/');
    json!({
        "match": {"prefix": "/sign-in/", "headers": [{"name": ":authority", "string_match": {"exact": host}}]},
        "direct_response": {"status": 200, "body": {"inline_string": token}},
    })
}

fn listener(name: &str, hosts: &[Value]) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "upgrade_configs": [{"upgrade_type": "websocket"}],
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }],
                "route_config": {"virtual_hosts": hosts},
            },
        }]}],
    })
}

fn changing_host(host: &str, gateway: &str, changes: &[Change]) -> Value {
    let (mut remove, mut set, mut ask) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Remove(name) => remove.push(*name),
            Change::Set(name, value) => set.push(overwrite(name, value)),
            Change::Ask(name, value) => ask.push(overwrite(name, value)),
        }
    }
    json!({
        "name": host,
        "domains": [host],
        "response_headers_to_remove": remove,
        "response_headers_to_add": set,
        "request_headers_to_add": ask,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": gateway}}],
    })
}

/// A set-up that many have: CORS headers on everything, and a check for keys in front that takes a
/// preflight for a request without one.
fn asks_preflights_for_a_key() -> Value {
    json!({
        "name": "asks-preflights-for-a-key",
        "domains": ["asks-preflights-for-a-key.changed.test"],
        "response_headers_to_add": [
            overwrite("Access-Control-Allow-Origin", "%REQ(Origin)%"),
            overwrite("Access-Control-Allow-Headers", "Authorization"),
        ],
        "routes": [
            {
                "match": {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "OPTIONS"}}]},
                "direct_response": {"status": 401},
            },
            {"match": {"prefix": "/"}, "route": {"cluster": "main"}},
        ],
    })
}

fn overwrite(name: &str, value: &str) -> Value {
    json!({"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
}

fn add_cluster(bootstrap: &mut Value, name: &str, address: SocketAddr) {
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.push(json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": address.ip(), "port_value": address.port()},
        }}}]}]},
    }));
}

type Certificate = CertifiedKey<rcgen::KeyPair>;

fn tls(certificate: &Certificate) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": certificate.cert.pem()},
                    "private_key": {"inline_string": certificate.signing_key.serialize_pem()},
                }],
            },
        },
    })
}

/// Takes every WebSocket and says `hello`.
fn start_websocket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || greet(&connection));
        }
    });
    address
}

fn greet(mut connection: &TcpStream) -> Option<()> {
    connection.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let header = |wanted: &str| {
        let mut pairs = head.iter().filter_map(|line| line.split_once(": "));
        pairs.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
    };
    let key = header("sec-websocket-key")?;
    let offered = header("sec-websocket-protocol");
    // RFC 6455, section 4.2.2.
    let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = BASE64_STANDARD.encode(accept);
    // The first that the client offers is spoken.
    let spoken = offered.and_then(|list| list.split(", ").next());
    let spoken = spoken.map_or_else(String::new, |spoken| format!("Sec-WebSocket-Protocol: {spoken}\r\n"));
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{spoken}\r\n"
    );
    let greeting = offered.map_or("hello".to_owned(), |list| format!("hello {list}"));
    let frame = [&[0x81, u8::try_from(greeting.len()).ok()?], greeting.as_bytes()].concat();
    connection.write_all(head.as_bytes()).ok()?;
    connection.write_all(&frame).ok()?;
    // Until the browser closes.
    lines.for_each(drop);
    Some(())
}
