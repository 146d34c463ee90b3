//! What the client gets (spec, sections 3 to 6 and 8): the answer's own headers, then CORS, `Vary` and the security headers.

use serde_json::Value;

use super::credentials;
use super::decision::{Decision, Headers, Ruling, any_list_names_an_origin, strings};
use super::origins::{Match, Sent};

const DEFAULT: &[(&str, &str)] = &[
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("content-security-policy", "default-src 'self'"),
];

/// The list of July 2026. Of `Permissions-Policy` only the shape is compared, see [`is_every_feature_off`].
const OWASP: &[(&str, &str)] = &[
    ("cache-control", "no-store, max-age=0"),
    (
        "content-security-policy",
        "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests",
    ),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", EVERY_FEATURE_OFF),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-frame-options", "deny"),
    ("x-permitted-cross-domain-policies", "none"),
];

const API: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("x-xss-protection", "0"),
];

pub const EVERY_FEATURE_OFF: &str = "every feature off, sync-xhr=(self)";

pub fn is_every_feature_off(value: &str) -> bool {
    let features: Vec<&str> = value.split(", ").collect();
    features.len() > 20
        && features.iter().all(|feature| match feature.split_once('=') {
            Some(("sync-xhr", allowed)) => allowed == "(self)",
            Some((name, allowed)) => !name.is_empty() && allowed == "()",
            None => false,
        })
}

/// The headers of an answer of the filter's own, before [`finish`]. Values that the spec leaves open are empty.
pub fn own(decision: &Decision) -> Headers {
    let mut headers: Headers = Vec::new();
    match decision.ruling {
        Ruling::Allow | Ruling::Preflight => {}
        Ruling::Deny(status, _) => {
            match decision.grpc {
                None => put(&mut headers, "content-type", "application/problem+json"),
                Some(kind) => {
                    put(&mut headers, "content-type", kind);
                    put(&mut headers, "grpc-status", grpc_status(status));
                    put(&mut headers, "grpc-message", "");
                }
            }
            put(&mut headers, "cache-control", "no-store");
            if status == 401 {
                put(&mut headers, "www-authenticate", "");
            }
            if status == 429 {
                put(&mut headers, "retry-after", "");
            }
        }
    }
    headers
}

/// Spec, section 6.
fn grpc_status(status: u16) -> &'static str {
    match status {
        401 => "16",
        403 => "7",
        400 => "3",
        429 => "8",
        503 => "14",
        other => panic!("{other}"),
    }
}

/// The `Content-Type` of answers to a request of this one; none where it is not gRPC.
pub fn grpc(content_type: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(content_type).to_ascii_lowercase();
    let kind = text.split(['+', ';', ' ']).next().unwrap();
    ["application/grpc", "application/grpc-web", "application/grpc-web-text"]
        .into_iter()
        .find(|known| *known == kind)
}

/// How a response's headers change on their way to the client.
pub fn finish(policy: &Value, decision: &Decision, mut headers: Headers) -> Headers {
    let is_own = decision.ruling != Ruling::Allow && !decision.reports;
    if !decision.reports {
        headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with(b"access-control-"));
        cors(policy, decision, &mut headers);
        vary(policy, decision.is_preflight && is_own, &mut headers);
    }
    let is_limited = decision.limit.is_some() || decision.client_limit.is_some();
    if is_limited && !decision.is_preflight && !decision.reports {
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
            take(&mut headers, name);
            put(&mut headers, name, "");
        }
    }
    security(policy, is_own, &mut headers);
    headers
}

