//! What a decision needs of a request's headers, borrowed from them and gathered in one pass.

use crate::config::token::equals_ignoring_separators;
use crate::policy::Policy;

use super::credential::{Credential, WEBSOCKET_PROTOCOL};
use super::grpc::Grpc;
use super::headers::{Headers, length_bit};

/// The parts of a request that matter. Nothing in it is trusted to be text.
#[derive(Debug, Clone)]
pub struct Head<'r> {
    /// `:method`.
    pub method: &'r [u8],
    /// `:path`, with its query.
    pub path: &'r [u8],
    /// `:scheme`, as Envoy determined it.
    pub scheme: &'r [u8],
    /// `:authority`.
    pub authority: &'r [u8],
    /// `Origin`. Two lines are an empty value, which matches nothing.
    pub origin: Option<&'r [u8]>,
    /// The key.
    pub credential: Credential<'r>,
    /// `x-request-id`.
    pub request_id: Option<&'r [u8]>,
    /// Which kind of gRPC it speaks, if it does.
    pub grpc: Option<Grpc>,
    /// The names of headers that an upstream may take for the identity header.
    pub identity_claims: Vec<&'r [u8]>,
    /// `Connection`, of an upgrade: Envoy lets no other pass. The next hop takes away the headers that it names.
    pub connection: Option<&'r [u8]>,
    /// The names of headers by which an upstream may take another method than the request's.
    pub method_overrides: Vec<&'r [u8]>,
    /// The lines of `Sec-WebSocket-Protocol`.
    pub websocket_protocols: Vec<&'r [u8]>,
    /// `Sec-Fetch-Site`. Two lines are an empty value.
    pub fetch_site: Option<&'r [u8]>,
    has_request_method: bool,
}

/// Headers of the frameworks that let a `POST` stand for another method.
const METHOD_OVERRIDES: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];

impl<'r> Head<'r> {
    /// Of a request's headers, pseudo-headers included; names are in lower case, as Envoy has them.
    pub fn read<H>(policy: &Policy, headers: H) -> Head<'r>
    where
        H: Iterator<Item = (&'r [u8], &'r [u8])> + Clone,
    {
        let mut head = Head {
            method: b"",
            path: b"",
            scheme: b"",
            authority: b"",
            origin: None,
            credential: Credential::Missing,
            request_id: None,
            grpc: None,
            identity_claims: Vec::new(),
            connection: None,
            method_overrides: Vec::new(),
            websocket_protocols: Vec::new(),
            fetch_site: None,
            has_request_method: false,
        };
        let mut lengths = 0;
        for (name, value) in headers.clone() {
            lengths |= length_bit(name);
            match name {
                b":method" => head.method = value,
                b":path" => head.path = value,
                b":scheme" => head.scheme = value,
                b":authority" => head.authority = value,
                b"origin" => head.origin = Some(if head.origin.is_none() { value } else { b"" }),
                b"content-type" => head.grpc = Grpc::of(value),
                b"x-request-id" => head.request_id = Some(value),
                b"access-control-request-method" => head.has_request_method = true,
                b"connection" => head.connection = Some(value),
                WEBSOCKET_PROTOCOL => head.websocket_protocols.push(value),
                b"sec-fetch-site" => head.fetch_site = Some(if head.fetch_site.is_none() { value } else { b"" }),
                _ => head.note_dangerous(policy, name),
            }
        }
        // None of the page's headers come with a preflight (Fetch), so a key is in its URL or nowhere.
        let lengths = if head.is_preflight() { 0 } else { lengths };
        head.credential = Credential::find(&policy.key_sources, &Headers::new(headers, lengths), head.path);
        head
    }

    fn note_dangerous(&mut self, policy: &Policy, name: &'r [u8]) {
        if is_identity_claim(policy.response.identity_header.as_deref(), name) {
            self.identity_claims.push(name);
        } else if is_method_override(name) {
            self.method_overrides.push(name);
        }
    }

    /// Whether a browser asks what it may do (Fetch, "CORS-preflight request").
    pub fn is_preflight(&self) -> bool {
        self.method == b"OPTIONS" && self.origin.is_some() && self.has_request_method
    }

    /// Whether a browser sent it, as far as it shows. `Sec-Fetch-Mode` does not show it: Node's `fetch` sends it too.
    pub fn is_from_browser(&self) -> bool {
        self.origin.is_some() || self.fetch_site.is_some()
    }

    /// The origin of the page where a browser says that the request's URL has the same, and `Origin` does not name it (Fetch, "append a
    /// request `Origin` header"; Fetch Metadata, `Sec-Fetch-Site`): it is missing with `GET` and `HEAD`, and `null` with a `POST` from a
    /// page whose referrer policy is `no-referrer`. A page without an origin of its own, as in a sandboxed frame, is never same-origin.
    pub fn same_origin(&self) -> Option<Vec<u8>> {
        let is_unnamed = matches!(self.origin, None | Some(b"null"));
        let is_same = is_unnamed && self.fetch_site == Some(b"same-origin");
        is_same.then(|| [self.scheme, b"://", self.authority_of_origin()].concat())
    }

    /// `:authority` without the default port of the scheme, which browsers never send and proxies may add.
    fn authority_of_origin(&self) -> &'r [u8] {
        let port: &[u8] = match self.scheme {
            b"https" => b":443",
            b"http" => b":80",
            _ => b"",
        };
        self.authority.strip_suffix(port).unwrap_or(self.authority)
    }

    /// The path without its query.
    pub fn bare_path(&self) -> &'r [u8] {
        let end = self.path.iter().position(|b| *b == b'?').unwrap_or(self.path.len());
        self.path.get(..end).unwrap_or(self.path)
    }
}

/// Whether an upstream may take a header or trailer of this name for `identity_header`.
#[inline]
pub fn is_identity_claim(identity_header: Option<&str>, name: &[u8]) -> bool {
    identity_header.is_some_and(|header| equals_ignoring_separators(name, header.as_bytes()))
}

/// Whether an upstream may take the method from a header or trailer of this name.
#[inline]
pub fn is_method_override(name: &[u8]) -> bool {
    METHOD_OVERRIDES.iter().any(|header| header.len() == name.len()) && overrides_method(name)
}

/// Out of the way of the other headers of a request, which are not as long as one of these.
#[inline(never)]
fn overrides_method(name: &[u8]) -> bool {
    METHOD_OVERRIDES
        .iter()
        .any(|header| equals_ignoring_separators(name, header))
}
