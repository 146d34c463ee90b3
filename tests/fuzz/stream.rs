//! The filter over a host of the test's own. The first byte chooses a policy, the second the call of the host that fails (0: none). Then
//! blocks, with an empty line between them: the first byte of a block says what comes, and the second which of four streams it is for.
//!
//! - `q`, `t`, `p`: the headers of a request, its trailers, the headers of a response, line by line as `name: value`, where `<kid claims>`
//!   stands for a token
//! - `c`: the policy with this number takes the place of the one before; `x`: one that is wrong; `m`: memory runs out, or is there again

#![no_main]

#[path = "../harness/host.rs"]
mod world;

use keyfence_filter::host::{Action, MapType};
use keyfence_filter::stream::Stream;
use libfuzzer_sys::fuzz_target;
use reference::spec::upstreams::folded;
use reference::{common_policies, knows_tokens, with_tokens};
use serde_json::Value;
use world::{Fake, HeaderList, Vm};

/// What a request that went on began under.
#[derive(Clone)]
struct Open {
    policy: Value,
    is_forwarded: bool,
}

fuzz_target!(|data: &[u8]| {
    let policies = common_policies();
    let [first, fails, data @ ..] = data else { return };
    let policy = |number: u8| policies[usize::from(number) % policies.len()].clone();
    let mut current = policy(*first);
    let host = Fake::new(&current.to_string());
    let mut vm = Vm::new(host.clone());
    let mut root = 1;
    let size = host.0.configuration.borrow().len();
    assert!(vm.configure(root, size), "the policies are right");
    if *fails > 0 {
        host.0.fails.set(host.0.calls.get() + usize::from(*fails));
    }
    let mut open: [Option<Open>; 4] = Default::default();
    let text = String::from_utf8_lossy(data);
    for block in text.split("\n\n").take(16) {
        let [kind, number, ..] = block.as_bytes() else { continue };
        let stream = u32::from(*number % 4);
        let block_of_tokens = with_tokens(block, world::NOW as i64);
        let lines = lines(block_of_tokens.split('\n').skip(1));
        match kind {
            b'q' => {
                host.edit(MapType::RequestHeaders, |headers| *headers = lines);
                vm.streams.insert(stream, Stream::new(root));
                let is_forwarded = vm.on_request_headers(stream) == Action::Continue;
                let state = Open {
                    policy: current.clone(),
                    is_forwarded,
                };
                if is_forwarded {
                    identity_is_the_policys(&host, &state.policy);
                    claims_are_a_tokens(&host, &state.policy, block);
                }
                open[stream as usize] = Some(state);
            }
            b't' | b'p' => {
                let Some(state) = &open[stream as usize] else { continue };
                let map = if *kind == b't' {
                    MapType::RequestTrailers
                } else {
                    MapType::ResponseHeaders
                };
                host.edit(map, |headers| *headers = lines);
                let action = if *kind == b't' {
                    vm.on_request_trailers(stream)
                } else {
                    vm.on_response_headers(stream)
                };
                if action == Action::Continue && state.is_forwarded {
                    match map {
                        MapType::RequestTrailers => no_claim_is_left(&host, &state.policy),
                        _ => response_is_consistent(&host, &state.policy),
                    }
                }
            }
            b'c' | b'x' => {
                let next = policy(*number);
                let written = if *kind == b'x' {
                    "{\"keyz\": 1}".to_owned()
                } else {
                    next.to_string()
                };
                *host.0.configuration.borrow_mut() = written.clone().into_bytes();
                root += 1;
                let is_accepted = vm.configure(root, written.len());
                if *kind == b'c' && is_accepted {
                    current = next;
                } else {
                    // The host goes on with the one before.
                    root -= 1;
                }
            }
            b'm' => host.0.memory.set(if number % 2 == 0 { 0 } else { usize::MAX }),
            _ => {}
        }
    }
});

/// What Envoy lets through: tokens in lower case as names, and no line breaks in values.
fn lines<'l>(lines: impl Iterator<Item = &'l str>) -> HeaderList {
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let pairs = pairs.filter(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"\"(),/;<=>?@[\\]{}".contains(&b))
    });
    pairs
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn identity_header(policy: &Value) -> Option<String> {
    match policy.get("identity_header") {
        None => Some("x-key-id".into()),
        Some(Value::String(name)) => Some(name.to_ascii_lowercase()),
        Some(_) => None,
    }
}

fn claims(host: &Fake, map: MapType, policy: &Value) -> HeaderList {
    identity_header(policy).map_or(Vec::new(), |name| alike(host, map, &name))
}

/// The headers that an upstream may read under this name.
fn alike(host: &Fake, map: MapType, name: &str) -> HeaderList {
    host.edit(map, |headers| {
        let alike = headers
            .iter()
            .filter(|(header, _)| folded(header) == folded(name.as_bytes()));
        alike.cloned().collect()
    })
}

fn identity_is_the_policys(host: &Fake, policy: &Value) {
    let claims = claims(host, MapType::RequestHeaders, policy);
    assert!(claims.len() <= 1, "{claims:?}");
    let keys = policy["keys"].as_array().into_iter().flatten();
    let ids: Vec<&str> = keys.filter_map(|key| key["id"].as_str()).collect();
    for (_, id) in &claims {
        assert!(ids.iter().any(|known| known.as_bytes() == id), "{claims:?}");
    }
}

/// What the upstream hears of a token's user and filter is in a token of the request: a claim that a client makes up is not.
fn claims_are_a_tokens(host: &Fake, policy: &Value, block: &str) {
    if !knows_tokens(policy) {
        return;
    }
    for name in OF_TOKENS {
        let heard = alike(host, MapType::RequestHeaders, name);
        assert!(heard.len() <= 1, "{heard:?}");
        for (header, value) in heard {
            let is_visible = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
            assert!(
                header == name.as_bytes() && is_visible && block.contains('<'),
                "{block}"
            );
        }
    }
}

const OF_TOKENS: [&str; 2] = ["x-key-filter", "x-key-subject"];

fn no_claim_is_left(host: &Fake, policy: &Value) {
    let claims = claims(host, MapType::RequestTrailers, policy);
    assert!(claims.is_empty(), "{claims:?}");
    for name in OF_TOKENS.into_iter().filter(|_| knows_tokens(policy)) {
        let claims = alike(host, MapType::RequestTrailers, name);
        assert!(claims.is_empty(), "{claims:?}");
    }
}

fn response_is_consistent(host: &Fake, policy: &Value) {
    let reports = policy.to_string().contains("\"report\"");
    host.edit(MapType::ResponseHeaders, |headers| {
        let values = |name: &[u8]| -> Vec<Vec<u8>> {
            headers
                .iter()
                .filter(|(header, _)| header == name)
                .map(|(_, value)| value.clone())
                .collect()
        };
        if reports {
            return;
        }
        let origins = values(b"access-control-allow-origin");
        assert!(origins.len() <= 1, "{headers:?}");
        let is_shared = origins.iter().any(|origin| origin == b"*" || origin == b"null");
        assert!(
            !is_shared || values(b"access-control-allow-credentials").is_empty(),
            "{headers:?}"
        );
    });
}
