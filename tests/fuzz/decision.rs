//! The first byte chooses a policy. Line by line: the source address, the method, the path, then headers as `name: value`. A line
//! `+<seconds>` starts a further request of the same policy. In path and headers `<kid claims>` stands for a token.

#![no_main]

use std::sync::OnceLock;

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use keyfence_filter::pairs::Pairs;
use libfuzzer_sys::fuzz_target;
use reference::compare::Pair;
use reference::spec::decision::{Headers, Request};
use reference::{common_policies, with_tokens};
use serde_json::Value;

static POLICIES: OnceLock<Vec<(&Value, Policy)>> = OnceLock::new();

fn policies() -> Vec<(&'static Value, Policy)> {
    let load = |written: &'static Value| {
        let loaded = Policy::load(written.to_string().as_bytes(), Timestamp(0)).expect("the policies are right");
        (written, loaded.policy)
    };
    common_policies().iter().map(load).collect()
}

fuzz_target!(|data: &[u8]| {
    // Whatever the host's buffer holds, reading it ends.
    assert!(Pairs::of(data).is_none_or(|pairs| pairs.count() <= data.len()));
    let policies = POLICIES.get_or_init(policies);
    let Some((number, data)) = data.split_first() else {
        return;
    };
    let (written, policy) = &policies[usize::from(*number) % policies.len()];
    let mut pair = Pair::new(written, policy);
    let mut now = 1_800_000_000_000;
    let data = match std::str::from_utf8(data) {
        // The time goes on from here, so that a token is remembered and expires.
        Ok(text) => with_tokens(text, now / 1_000).into_bytes(),
        Err(_) => data.to_vec(),
    };
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    for lines in lines.split_inclusive(|line| line.starts_with(b"+")).take(8) {
        let answer = vec![
            (b":status".to_vec(), b"200".to_vec()),
            (b"vary".to_vec(), b"Accept, X-API-Key".to_vec()),
            (b"access-control-allow-origin".to_vec(), b"*".to_vec()),
            (b"x-frame-options".to_vec(), b"SAMEORIGIN".to_vec()),
        ];
        if let Some(request) = request(lines, now)
            && let Err(wrong) = pair.check(&request, &answer)
        {
            panic!("{wrong}\n{request:?}\n{written:#}");
        }
        let pause = lines
            .last()
            .and_then(|line| std::str::from_utf8(line.get(1..)?).ok()?.parse::<u16>().ok());
        now += i64::from(pause.unwrap_or(0)) * 1000;
    }
});

/// What Envoy lets through to a filter: tokens in lower case as names, and no line breaks in values.
fn request(lines: &[&[u8]], now: i64) -> Option<Request> {
    let [source, method, path, lines @ ..] = lines else {
        return None;
    };
    let mut headers: Headers = vec![
        (b":method".to_vec(), method.to_vec()),
        (b":path".to_vec(), path.to_vec()),
    ];
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(is_token) {
            continue;
        }
        let (name, value) = (name.to_ascii_lowercase(), value[1..].trim_ascii());
        match headers
            .iter_mut()
            .find(|(known, _)| name == b"connection" && *known == name)
        {
            // Of which Envoy makes one line.
            Some((_, joined)) => joined.extend([b",", value].concat()),
            None => headers.push((name, value.to_vec())),
        }
    }
    let source = std::str::from_utf8(source)
        .ok()
        .filter(|source| !source.is_empty() && !source.contains('%'));
    Some(Request {
        headers,
        source: source.map(str::to_owned),
        now: now as u64,
    })
}
