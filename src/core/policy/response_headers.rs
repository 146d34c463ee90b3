//! Values of response headers that do not depend on the request, put together once.

use crate::config::cors::Cors;
use crate::config::key::Enforcement;
use crate::config::key_source::KeySource;
use crate::config::security_headers::{SecurityHeaders, SetMode};
use crate::config::token::{HeaderName, equals_ignoring_separators};

/// What a stream still needs of its policy once its request is decided. Streams share it and keep nothing else of the policy, so that
/// a stream which stays open through many updates holds no keys.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// What CORS headers say.
    pub cors: CorsValues,
    /// What responses differ by.
    pub vary: Vary,
    /// What every response carries.
    pub static_headers: StaticHeaders,
    /// All enabled lists together are `*` alone, so that a response whose request was never seen carries it.
    pub union_is_any_alone: bool,
    /// The header that names the key to the upstream, in lower case. A client's own is removed from request trailers.
    pub identity_header: Option<Box<str>>,
    /// The headers that carry keys, in lower case. Trailers must not (RFC 9110, section 6.5.1), and no key in them is checked.
    pub key_headers: Box<[Box<str>]>,
    /// What holds for requests whose key does not say.
    pub enforcement: Enforcement,
}

impl ResponsePolicy {
    /// Whether an upstream may take a trailer of this name for a header that carries keys.
    pub fn is_key_header(&self, name: &[u8]) -> bool {
        let mut headers = self.key_headers.iter();
        headers.any(|header| equals_ignoring_separators(name, header.as_bytes()))
    }
}

/// What CORS headers say, each value ready to send. An empty list has no header.
#[derive(Debug, PartialEq, Eq)]
pub struct CorsValues {
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: Option<Box<str>>,
    /// `Access-Control-Allow-Headers`, those that carry keys included.
    pub allow_headers: Option<Box<str>>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Option<Box<str>>,
    /// The same in answers to gRPC-Web, whose status may be in headers.
    pub expose_headers_of_grpc: Box<str>,
    /// `Access-Control-Allow-Credentials: true` is sent.
    pub allow_credentials: bool,
    /// `Access-Control-Max-Age`.
    pub max_age: Box<str>,
}

fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<Box<str>> {
    let value = names.collect::<Vec<_>>().join(", ");
    (!value.is_empty()).then(|| value.into())
}

impl CorsValues {
    /// Of `cors` and the headers of the key sources, which are added where they are not listed.
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

/// What responses differ by (RFC 9110, section 12.5.5).
#[derive(Debug, PartialEq, Eq)]
pub struct Vary {
    /// Names in the order in which they are added; none twice.
    pub names: Vec<Box<str>>,
    /// The whole value for a response that has none.
    pub value: Box<str>,
}

impl Vary {
    /// `Origin` where a list names an origin, and every header that carries keys. `Authorization` is one of them: shared caches keep
    /// a response to a request with it where the response says `public`, `s-maxage` or `must-revalidate` (RFC 9111, section 3.5).
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

/// One header that every response carries.
#[derive(Debug, PartialEq, Eq)]
pub struct StaticHeader {
    /// Lower case.
    pub name: Box<str>,
    /// Ready to send.
    pub value: Box<str>,
    /// What happens to the upstream's own.
    pub mode: SetMode,
}

/// What is done to every response.
#[derive(Debug, PartialEq, Eq)]
pub struct StaticHeaders {
    /// To set, each name once.
    pub set: Box<[StaticHeader]>,
    /// To take away, in lower case.
    pub remove: Box<[Box<str>]>,
}

impl StaticHeaders {
    /// Of `security_headers`.
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
