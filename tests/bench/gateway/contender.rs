//! What answers the requests: a listener with one filter chain.

use serde_json::{Value, json};

use crate::harness::gateway::{built_filter, repository};
use crate::policy::{self, EXPOSE_HEADERS, KEY_HEADER, SECURITY_HEADERS};

/// A filter chain in front of a direct response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Contender {
    /// The router alone.
    NoFilter,
    /// `tests/bench/filters/empty.rs`.
    Empty,
    /// `tests/bench/filters/floor.rs`.
    Floor,
    /// Envoy's own filters for the same policy, with so many keys.
    Native(usize),
    /// Envoy's `cors` filter alone.
    NativeCors,
    /// One script for the same policy with one key.
    Lua,
    /// With so many keys.
    Keyfence(usize),
    /// With the least policy.
    Lean,
    /// With one key that verifies scoped tokens, asked with this.
    Scoped(Credential),
    /// With one key that has this limit, which is never used up.
    Limited(Limit),
}

/// What requests present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The key.
    Key,
    /// One token, which is remembered.
    Token(Algorithm),
    /// A good token that is not remembered.
    NewToken(Algorithm),
    /// A token that is not remembered, and that somebody else has signed.
    ForgedToken(Algorithm),
    /// A key that the policy does not have, each time another one.
    UnknownKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Hs256,
    EdDsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    None,
    /// Of the key.
    Whole,
    /// Of each of its clients, of which there is one.
    PerClient,
}

impl Contender {
    pub fn name(&self) -> String {
        match self {
            Self::NoFilter => "no filter".into(),
            Self::Empty => "empty wasm filter".into(),
            Self::Floor => "floor".into(),
            Self::Native(keys) => format!("native chain, {}", counted(*keys)),
            Self::NativeCors => "native cors filter".into(),
            Self::Lua => "Lua filter, 1 key".into(),
            Self::Keyfence(keys) => format!("keyfence, {}", counted(*keys)),
            Self::Lean => "keyfence, least policy".into(),
            Self::Scoped(credential) => format!("keyfence, {}", credential.name()),
            Self::Limited(Limit::None) => "keyfence, no limit".into(),
            Self::Limited(Limit::Whole) => "keyfence, limit of the key".into(),
            Self::Limited(Limit::PerClient) => "keyfence, limit of each client".into(),
        }
    }

    /// The listener of this name, on a free port.
    pub fn listener(&self, name: &str) -> Value {
        let mut filters = self.filters(name);
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": typed("router.v3.Router")},
        }));
        let mut host = json!({
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}}],
        });
        if let Self::Native(keys) = self {
            host["response_headers_to_add"] = security_headers();
            host["typed_per_filter_config"] = json!({"envoy.filters.http.cors": cors_policy(*keys)});
        }
        if let Self::NativeCors = self {
            host["typed_per_filter_config"] = json!({"envoy.filters.http.cors": cors_policy(1)});
        }
        json!({
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": name,
                    "use_remote_address": true,
                    "http_filters": filters,
                    "route_config": {"virtual_hosts": [host]},
                },
            }]}],
        })
    }

    fn filters(&self, vm_id: &str) -> Vec<Value> {
        match self {
            Self::NoFilter => vec![],
            Self::Empty => vec![wasm(vm_id, &example("empty"), "")],
            Self::Floor => vec![wasm(vm_id, &example("floor"), "")],
            Self::Keyfence(keys) => vec![keyfence(vm_id, &policy::keyfence(*keys))],
            Self::Lean => vec![keyfence(vm_id, &policy::lean())],
            Self::Scoped(_) => vec![keyfence(vm_id, &policy::scoped())],
            Self::Limited(limit) => vec![keyfence(vm_id, &policy::limited(*limit))],
            Self::NativeCors => vec![cors()],
            Self::Native(keys) => vec![cors(), api_key_auth(*keys), rbac(*keys)],
            Self::Lua => vec![json!({
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": typed("lua.v3.Lua"),
                    "default_source_code": {"inline_string": include_str!("../filters/policy.lua")},
                },
            })],
        }
    }
}

