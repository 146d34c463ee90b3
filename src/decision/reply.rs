//! The answers of the filter's own: errors (RFC 9457) and preflights (Fetch, "CORS-preflight fetch").

use crate::policy::Policy;
use crate::policy::response_headers::ResponsePolicy;

use super::headers::Lines;
use super::reason::Reason;
use super::request::Head;
use super::response::{Edit, Exchange, is_cors};
use super::{AllowOrigin, Answer, Verdict};

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Lines,
    /// Empty for a preflight.
    pub body: Vec<u8>,
}

/// Longer ones are not repeated in an error.
const MAX_REQUEST_ID: usize = 128;

impl Reply {
    /// The whole response for the verdict's `answer`.
    pub fn new(policy: &Policy, head: &Head<'_>, verdict: &Verdict<'_, '_>, answer: Answer) -> Reply {
        let (status, body) = match answer {
            Answer::Preflight => (204, Vec::new()),
            Answer::Error(reason) => (
                reason.status(),
                problem(reason, head.origin, policy.docs_url.as_deref(), head.request_id),
            ),
        };
        let retry_after = verdict.rate.map(|rate| rate.retry_after.to_string());
        let mut own: Vec<Line<'_>> = Vec::with_capacity(8);
        if let Answer::Error(reason) = answer {
            own.extend(error_headers(policy, reason, retry_after.as_deref()));
        }
        if verdict.is_preflight {
            own.extend(preflight_headers(policy, verdict.allow_origin));
        }
        let mut headers = Lines::with_room();
        for (name, value) in &own {
            headers.push(name, value);
        }
        Exchange::new(head.origin, verdict).edit(&policy.response, own.iter().copied(), &mut |edit| match edit {
            Edit::Add(name, value) => headers.push(name, value),
            // What a reply says of itself stands: an error must not be cached whatever the policy says of other responses.
            Edit::Replace(..) | Edit::Remove(_) => {}
        });
        Reply { status, headers, body }
    }

    /// The answer where no policy is in force. There is nothing to take CORS or security headers from.
    pub fn without_policy() -> Reply {
        let mut reply = Reply {
            status: Reason::PolicyUnavailable.status(),
            headers: Lines::default(),
            body: problem(Reason::PolicyUnavailable, None, None, None),
        };
        reply.headers.push(b"content-type", PROBLEM_JSON.as_bytes());
        reply.headers.push(b"cache-control", b"no-store");
        reply
    }
}

type Line<'l> = (&'l [u8], &'l [u8]);

/// Whether a header says what the body is, and so comes with it.
pub fn is_of_body(name: &[u8]) -> bool {
    name == b"content-type"
}

/// All headers of an answer: its own, and what they leave of those `present`, which Envoy and its configuration have given it. That is
/// none that the answer has itself, none of CORS, and none that the policy takes away. What came with the body stays as it came.
pub fn complete<'l>(
    policy: Option<&ResponsePolicy>,
    answer: &'l Lines,
    present: impl Iterator<Item = Line<'l>>,
) -> Vec<Line<'l>> {
    let is_removed = |name: &[u8]| {
        let removed = policy.into_iter().flat_map(|policy| &policy.standing.remove);
        removed.into_iter().any(|removed| removed.as_bytes() == name)
    };
    let stays = |name: &[u8]| is_of_body(name) || !(answer.has(name) || is_cors(name) || is_removed(name));
    let others = present.filter(|(name, _)| stays(name));
    others
        .chain(answer.iter().filter(|(name, _)| !is_of_body(name)))
        .collect()
}

fn error_headers<'l>(
    policy: &'l Policy,
    reason: Reason,
    retry_after: Option<&'l str>,
) -> impl Iterator<Item = Line<'l>> {
    let challenge = (reason.status() == 401).then_some(&*policy.challenge);
    let retry_after = retry_after.filter(|_| reason == Reason::RateLimitExceeded);
    let lines = [
        (&b"content-type"[..], Some(PROBLEM_JSON)),
        (b"cache-control", Some("no-store")),
        (b"www-authenticate", challenge),
        (b"retry-after", retry_after),
    ];
    present(lines)
}

/// What the preflight asks for is not read: the browser compares, and names what is missing.
fn preflight_headers(policy: &Policy, allow_origin: AllowOrigin) -> impl Iterator<Item = Line<'_>> {
    let cors = Some(&policy.response.cors).filter(|_| allow_origin != AllowOrigin::Omit);
    let lines = [
        (
            &b"vary"[..],
            Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ),
        (
            b"access-control-allow-methods",
            cors.and_then(|cors| cors.allow_methods.as_deref()),
        ),
        (
            b"access-control-allow-headers",
            cors.and_then(|cors| cors.allow_headers.as_deref()),
        ),
        (b"access-control-max-age", cors.map(|cors| &*cors.max_age)),
    ];
    present(lines)
}

fn present<'l, const N: usize>(lines: [(&'l [u8], Option<&'l str>); N]) -> impl Iterator<Item = Line<'l>> {
    lines
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_bytes())))
}

const PROBLEM_JSON: &str = "application/problem+json";

/// The body of an error. Everything in it but the request's id is the filter's own text.
fn problem(reason: Reason, origin: Option<&[u8]>, docs_url: Option<&str>, request_id: Option<&[u8]>) -> Vec<u8> {
    let (code, status) = (reason.code(), reason.status().to_string());
    let kind = match docs_url {
        Some(url) => [url, "#", code],
        None => ["about:blank", "", ""],
    };
    let mut body = String::with_capacity(512);
    body.extend([r#"{"type":""#]);
    body.extend(kind);
    body.extend([r#"","title":""#, reason.title(), r#"","status":"#, &status]);
    body.extend([r#","code":""#, code, r#"","detail":""#, reason.detail(origin), r#"""#]);
    let id = request_id.filter(|id| id.len() <= MAX_REQUEST_ID);
    let id = id.and_then(|id| std::str::from_utf8(id).ok());
    if let Some(id) = id.and_then(|id| serde_json::to_string(id).ok()) {
        body.extend([r#","request_id":"#, &id]);
    }
    body.push_str("}\n");
    body.into_bytes()
}
