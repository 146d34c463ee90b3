//! Errors that clients of gRPC and gRPC-Web can read: `grpc-status` and `grpc-message` in a response that has headers only
//! ("Trailers-Only" in the document "gRPC over HTTP2", which gRPC-Web follows).

/// The kind of gRPC that a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grpc {
    /// gRPC over HTTP/2.
    Native,
    /// gRPC-Web, from a page.
    Web,
    /// gRPC-Web with its messages in base64.
    WebText,
}

impl Grpc {
    /// The kind that a `Content-Type` names: `application/grpc`, `application/grpc-web` or `application/grpc-web-text`, with or without
    /// the encoding of the messages (`+proto`). `None` for any other.
    pub fn of(content_type: &[u8]) -> Option<Grpc> {
        let end = content_type.iter().position(|b| matches!(b, b'+' | b';' | b' '));
        let kind = content_type.get(..end.unwrap_or(content_type.len()))?;
        let known = [Grpc::Native, Grpc::Web, Grpc::WebText];
        known
            .into_iter()
            .find(|grpc| kind.eq_ignore_ascii_case(grpc.content_type().as_bytes()))
    }

    /// The `Content-Type` of a response.
    pub fn content_type(self) -> &'static str {
        match self {
            Grpc::Native => "application/grpc",
            Grpc::Web => "application/grpc-web",
            Grpc::WebText => "application/grpc-web-text",
        }
    }
}

/// The value of `grpc-message` for `text`, which must be printable ASCII: percent-encoded ("gRPC over HTTP2", `Status-Message`).
pub fn message(text: &str) -> String {
    text.replace('%', "%25")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (content_type, expected) in [
            ("application/grpc", Some(Grpc::Native)),
            ("application/grpc+proto", Some(Grpc::Native)),
            ("application/grpc; charset=utf-8", Some(Grpc::Native)),
            ("Application/GRPC", Some(Grpc::Native)),
            ("application/grpc-web", Some(Grpc::Web)),
            ("application/grpc-web+proto", Some(Grpc::Web)),
            ("application/grpc-web-text", Some(Grpc::WebText)),
            ("application/grpc-web-text+proto", Some(Grpc::WebText)),
            ("application/grpcx", None),
            ("application/grpc-webs", None),
            ("application/json", None),
            ("+", None),
            ("", None),
        ] {
            assert_eq!(Grpc::of(content_type.as_bytes()), expected, "{content_type}");
        }
    }
}
