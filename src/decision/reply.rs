//! The answers of the filter's own: errors (RFC 9457) and preflights (Fetch, "CORS-preflight fetch").

use crate::policy::Policy;

use super::headers::Lines;
use super::reason::Reason;
use super::request::Head;
use super::response::{Edit, Exchange};
use super::{AllowOrigin, Ruling, Verdict};

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
    /// The answer to a request that the verdict does not let through; `None` for one that it does.
    pub fn new(policy: &Policy, head: &Head<'_>, verdict: &Verdict<'_, '_>) -> Option<Reply> {
        let (status, body) = match verdict.ruling {
            Ruling::Allow => return None,
            Ruling::Preflight => (204, Vec::new()),
            Ruling::Deny(reason) => (
                reason.status(),
                problem(reason, policy.docs_url.as_deref(), head.request_id),
            ),
        };
        let mut reply = Reply {
            status,
            headers: Lines::with_room(),
            body,
        };
        if let Ruling::Deny(reason) = verdict.ruling {
            reply.describe_error(policy, reason, verdict);
        }
        if verdict.is_preflight {
            reply.describe_preflight(policy, verdict.allow_origin);
        }
        let mut added = Lines::with_room();
        Exchange::new(head.origin, verdict).edit(policy, reply.headers.iter(), &mut |edit| match edit {
            Edit::Add(name, value) => added.push(name, value),
            // What a reply says of itself stands: an error must not be cached whatever the policy says of other responses.
            Edit::Replace(..) | Edit::Remove(_) => {}
        });
        reply.headers.append(&added);
        Some(reply)
    }

    /// The answer where no policy is in force. There is nothing to take CORS or security headers from.
    pub fn without_policy() -> Reply {
        let mut reply = Reply {
            status: Reason::PolicyUnavailable.status(),
            headers: Lines::default(),
            body: problem(Reason::PolicyUnavailable, None, None),
        };
        reply.headers.push(b"content-type", PROBLEM_JSON);
        reply.headers.push(b"cache-control", b"no-store");
        reply
    }

    fn describe_error(&mut self, policy: &Policy, reason: Reason, verdict: &Verdict<'_, '_>) {
        self.headers.push(b"content-type", PROBLEM_JSON);
        self.headers.push(b"cache-control", b"no-store");
        if reason.status() == 401 {
            self.headers.push(b"www-authenticate", policy.challenge.as_bytes());
        }
        if let (Reason::RateLimitExceeded, Some(rate)) = (reason, verdict.rate) {
            self.headers
                .push(b"retry-after", rate.retry_after.to_string().as_bytes());
        }
    }

    /// What the preflight asks for is not read: the browser compares, and names what is missing.
    fn describe_preflight(&mut self, policy: &Policy, allow_origin: AllowOrigin) {
        self.headers.push(
            b"vary",
            b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        );
        if allow_origin == AllowOrigin::Omit {
            return;
        }
        let cors = &policy.cors;
        for (name, value) in [
            (&b"access-control-allow-methods"[..], cors.allow_methods.as_deref()),
            (b"access-control-allow-headers", cors.allow_headers.as_deref()),
            (b"access-control-max-age", Some(&*cors.max_age)),
        ] {
            if let Some(value) = value {
                self.headers.push(name, value.as_bytes());
            }
        }
    }
}

const PROBLEM_JSON: &[u8] = b"application/problem+json";

/// The body of an error. Everything in it but the request's id is the filter's own text.
fn problem(reason: Reason, docs_url: Option<&str>, request_id: Option<&[u8]>) -> Vec<u8> {
    let (code, status) = (reason.code(), reason.status().to_string());
    let kind = match docs_url {
        Some(url) => [url, "#", code],
        None => ["about:blank", "", ""],
    };
    let mut body = String::with_capacity(512);
    body.extend([r#"{"type":""#]);
    body.extend(kind);
    body.extend([r#"","title":""#, reason.title(), r#"","status":"#, &status]);
    body.extend([r#","code":""#, code, r#"","detail":""#, reason.detail(), r#"""#]);
    let id = request_id.filter(|id| id.len() <= MAX_REQUEST_ID);
    let id = id.and_then(|id| std::str::from_utf8(id).ok());
    if let Some(id) = id.and_then(|id| serde_json::to_string(id).ok()) {
        body.extend([r#","request_id":"#, &id]);
    }
    body.push_str("}\n");
    body.into_bytes()
}