impl Credential {
    fn name(self) -> String {
        match self {
            Self::Key => "the key".into(),
            Self::Token(algorithm) => format!("remembered token, {}", algorithm.name()),
            Self::NewToken(algorithm) => format!("first sight of a token, {}", algorithm.name()),
            Self::ForgedToken(algorithm) => format!("forged token, {}", algorithm.name()),
            Self::UnknownKey => "unknown key".into(),
        }
    }
}

impl Algorithm {
    /// As in the header of a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

pub fn counted(keys: usize) -> String {
    let digits = keys.to_string();
    let grouped: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    format!("{} {}", grouped.join(","), if keys == 1 { "key" } else { "keys" })
}

fn typed(extension: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.http.{extension}")
}

fn example(name: &str) -> String {
    let path = repository().join(format!("target/wasm32-wasip1/release/examples/{name}.wasm"));
    path.to_str().unwrap().to_owned()
}

fn keyfence(vm_id: &str, policy: &Value) -> Value {
    wasm(vm_id, built_filter().to_str().unwrap(), &policy.to_string())
}

/// Each in a VM of its own.
fn wasm(vm_id: &str, filename: &str, configuration: &str) -> Value {
    json!({
        "name": "wasm",
        "typed_config": {
            "@type": typed("wasm.v3.Wasm"),
            "config": {
                "name": vm_id,
                "vm_config": {"vm_id": vm_id, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": filename}}},
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
            },
        },
    })
}

fn cors() -> Value {
    json!({"name": "envoy.filters.http.cors", "typed_config": {"@type": typed("cors.v3.Cors")}})
}

/// One list for all keys: Envoy has none for each.
fn cors_policy(keys: usize) -> Value {
    let patterns: Vec<Value> = (0..keys)
        .flat_map(policy::origins)
        .map(|origin| string_matcher(&origin))
        .collect();
    json!({
        "@type": typed("cors.v3.CorsPolicy"),
        "allow_origin_string_match": patterns,
        "allow_methods": "GET, POST, PUT, DELETE, OPTIONS",
        "allow_headers": "Authorization, Content-Type, X-Request-Id, X-Idempotency-Key, X-API-Key",
        "expose_headers": EXPOSE_HEADERS,
        "allow_credentials": true,
        "max_age": "86400",
    })
}

fn string_matcher(origin: &str) -> Value {
    match origin.split_once("://*") {
        Some((_, suffix)) => json!({"suffix": suffix}),
        None => json!({"exact": origin}),
    }
}

fn api_key_auth(keys: usize) -> Value {
    let credentials: Vec<Value> = (0..keys)
        .map(|number| json!({"key": policy::key(number), "client": policy::id(number)}))
        .collect();
    json!({
        "name": "envoy.filters.http.api_key_auth",
        "typed_config": {
            "@type": typed("api_key_auth.v3.ApiKeyAuth"),
            "credentials": credentials,
            "key_sources": [{"header": KEY_HEADER}],
            "forwarding": {"header": "x-key-id"},
        },
    })
}

/// For each key a policy of its identity, its networks and its origins.
fn rbac(keys: usize) -> Value {
    let header = |name: &str, matcher: Value| json!({"header": {"name": name, "string_match": matcher}});
    let either = |ids: Vec<Value>| json!({"or_ids": {"ids": ids}});
    let policies: serde_json::Map<String, Value> = (0..keys)
        .map(|number| {
            let origins = policy::origins(number);
            let origins = origins.iter().map(|origin| header("origin", string_matcher(origin)));
            let networks = policy::networks(number);
            let networks = networks
                .iter()
                .map(|(address, length)| json!({"remote_ip": {"address_prefix": address, "prefix_len": length}}));
            let principal = json!({"and_ids": {"ids": [
                header("x-key-id", json!({"exact": policy::id(number)})),
                either(networks.collect()),
                either(origins.collect()),
            ]}});
            (
                policy::id(number),
                json!({"permissions": [{"any": true}], "principals": [principal]}),
            )
        })
        .collect();
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {"@type": typed("rbac.v3.RBAC"), "rules": {"action": "ALLOW", "policies": policies}},
    })
}

fn security_headers() -> Value {
    SECURITY_HEADERS
        .into_iter()
        .chain([("vary", "Origin, X-API-Key")])
        .map(|(key, value)| {
            json!({"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
        })
        .collect()
}
