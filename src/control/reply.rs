//! HTTP responses.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

/// A response with its whole body.
pub type Reply = Response<Full<Bytes>>;

/// A response of this type.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A JSON document.
pub fn json(body: impl Into<Bytes>) -> Reply {
    text(StatusCode::OK, "application/json", body)
}

/// An error: problem details (RFC 9457).
pub fn problem(status: StatusCode, code: &str, detail: &str) -> Reply {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    text(status, "application/problem+json", format!("{body}\n"))
}

/// The response to a request without the token.
pub fn unauthenticated() -> Reply {
    let reply = problem(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "The request needs the bearer token of this server.",
    );
    with_header(reply, WWW_AUTHENTICATE, "Bearer")
}

/// The response to another method than `allowed`.
pub fn method_not_allowed(allowed: &'static str) -> Reply {
    let reply = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "The path has another method.",
    );
    with_header(reply, ALLOW, allowed)
}

fn with_header(mut reply: Reply, name: HeaderName, value: &'static str) -> Reply {
    reply.headers_mut().insert(name, HeaderValue::from_static(value));
    reply
}
