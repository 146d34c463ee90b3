//! The body of an error: problem details (RFC 9457).

use super::reason::Reason;

/// The media type of the body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Longer request ids are not repeated in an error, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The body for `reason`, in JSON, with a line feed at its end. `docs_url` is where errors are explained. A `request_id` that is too long
/// or not UTF-8 is left out; everything else is the filter's own text.
pub fn body(reason: Reason, origin: Option<&[u8]>, docs_url: Option<&str>, request_id: Option<&[u8]>) -> Vec<u8> {
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
