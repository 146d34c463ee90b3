//! The values of response headers that are the same for every request, prepared once.

use super::protected_headers::ProtectedHeaders;
use crate::config::cors::Cors;
use crate::config::key::Enforcement;
use crate::config::key_source::KeySource;
use crate::config::security_headers::{SecurityHeaders, SetMode};
use crate::config::token::{HeaderName, equals_ignoring_separators};

/// The part of the policy that a stream needs after its request is decided. Streams share it and keep nothing else of the policy: a stream
/// that stays open through many updates must not keep the keys of each policy in memory.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// The values of CORS headers.
    pub cors: CorsValues,
    /// The value of `Vary`.
    pub vary: Vary,
    /// The headers of every response.
    pub static_headers: StaticHeaders,
    /// All enabled lists together contain `*` and nothing else. Then a response whose request the filter never saw has `*` too.
    pub union_is_any_alone: bool,
    /// The headers that only the filter may set for the upstream. They are removed from a client's trailers.
    pub protected_headers: ProtectedHeaders,
    /// The headers in which requests carry keys, in lower case. They are removed from trailers, in which no key is checked and which must not
    /// carry credentials (RFC 9110, section 6.5.1).
    pub key_headers: Box<[Box<str>]>,
    /// The enforcement of requests whose key does not set its own.
    pub enforcement: Enforcement,
}

impl ResponsePolicy {
    /// Whether an upstream may read a trailer of this name as one of [`ResponsePolicy::key_headers`].
    pub fn is_key_header(&self, name: &[u8]) -> bool {
        let mut headers = self.key_headers.iter();
        headers.any(|header| equals_ignoring_separators(name, header.as_bytes()))
    }
}

/// The values of CORS headers, ready to send. `None` for an empty list: the header is left out.
#[derive(Debug, PartialEq, Eq)]
pub struct CorsValues {
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: Option<Box<str>>,
    /// `Access-Control-Allow-Headers`, including the headers that carry keys.
    pub allow_headers: Option<Box<str>>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Option<Box<str>>,
    /// `Access-Control-Expose-Headers` of responses to gRPC and gRPC-Web, whose status may be in the headers.
    pub expose_headers_of_grpc: Box<str>,
    /// Whether `Access-Control-Allow-Credentials: true` is sent.
    pub allow_credentials: bool,
    /// `Access-Control-Max-Age`.
    pub max_age: Box<str>,
}

fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<Box<str>> {
    let value = names.collect::<Vec<_>>().join(", ");
    (!value.is_empty()).then(|| value.into())
}

impl CorsValues {
    /// The values for `cors`. The headers of the key sources are added to the allowed headers if they are not listed.
    pub fn new(cors: &Cors, sources: &[KeySource]) -> CorsValues {
        let mut headers: Vec<&HeaderName> = cors.allow_headers.iter().collect();
        for source in sources.iter().filter_map(KeySource::header) {
            if !headers.iter().any(|listed| listed.is(&source.0)) {
                headers.push(source);
            }
        }
        let mut exposed: Vec<&str> = cors.expose_headers.iter().map(|name| name.0.as_str()).collect();
        let expose_headers = joined(exposed.iter().copied());
        for name in ["Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"] {
            if !exposed.iter().any(|listed| listed.eq_ignore_ascii_case(name)) {
                exposed.push(name);
            }
        }
        CorsValues {
            allow_methods: joined(cors.allow_methods.iter().map(|method| method.0.as_str())),
            allow_headers: joined(headers.iter().map(|name| name.0.as_str())),
            expose_headers,
            expose_headers_of_grpc: exposed.join(", ").into(),
            allow_credentials: cors.allow_credentials,
            max_age: cors.max_age.to_string().into(),
        }
    }
}

/// The request headers by which responses differ (RFC 9110, section 12.5.5).
#[derive(Debug, PartialEq, Eq)]
pub struct Vary {
    /// Each name once, in the order in which they are sent.
    pub names: Vec<Box<str>>,
    /// The value for a response without a `Vary` of its own.
    pub value: Box<str>,
}

impl Vary {
    /// `Origin` if a list names an origin, and every header that carries keys. `Authorization` is among them because shared caches store a
    /// response to a request with it if the response has `public`, `s-maxage` or `must-revalidate` (RFC 9111, section 3.5).
    pub fn new(names_origins: bool, sources: &[KeySource]) -> Vary {
        let mut names: Vec<Box<str>> = Vec::new();
        names.extend(names_origins.then(|| "Origin".into()));
        for header in sources.iter().filter_map(KeySource::header) {
            let known = |name: &str| names.iter().any(|listed| listed.eq_ignore_ascii_case(name));
            if !known(&header.0) {
                names.push(header.0.as_str().into());
            }
        }
        let value = names.join(", ").into();
        Vary { names, value }
    }
}

/// A header of every response.
#[derive(Debug, PartialEq, Eq)]
pub struct StaticHeader {
    /// Lower case.
    pub name: Box<str>,
    /// Ready to send.
    pub value: Box<str>,
    /// Whether it replaces the upstream's own header.
    pub mode: SetMode,
}

/// The headers to set and to remove in every response.
#[derive(Debug, PartialEq, Eq)]
pub struct StaticHeaders {
    /// The headers to set, each name once.
    pub set: Box<[StaticHeader]>,
    /// The names of the headers to remove, in lower case.
    pub remove: Box<[Box<str>]>,
}

impl StaticHeaders {
    /// Compiles `security_headers`.
    pub fn new(headers: &SecurityHeaders) -> StaticHeaders {
        StaticHeaders {
            set: headers
                .set
                .iter()
                .map(|header| StaticHeader {
                    name: header.name.lower().into(),
                    value: header.value.as_str().into(),
                    mode: header.mode,
                })
                .collect(),
            remove: headers.remove.iter().map(|name| name.lower().into()).collect(),
        }
    }
}
