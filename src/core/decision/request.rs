//! The parts of a request's headers that a decision needs, borrowed from the headers and found in one pass.

use crate::config::token::{equals_ignoring_separators, length_bit};
use crate::policy::Policy;
use crate::policy::protected_headers::ProtectedHeaders;

use super::credential::{Credential, WEBSOCKET_PROTOCOL};
use super::grpc::Grpc;
use super::headers::Headers;

/// The parts of a request that a decision needs. Clients choose these bytes: they need not be UTF-8.
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
    /// `Origin`. Empty if the request has several lines of it: an empty origin matches nothing.
    pub origin: Option<&'r [u8]>,
    /// The API key.
    pub credential: Credential<'r>,
    /// `x-request-id`.
    pub request_id: Option<&'r [u8]>,
    /// Which kind of gRPC the request speaks, if any.
    pub grpc: Option<Grpc>,
    /// The names of headers that an upstream may read as one that only the filter sets.
    pub protected_claims: Vec<&'r [u8]>,
    /// `Connection`, which Envoy forwards for upgrades only. The next hop removes the headers that it names (RFC 9110, section 7.6.1).
    pub connection: Option<&'r [u8]>,
    /// The names of headers that make some upstreams use another method than the request's.
    pub method_overrides: Vec<&'r [u8]>,
    /// The value of each line of `Sec-WebSocket-Protocol`.
    pub websocket_protocols: Vec<&'r [u8]>,
    /// `Sec-Fetch-Site`. Empty if the request has several lines of it.
    pub fetch_site: Option<&'r [u8]>,
    has_request_method: bool,
}

/// The headers with which a client overrides the method, in some web frameworks.
const METHOD_OVERRIDES: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];

/// The union of the [`length_bit`] of each.
const METHOD_OVERRIDE_LENGTHS: u64 = {
    let [first, second, third] = METHOD_OVERRIDES;
    length_bit(first) | length_bit(second) | length_bit(third)
};

impl<'r> Head<'r> {
    /// Reads the headers of a request, pseudo-headers included. Names are in lower case, as Envoy has them.
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
            protected_claims: Vec::new(),
            connection: None,
            method_overrides: Vec::new(),
            websocket_protocols: Vec::new(),
            fetch_site: None,
            has_request_method: false,
        };
        let protected = &policy.response.protected_headers;
        let dangerous_lengths = protected.lengths() | METHOD_OVERRIDE_LENGTHS;
        let mut lengths = 0;
        for (name, value) in headers.clone() {
            let length = length_bit(name);
            lengths |= length;
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
                _ if dangerous_lengths & length != 0 => head.note_dangerous(protected, name),
                _ => {}
            }
        }
        // A preflight has none of the page's headers (Fetch, "CORS-preflight fetch"), so a key can only be in its URL.
        let lengths = if head.is_preflight() { 0 } else { lengths };
        head.credential = Credential::find(&policy.key_sources, &Headers::new(headers, lengths), head.path);
        head
    }

    fn note_dangerous(&mut self, protected: &ProtectedHeaders, name: &'r [u8]) {
        if protected.may_be_read_from(name) {
            self.protected_claims.push(name);
        } else if is_method_override(name) {
            self.method_overrides.push(name);
        }
    }

    /// Whether the request is a CORS-preflight request (Fetch).
    pub fn is_preflight(&self) -> bool {
        self.method == b"OPTIONS" && self.origin.is_some() && self.has_request_method
    }

    /// Whether the headers show that a browser sent the request. `Sec-Fetch-Mode` does not count: Node's `fetch` sends it too.
    pub fn is_from_browser(&self) -> bool {
        self.origin.is_some() || self.fetch_site.is_some()
    }

    /// The origin of the request's URL, if the browser says that its page has the same origin (Fetch Metadata, `Sec-Fetch-Site`), and
    /// `Origin` does not name it (Fetch, "append a request `Origin` header"). Browsers leave `Origin` out of same-origin `GET` and `HEAD`
    /// requests, and send `null` with a `POST` from a page with the referrer policy `no-referrer`. A page with an opaque origin, as in a
    /// sandboxed frame, is never same-origin.
    pub fn own_origin(&self) -> Option<Vec<u8>> {
        let is_unnamed = matches!(self.origin, None | Some(b"null"));
        let is_same = is_unnamed && self.fetch_site == Some(b"same-origin");
        is_same.then(|| [self.scheme, b"://", self.authority_of_origin()].concat())
    }

    /// `:authority` without the default port of the scheme. Browsers never send it, but proxies may add it.
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

/// Whether an upstream may read the method from a header or trailer of this name.
#[inline]
pub fn is_method_override(name: &[u8]) -> bool {
    METHOD_OVERRIDE_LENGTHS & length_bit(name) != 0 && overrides_method(name)
}

/// Not inlined: most headers of a request do not have the length of one of these.
#[inline(never)]
fn overrides_method(name: &[u8]) -> bool {
    METHOD_OVERRIDES
        .iter()
        .any(|header| equals_ignoring_separators(name, header))
}