fn cors(policy: &Value, decision: &Decision, headers: &mut Headers) {
    let cors = &policy["cors"];
    let with_credentials = cors["allow_credentials"].as_bool().unwrap_or(true);
    let origin = match (&decision.origin, decision.match_) {
        _ if decision.any_alone && !decision.is_preflight => "*",
        (_, Match::None) => return,
        (_, Match::Any) => "*",
        (_, Match::Null) => "null",
        (Sent::One(origin), Match::Named) => origin,
        (_, Match::Named) => unreachable!(),
    };
    put(headers, "access-control-allow-origin", origin);
    if with_credentials && decision.match_ == Match::Named {
        put(headers, "access-control-allow-credentials", "true");
    }
    let or_default = |field: &str, default: &[&str]| -> Vec<String> {
        match &cors[field] {
            Value::Null => default.iter().map(|one| one.to_string()).collect(),
            list => strings(list).iter().map(|one| one.to_string()).collect(),
        }
    };
    let mut put_list = |name: &str, list: &[String]| {
        if !list.is_empty() {
            put(headers, name, &list.join(", "));
        }
    };
    let mut exposed = or_default(
        "expose_headers",
        &["X-Request-Id", "X-RateLimit-Remaining", "X-RateLimit-Reset"],
    );
    if decision.grpc.is_some() {
        for name in ["Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"] {
            if !exposed.iter().any(|one| one.eq_ignore_ascii_case(name)) {
                exposed.push(name.to_owned());
            }
        }
    }
    put_list("access-control-expose-headers", &exposed);
    if decision.is_preflight {
        put_list(
            "access-control-allow-methods",
            &or_default("allow_methods", &["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
        );
        let mut allowed = or_default(
            "allow_headers",
            &["Authorization", "Content-Type", "X-Request-Id", "X-Idempotency-Key"],
        );
        for name in key_headers(policy) {
            if !allowed.iter().any(|one| one.eq_ignore_ascii_case(&name)) {
                allowed.push(name);
            }
        }
        put_list("access-control-allow-headers", &allowed);
        let max_age = cors["max_age"].as_f64().unwrap_or(86400.0) as u64;
        put(headers, "access-control-max-age", &max_age.to_string());
    }
}

fn key_headers(policy: &Value) -> Vec<String> {
    credentials::sources(policy)
        .iter()
        .filter_map(|source| source["header"].as_str().map(str::to_owned))
        .collect()
}

fn vary(policy: &Value, answers_preflight: bool, headers: &mut Headers) {
    let mut wanted: Vec<String> = Vec::new();
    if answers_preflight {
        wanted.extend(
            [
                "Origin",
                "Access-Control-Request-Method",
                "Access-Control-Request-Headers",
            ]
            .map(str::to_owned),
        );
    } else {
        if any_list_names_an_origin(policy) || policy.get("keys_from").is_some() {
            wanted.push("Origin".to_owned());
        }
        wanted.extend(key_headers(policy));
    }
    let mut names = vary_names(headers);
    if names.iter().any(|name| name == "*") {
        return;
    }
    for name in wanted {
        if !names.iter().any(|one| one.eq_ignore_ascii_case(&name)) {
            put(headers, "vary", &name);
            names.push(name);
        }
    }
}

/// The names in all lines of `Vary`, as they are written.
pub fn vary_names(headers: &Headers) -> Vec<String> {
    headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"vary"))
        .flat_map(|(_, value)| {
            let text = String::from_utf8_lossy(value).into_owned();
            text.split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What an answer of the filter's own says of itself stands: an error is never cached.
fn security(policy: &Value, is_own: bool, headers: &mut Headers) {
    let security = &policy["security_headers"];
    let preset = match security["preset"].as_str().unwrap_or("default") {
        "default" => DEFAULT,
        "owasp" => OWASP,
        "api" => API,
        _ => &[],
    };
    // Name, value, whether the upstream's stays.
    let mut wanted: Vec<(String, String, bool)> = preset
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string(), false))
        .collect();
    if let Some(directives) = security["content_security_policy"].as_object() {
        let text: Vec<String> = directives
            .iter()
            .map(|(name, sources)| {
                let name = name.to_ascii_lowercase();
                let mut words = vec![&name[..]];
                words.extend(strings(sources));
                words.join(" ")
            })
            .collect();
        wanted.retain(|(name, ..)| name != "content-security-policy");
        wanted.push(("content-security-policy".to_owned(), text.join("; "), false));
    }
    for (name, value) in security["set"].as_object().into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        wanted.retain(|(other, ..)| *other != name);
        match value {
            Value::Null => {}
            Value::String(text) => wanted.push((name, text.clone(), false)),
            value => wanted.push((
                name,
                value["value"].as_str().unwrap().to_owned(),
                value["mode"] == "if_absent",
            )),
        }
    }
    for name in strings(&security["remove"]) {
        wanted.retain(|(other, ..)| !other.eq_ignore_ascii_case(name));
        if !is_own {
            take(headers, name);
        }
    }
    for (name, value, keeps) in wanted {
        if (keeps || is_own)
            && headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
        {
            continue;
        }
        take(headers, &name);
        put(headers, &name, &value);
    }
}

fn take(headers: &mut Headers, name: &str) {
    headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
}

fn put(headers: &mut Headers, name: &str, value: &str) {
    headers.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
}
