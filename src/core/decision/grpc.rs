//! gRPC and gRPC-Web: what an error must be for their clients to read it. They read `grpc-status` and `grpc-message`, in an answer that
//! has headers alone ("Trailers-Only", gRPC over HTTP/2; gRPC-Web keeps them in the headers as well).

/// What a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grpc {
    /// gRPC over HTTP/2.
    Native,
    /// gRPC-Web, from a page.
    Web,
    /// The same, with bodies in base64.
    WebText,
}

impl Grpc {
    /// Of a request with this `Content-Type`: `application/grpc`, `-web` or `-web-text`, perhaps with the encoding of its messages
    /// behind a `+`. `None` for any other.
    pub fn of(content_type: &[u8]) -> Option<Grpc> {
        let end = content_type.iter().position(|b| matches!(b, b'+' | b';' | b' '));
        let kind = content_type.get(..end.unwrap_or(content_type.len()))?;
        let known = [Grpc::Native, Grpc::Web, Grpc::WebText];
        known
            .into_iter()
            .find(|grpc| kind.eq_ignore_ascii_case(grpc.content_type().as_bytes()))
    }

    /// Of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Grpc::Native => "application/grpc",
            Grpc::Web => "application/grpc-web",
            Grpc::WebText => "application/grpc-web-text",
        }
    }
}

/// `text`, which is printable ASCII, as the value of `grpc-message`: percent-encoded (gRPC over HTTP/2, `Status-Message`).
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
