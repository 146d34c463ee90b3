//! The filter's own responses: errors (RFC 9457) and responses to preflights.
//!
//! Envoy passes a local reply through the response phase as it passes any response. So the reply is made here without the headers that
//! Envoy's configuration adds on the way, and [`complete`] puts both together when it comes by.

use super::cors::is_cors;
use super::grpc::{self, Grpc};
use super::header_list::HeaderList;
use super::headers::{Line, with_values};
use super::mutation::HeaderMutation;
use super::outcome::{Decision, LocalReplyKind};
use super::reason::Reason;
use super::request::Head;
use super::response::ResponseContext;
use super::{preflight, problem};
use crate::policy::Policy;
use crate::policy::response_headers::ResponsePolicy;

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status: 200 if the request speaks gRPC, which has a status of its own.
    pub status: u16,
    /// `grpc-status`, which is among the headers too, if the request speaks gRPC.
    pub grpc_status: Option<u8>,
    /// Names in lower case.
    pub headers: HeaderList,
    /// Empty for a preflight, and for gRPC.
    pub body: Vec<u8>,
}

impl LocalReply {
    /// The whole response to a request on which `decision` was made.
    pub fn new(policy: &Policy, head: &Head<'_>, decision: &Decision<'_, '_>, kind: LocalReplyKind) -> LocalReply {
        let content = match kind {
            LocalReplyKind::Preflight => Content::none(),
            LocalReplyKind::Error(reason) => match head.grpc {
                Some(grpc) => Content::grpc(grpc, reason, head.origin),
                None => Content::problem(reason, head.origin, policy.docs_url.as_deref(), head.request_id),
            },
        };
        let retry_after = decision.rate.map(|rate| rate.retry_after.to_string());
        let mut own: Vec<Line<'_>> = Vec::with_capacity(10);
        own.extend(content.headers());
        if let LocalReplyKind::Error(reason) = kind {
            own.extend(error_headers(policy, reason, retry_after.as_deref()));
        }
        if decision.is_preflight {
            own.extend(preflight::headers(policy, decision.allow_origin));
        }
        let mut headers = HeaderList::for_reply();
        for (name, value) in &own {
            headers.push(name, value);
        }
        let context = ResponseContext::new(head, decision);
        context.apply(&policy.response, own.iter().copied(), &mut |mutation| match mutation {
            HeaderMutation::Add(name, value) => headers.push(name, value),
            // The reply's own headers stay as they are, `Vary` and `Cache-Control` too: an error must not be cached, whatever the policy
            // sets in other responses.
            HeaderMutation::Replace(..) | HeaderMutation::Remove(_) => {}
        });
        content.into_reply(headers)
    }

    /// The error if no policy is in force: then there are no CORS and security headers to set.
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

/// Status and body.
struct Content {
    status: u16,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    /// `grpc-status`, as number and in digits, and `grpc-message`.
    grpc: Option<(u8, String, String)>,
}

impl Content {
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
            content_type: Some(problem::CONTENT_TYPE),
            body: problem::body(reason, origin, docs_url, request_id),
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
        with_values([
            (b"content-type", self.content_type),
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

/// Whether a header describes the body, and so is sent together with it.
pub fn is_of_body(name: &[u8]) -> bool {
    name == b"content-type"
}

/// All headers of a local reply in the response phase. Keeps the headers that are `present`, which Envoy and its configuration have added,
/// except CORS headers, headers that the `reply` sets, and headers that the policy removes; then adds the reply's own. A header that was
/// sent with the body stays.
pub fn complete<'l>(
    policy: Option<&ResponsePolicy>,
    reply: &'l HeaderList,
    present: impl Iterator<Item = Line<'l>> + Clone,
) -> Vec<Line<'l>> {
    let has_body = present.clone().any(|(name, _)| is_of_body(name));
    let is_removed = |name: &[u8]| {
        let removed = policy.into_iter().flat_map(|policy| &policy.static_headers.remove);
        removed.into_iter().any(|removed| removed.as_bytes() == name)
    };
    let stays = |name: &[u8]| is_of_body(name) || !(reply.has(name) || is_cors(name) || is_removed(name));
    let others = present.filter(|(name, _)| stays(name));
    others
        .chain(reply.iter().filter(|(name, _)| !(has_body && is_of_body(name))))
        .collect()
}

fn error_headers<'l>(
    policy: &'l Policy,
    reason: Reason,
    retry_after: Option<&'l str>,
) -> impl Iterator<Item = Line<'l>> {
    let challenge = (reason.status() == 401).then_some(&*policy.challenge);
    let retry_after = retry_after.filter(|_| reason.status() == 429);
    with_values([
        (b"cache-control", Some("no-store")),
        (b"www-authenticate", challenge),
        (b"retry-after", retry_after),
    ])
}
