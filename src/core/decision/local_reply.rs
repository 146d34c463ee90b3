//! The answers of the filter's own: errors (RFC 9457) and preflights (Fetch, "CORS-preflight fetch").

use crate::policy::Policy;
use crate::policy::response_headers::ResponsePolicy;

use super::grpc::{self, Grpc};
use super::headers::HeaderList;
use super::reason::Reason;
use super::request::Head;
use super::response::{HeaderMutation, ResponseContext, is_cors};
use super::{AllowOrigin, Answer, Decision};

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status: 200 where the request speaks gRPC, which has a status of its own.
    pub status: u16,
    /// `grpc-status`, which is among the headers too, where the request speaks gRPC.
    pub grpc_status: Option<u8>,
    /// Names in lower case.
    pub headers: HeaderList,
    /// Empty for a preflight, and for gRPC.
    pub body: Vec<u8>,
}

/// Longer ones are not repeated in an error.
const MAX_REQUEST_ID: usize = 128;

impl LocalReply {
    /// The whole response for the decision's `answer`.
    pub fn new(policy: &Policy, head: &Head<'_>, decision: &Decision<'_, '_>, answer: Answer) -> LocalReply {
        let content = match answer {
            Answer::Preflight => Content::none(),
            Answer::Error(reason) => match head.grpc {
                Some(grpc) => Content::grpc(grpc, reason, head.origin),
                None => Content::problem(reason, head.origin, policy.docs_url.as_deref(), head.request_id),
            },
        };
        let retry_after = decision.rate.map(|rate| rate.retry_after.to_string());
        let mut own: Vec<Line<'_>> = Vec::with_capacity(10);
        own.extend(content.headers());
        if let Answer::Error(reason) = answer {
            own.extend(error_headers(policy, reason, retry_after.as_deref()));
        }
        if decision.is_preflight {
            own.extend(preflight_headers(policy, decision.allow_origin));
        }
        let mut headers = HeaderList::with_room();
        for (name, value) in &own {
            headers.push(name, value);
        }
        ResponseContext::new(head, decision).edit(&policy.response, own.iter().copied(), &mut |edit| match edit {
            HeaderMutation::Add(name, value) => headers.push(name, value),
            // What a reply says of itself stands: an error must not be cached whatever the policy says of other responses.
            HeaderMutation::Replace(..) | HeaderMutation::Remove(_) => {}
        });
        content.into_reply(headers)
    }

    /// The answer where no policy is in force. There is nothing to take CORS or security headers from.
    pub fn without_policy(grpc: Option<Grpc>) -> LocalReply {
        let reason = Reason::PolicyUnavailable;
        let content = match grpc {
            Some(grpc) => Content::grpc(grpc, reason, None),
            None => Content::problem(reason, None, None, None),
        };
        let mut headers = HeaderList::default();
        for (name, value) in content.headers() {
            headers.push(name, value);
        }
        headers.push(b"cache-control", b"no-store");
        content.into_reply(headers)
    }
}

/// How an answer says what it has to say.
struct Content {
    status: u16,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    /// `grpc-status`, as number and in digits, and `grpc-message`.
    grpc: Option<(u8, String, String)>,
}

impl Content {
    /// Of a preflight.
    fn none() -> Content {
        Content {
            status: 204,
            content_type: None,
            body: Vec::new(),
            grpc: None,
        }
    }

    fn problem(reason: Reason, origin: Option<&[u8]>, docs_url: Option<&str>, request_id: Option<&[u8]>) -> Content {
        Content {
            status: reason.status(),
            content_type: Some("application/problem+json"),
            body: problem(reason, origin, docs_url, request_id),
            grpc: None,
        }
    }

    fn grpc(grpc: Grpc, reason: Reason, origin: Option<&[u8]>) -> Content {
        let status = reason.grpc_status();
        Content {
            status: 200,
            content_type: Some(grpc.content_type()),
            body: Vec::new(),
            grpc: Some((status, status.to_string(), grpc::message(reason.detail(origin)))),
        }
    }

    fn headers(&self) -> impl Iterator<Item = Line<'_>> {
        let (status, message) = match &self.grpc {
            Some((_, status, message)) => (Some(status.as_str()), Some(message.as_str())),
            None => (None, None),
        };
        present([
            (&b"content-type"[..], self.content_type),
            (b"grpc-status", status),
            (b"grpc-message", message),
        ])
    }

    fn into_reply(self, headers: HeaderList) -> LocalReply {
        LocalReply {
            status: self.status,
            grpc_status: self.grpc.map(|(status, ..)| status),
            headers,
            body: self.body,
        }
    }
}

type Line<'l> = (&'l [u8], &'l [u8]);

/// Whether a header says what the body is, and so comes with it.
pub fn is_of_body(name: &[u8]) -> bool {
    name == b"content-type"
}

/// All headers of an answer: its own, and what they leave of those `present`, which Envoy and its configuration have given it. That is
/// none that the answer has itself, none of CORS, and none that the policy takes away. What came with the body stays as it came; Envoy
/// gives an answer without a body nothing of the kind.
pub fn complete<'l>(
    policy: Option<&ResponsePolicy>,
    answer: &'l HeaderList,
    present: impl Iterator<Item = Line<'l>> + Clone,
) -> Vec<Line<'l>> {
    let has_body = present.clone().any(|(name, _)| is_of_body(name));
    let is_removed = |name: &[u8]| {
        let removed = policy.into_iter().flat_map(|policy| &policy.static_headers.remove);
        removed.into_iter().any(|removed| removed.as_bytes() == name)
    };
    let stays = |name: &[u8]| is_of_body(name) || !(answer.has(name) || is_cors(name) || is_removed(name));
    let others = present.filter(|(name, _)| stays(name));
    others
        .chain(answer.iter().filter(|(name, _)| !(has_body && is_of_body(name))))
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
        (&b"cache-control"[..], Some("no-store")),
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
