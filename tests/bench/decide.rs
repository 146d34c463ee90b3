//! What a decision costs natively, and what a policy costs to load: `cargo bench --bench decide`.
//!
//! Requests come from 16,384 of the keys in turn (all, where there are fewer), so that with 100,000 keys the policy is not in the
//! processor's nearest cache, and the branches are not those of the request before. With one key everything is.
//!
//! **Beside tower-http.** Its `CorsLayer` handles the same requests in front of a service that answers at once, called and polled once
//! by a waker that does nothing; the request is made before and dropped after the clock runs. That is CORS alone: three to six headers
//! into a `HeaderMap`. keyfence in the same place reads the headers, finds and hashes the key, checks origin and network, and gives the
//! edits of the response, CORS and security headers both, to a sink that keeps none; a preflight's whole reply.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that meets what it did not expect is of no use"
)]
#![allow(missing_docs)]

mod workload;

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, Request, Response};
use keyfence_core::decision::local_reply::LocalReply;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::response::ResponseContext;
use keyfence_core::decision::{Effect, decide};
use keyfence_core::policy::Policy;
use tower::{Layer, Service, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};
use workload::{Caller, KINDS, Kind, NOW};

const KEYS: [usize; 2] = [1, 100_000];

fn title(keys: usize) -> String {
    format!("{keys} key{}", if keys == 1 { "" } else { "s" })
}

fn decisions(criterion: &mut Criterion) {
    for keys in KEYS {
        let policy = workload::policy(keys);
        for kind in &KINDS {
            let callers = kind.callers(keys);
            let mut group = criterion.benchmark_group(format!("{}, {}", kind.name, title(keys)));
            group.bench_function("read and decide", |bencher| {
                let mut request = kind.request();
                let mut turns = callers.iter().cycle();
                bencher.iter(|| {
                    let caller = turns.next().expect("there are callers");
                    request.come_from(caller);
                    let head = request.read(&policy);
                    let decision = decide(&policy, &head, caller);
                    assert!(decision.outcome == kind.outcome);
                });
            });
            group.bench_function("read", |bencher| {
                let mut request = kind.request();
                let mut turns = callers.iter().cycle();
                bencher.iter(|| {
                    request.come_from(turns.next().expect("there are callers"));
                    black_box(request.read(&policy));
                });
            });
            group.bench_function("decide", |bencher| {
                let heads: Vec<Head<'_>> = callers.iter().map(|caller| head(kind, &policy, caller)).collect();
                let mut turns = callers.iter().zip(&heads).cycle();
                bencher.iter(|| {
                    let (caller, head) = turns.next().expect("there are callers");
                    let decision = decide(&policy, head, caller);
                    assert!(decision.outcome == kind.outcome);
                });
            });
        }
    }
}

fn head<'r>(kind: &Kind, policy: &Policy, caller: &'r Caller) -> Head<'r> {
    let mut request = kind.request();
    request.come_from(caller);
    request.read(policy)
}

fn loads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for keys in [1, 1_000, 100_000] {
        let text = workload::policy_text(keys);
        group.bench_function(BenchmarkId::from_parameter(title(keys)), |bencher| {
            bencher.iter_with_large_drop(|| Policy::load(text.as_bytes(), NOW));
        });
    }
}

/// The kinds that both can be asked for: a list of tower-http's has no wildcards.
const COMPARED: [&str; 3] = ["allowed, 20 headers", "denied", "preflight"];

fn beside_tower_http(criterion: &mut Criterion) {
    for keys in KEYS {
        let policy = workload::policy(keys);
        for kind in KINDS.iter().filter(|kind| COMPARED.contains(&kind.name)) {
            let callers = kind.callers(keys);
            let group_name = format!("beside tower-http: {}, {}", kind.name, title(keys));
            let mut group = criterion.benchmark_group(group_name);
            group.bench_function("keyfence", |bencher| {
                let mut request = kind.request();
                let mut turns = callers.iter().cycle();
                bencher.iter(|| {
                    let caller = turns.next().expect("there are callers");
                    request.come_from(caller);
                    answer(&policy, &request.read(&policy), caller);
                });
            });
            for (name, allow_origin) in [
                ("CorsLayer, predicate", predicate(keys)),
                ("CorsLayer, list", list(keys)),
            ] {
                let mut service = cors(allow_origin).layer(service_fn(respond));
                group.bench_function(name, |bencher| {
                    let mut turns = callers.iter().cycle();
                    bencher.iter_batched(
                        || http_request(kind, turns.next().expect("there are callers")),
                        |request| call(&mut service, request),
                        BatchSize::SmallInput,
                    );
                });
            }
        }
    }
}

/// Everything that keyfence hands to its host for one request and its response.
fn answer(policy: &Policy, head: &Head<'_>, caller: &Caller) {
    const UPSTREAM: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    let decision = decide(policy, head, caller);
    match decision.effect() {
        Effect::Respond(kind) => {
            black_box(LocalReply::new(policy, head, &decision, kind));
        }
        Effect::Forward => {
            let context = ResponseContext::new(head, &decision);
            context.apply(policy.response(), UPSTREAM.into_iter(), &mut |mutation| {
                black_box(mutation);
            });
        }
    }
}

/// As keyfence's defaults are.
fn cors(allow_origin: AllowOrigin) -> CorsLayer {
    let header = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(allow_origin)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            header("x-request-id"),
            header("x-idempotency-key"),
        ])
        .expose_headers([
            header("x-request-id"),
            header("x-ratelimit-remaining"),
            header("x-ratelimit-reset"),
        ])
        .max_age(Duration::from_secs(86_400))
}

fn exact_origins(keys: usize) -> impl Iterator<Item = String> {
    (0..keys).flat_map(|number| {
        let [exact, _, port] = workload::origins(number);
        [exact, port]
    })
}

fn list(keys: usize) -> AllowOrigin {
    AllowOrigin::list(exact_origins(keys).map(|origin| value(&origin)))
}

/// What its users write where a list is too slow: the same origins in a set.
fn predicate(keys: usize) -> AllowOrigin {
    let origins: HashSet<String> = exact_origins(keys).collect();
    AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(|origin| origins.contains(origin)))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("it is plain text")
}

fn http_request(kind: &Kind, caller: &Caller) -> Request<()> {
    let mut request = kind.request();
    request.come_from(caller);
    let mut made = Request::new(());
    *made.method_mut() = kind.method.parse().expect("it is a method");
    for (name, content) in request.headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let name = HeaderName::from_bytes(name).expect("it is a name");
        let content = HeaderValue::from_bytes(content).expect("it is a value");
        made.headers_mut().append(name, content);
    }
    assert!(made.headers().contains_key(ORIGIN));
    made
}

/// The response keeps the request's headers, so that dropping them is not on the clock.
fn respond(request: Request<()>) -> Ready<Result<Response<HeaderMap>, Infallible>> {
    let mut response = Response::new(request.into_parts().0.headers);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    ready(Ok(response))
}

fn call<S>(service: &mut S, request: Request<()>) -> Response<HeaderMap>
where
    S: Service<Request<()>, Response = Response<HeaderMap>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => panic!("nothing in it waits"),
    }
}

/// Short, for there are over fifty of them.
fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
}

criterion_group! {
    name = all;
    config = short();
    targets = decisions, loads, beside_tower_http
}
criterion_main!(all);
