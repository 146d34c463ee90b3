//! What the upstream gets (spec, section 10; method overrides: no header may say another method than the one that was checked).

use serde_json::{Value, json};

use super::credentials::{Carried, From, cut, parameters, protocols};
use super::decision::{Decision, Headers, Request, strings};
use super::tokens;

/// What a token's `filter` and `sub` are told as.
pub const FILTER: &str = "x-key-filter";
pub const SUBJECT: &str = "x-key-subject";

const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

pub fn forwarded(policy: &Value, decision: &Decision, request: &Request) -> Headers {
    let identity = match &policy["identity_header"] {
        Value::String(name) => Some(name.to_ascii_lowercase()),
        Value::Null if policy.get("identity_header").is_some() => None,
        _ => Some("x-key-id".to_owned()),
    };
    let mut protected: Vec<String> = strings(&policy["upstream_header_names"])
        .into_iter()
        .map(str::to_ascii_lowercase)
        .collect();
    protected.extend(identity.clone());
    if tokens::are_known(policy) || policy.get("keys_from").is_some() {
        protected.extend([FILTER.to_owned(), SUBJECT.to_owned()]);
    }
    let is_claim = |name: &[u8]| protected.iter().any(|own| folded(own.as_bytes()) == folded(name));
    let mut own: Headers = Vec::new();
    for (name, claim) in [(FILTER, &decision.filter), (SUBJECT, &decision.subject)] {
        if let Some(value) = claim {
            own.push((name.into(), value.clone().into_bytes()));
        }
    }
    if decision.reports {
        return in_report_mode(request, &is_claim, own);
    }
    if let (Some(name), Some(key)) = (identity, &decision.key) {
        own.push((name.into_bytes(), key.clone().into_bytes()));
    }
    for (name, value) in decision.upstream_headers.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap().as_bytes().to_vec();
        own.push((name.to_ascii_lowercase().into_bytes(), value));
    }
    let drops_key = policy["forward_api_key"] == json!(false);
    let is_protocol = |key: &Carried| matches!(key.from, From::Protocol(_));
    let drops_protocol = drops_key && decision.carried.iter().any(is_protocol);
    let mut sent: Headers = Vec::new();
    for (at, (name, value)) in request.headers.iter().enumerate() {
        if is_claim(name) {
            continue;
        }
        if decision.names_methods && METHOD_OVERRIDES.contains(&&folded(name)[..]) {
            continue;
        }
        let is_key = decision
            .carried
            .iter()
            .any(|key| matches!(key.from, From::Header(_, line) if line == at));
        if drops_key && is_key || drops_protocol && name == b"sec-websocket-protocol" {
            continue;
        }
        let mut value = value.clone();
        if drops_key && name == b":path" {
            value = without_keys(decision, &value, request);
        }
        if name == b"connection" && !own.is_empty() {
            let Some(rest) = without_options(&value, &is_claim) else {
                continue;
            };
            value = rest;
        }
        sent.push((name.clone(), value));
    }
    if drops_protocol {
        let items = protocols(&request.headers).into_iter().enumerate();
        let is_key = |at: &usize| decision.carried.iter().any(|key| key.from == From::Protocol(*at));
        let others: Vec<Vec<u8>> = items
            .filter(|(at, item)| !is_key(at) && !item.is_empty())
            .map(|(_, item)| item)
            .collect();
        if !others.is_empty() {
            sent.push((b"sec-websocket-protocol".into(), others.join(&b", "[..])));
        }
    }
    sent.extend(own);
    sent
}

/// Report mode changes nothing but this: a claim of the client's is never believed, and a token's is always told.
fn in_report_mode(request: &Request, is_claim: &impl Fn(&[u8]) -> bool, own: Headers) -> Headers {
    let mut sent: Headers = Vec::new();
    for (name, value) in request.headers.iter().filter(|(name, _)| !is_claim(name)) {
        // Taken: where a header is told, `Connection` takes none of the protected ones away, as where requests are rejected.
        let value = match &name[..] {
            b"connection" if !own.is_empty() => without_options(value, is_claim),
            _ => Some(value.clone()),
        };
        sent.extend(value.map(|value| (name.clone(), value)));
    }
    sent.extend(own);
    sent
}

/// A name as CGI's heirs read it.
pub fn folded(name: &[u8]) -> String {
    name.iter()
        .map(|byte| char::from(*byte).to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// `Connection` without these of its options; none where nothing is left of it. Taken: nor those that only read as a protected header.
fn without_options(connection: &[u8], is_claim: &impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let all: Vec<&[u8]> = connection.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let mut kept = all.clone();
    kept.retain(|part| !is_claim(part));
    match kept.len() {
        0 => None,
        count if count == all.len() => Some(connection.to_vec()),
        _ => Some(kept.join(&b", "[..])),
    }
}

fn without_keys(decision: &Decision, path: &[u8], request: &Request) -> Vec<u8> {
    let all = parameters(&request.headers);
    let is_key = |at: usize| decision.carried.iter().any(|key| key.from == From::Parameter(at));
    let kept: Vec<Vec<u8>> = (0..all.len())
        .filter(|at| !is_key(*at))
        .map(|at| all[at].clone())
        .collect();
    if kept.len() == all.len() {
        return path.to_vec();
    }
    let bare = cut(path, b'?').0;
    if kept.is_empty() {
        bare
    } else {
        [bare, kept.join(&b"&"[..])].join(&b'?')
    }
}
