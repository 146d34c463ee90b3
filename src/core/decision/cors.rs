//! The CORS headers of a response (Fetch, "CORS protocol"). The filter owns them: none of the upstream's passes.

use super::grpc::Grpc;
use super::headers::{Headers, Line};
use super::mutation::{HeaderMutation, set};
use crate::policy::origin_list::OriginMatch;
use crate::policy::response_headers::CorsValues;

/// The value of `Access-Control-Allow-Origin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowOrigin {
    /// The header is left out, and browsers keep the response from the page.
    Omit,
    /// The request's origin.
    Echo,
    /// `null`, and no credentials.
    Null,
    /// `*`, and no credentials.
    Any,
}

impl AllowOrigin {
    /// For a response that is not a preflight's. `origin` is what in the list the request's origin matched. If the list is only `*`, the
    /// response has `*` even without `Origin`, because a cache may reuse the response to an `<img>` for a page's `fetch`.
    pub fn of_response(is_any_alone: bool, origin: Option<OriginMatch>) -> AllowOrigin {
        if is_any_alone {
            AllowOrigin::Any
        } else {
            AllowOrigin::of_preflight(origin)
        }
    }

    /// For the response to a preflight. `origin` is what in the list its origin matched.
    pub fn of_preflight(origin: Option<OriginMatch>) -> AllowOrigin {
        match origin {
            None => AllowOrigin::Omit,
            Some(OriginMatch::Listed(_)) => AllowOrigin::Echo,
            Some(OriginMatch::Null) => AllowOrigin::Null,
            Some(OriginMatch::Any) => AllowOrigin::Any,
        }
    }
}

const ALLOW_ORIGIN: &[u8] = b"access-control-allow-origin";
const ALLOW_CREDENTIALS: &[u8] = b"access-control-allow-credentials";
const EXPOSE_HEADERS: &[u8] = b"access-control-expose-headers";

/// The CORS headers of one response.
#[derive(Debug, Clone, Copy)]
pub struct CorsHeaders<'v>([(&'static [u8], Option<&'v [u8]>); 3]);

impl<'v> CorsHeaders<'v> {
    /// For `origin`, the request's own, which [`AllowOrigin::Echo`] repeats. `grpc`: what the request speaks.
    pub fn new(
        values: &'v CorsValues,
        allow_origin: AllowOrigin,
        origin: Option<&'v [u8]>,
        grpc: Option<Grpc>,
    ) -> CorsHeaders<'v> {
        let (origin, credentials): (Option<&[u8]>, bool) = match allow_origin {
            AllowOrigin::Omit => (None, false),
            AllowOrigin::Any => (Some(b"*"), false),
            AllowOrigin::Null => (Some(b"null"), false),
            AllowOrigin::Echo => (origin, values.allow_credentials),
        };
        let expose = match grpc {
            Some(_) => Some(values.expose_headers_of_grpc.as_bytes()),
            None => values.expose_headers.as_deref().map(str::as_bytes),
        };
        CorsHeaders([
            (ALLOW_ORIGIN, origin),
            (ALLOW_CREDENTIALS, credentials.then_some(b"true")),
            (EXPOSE_HEADERS, expose.filter(|_| origin.is_some())),
        ])
    }

    /// Sets these headers, and removes every other header of CORS that is `present`.
    pub fn apply<'h, H>(&self, present: &Headers<H>, has_cors: bool, mutate: &mut impl FnMut(HeaderMutation<'_>))
    where
        H: Iterator<Item = Line<'h>> + Clone,
    {
        if has_cors {
            for (name, _) in present.lines().filter(|(name, _)| is_cors(name)) {
                if !self.sets(name) {
                    mutate(HeaderMutation::Remove(name));
                }
            }
        }
        for (name, value) in self.0 {
            if let Some(value) = value {
                set(present, name, value, mutate);
            }
        }
    }

    fn sets(&self, name: &[u8]) -> bool {
        self.0.iter().any(|(own, value)| *own == name && value.is_some())
    }
}

/// Whether this is a header of CORS.
pub fn is_cors(name: &[u8]) -> bool {
    name.starts_with(b"access-control-")
}
