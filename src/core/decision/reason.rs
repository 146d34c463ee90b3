//! Why a request is denied: the status, the code and the sentence of each reason.

/// The reason for which a request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "see the sentence of each variant in `detail`")]
pub enum Reason {
    PolicyUnavailable,
    MissingApiKey,
    AmbiguousApiKey,
    InvalidApiKey,
    InvalidScopedToken,
    ScopedTokenExpired,
    KeyDisabled,
    KeyNotYetValid,
    KeyExpired,
    SecretKeyInBrowser,
    IpNotAllowed,
    OriginNotAllowed,
    AmbiguousPath,
    ScopeNotAllowed,
    IndexNotAllowed,
    ClientRateLimitExceeded,
    RateLimitExceeded,
}

/// The HTTP statuses of errors.
enum Status {
    BadRequest,
    Unauthorized,
    Forbidden,
    TooManyRequests,
    Unavailable,
}

impl Reason {
    /// Every reason, in the order of the checks and of the variants.
    pub const ALL: [Reason; 17] = [
        Reason::PolicyUnavailable,
        Reason::MissingApiKey,
        Reason::AmbiguousApiKey,
        Reason::InvalidApiKey,
        Reason::InvalidScopedToken,
        Reason::ScopedTokenExpired,
        Reason::KeyDisabled,
        Reason::KeyNotYetValid,
        Reason::KeyExpired,
        Reason::SecretKeyInBrowser,
        Reason::IpNotAllowed,
        Reason::OriginNotAllowed,
        Reason::AmbiguousPath,
        Reason::ScopeNotAllowed,
        Reason::IndexNotAllowed,
        Reason::ClientRateLimitExceeded,
        Reason::RateLimitExceeded,
    ];

    fn kind(self) -> Status {
        match self {
            Self::PolicyUnavailable => Status::Unavailable,
            Self::MissingApiKey | Self::AmbiguousApiKey | Self::InvalidApiKey => Status::Unauthorized,
            Self::InvalidScopedToken | Self::ScopedTokenExpired => Status::Unauthorized,
            Self::KeyDisabled | Self::KeyNotYetValid | Self::KeyExpired => Status::Unauthorized,
            Self::SecretKeyInBrowser | Self::IpNotAllowed | Self::OriginNotAllowed => Status::Forbidden,
            Self::AmbiguousPath => Status::BadRequest,
            Self::ScopeNotAllowed | Self::IndexNotAllowed => Status::Forbidden,
            Self::ClientRateLimitExceeded | Self::RateLimitExceeded => Status::TooManyRequests,
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self.kind() {
            Status::BadRequest => 400,
            Status::Unauthorized => 401,
            Status::Forbidden => 403,
            Status::TooManyRequests => 429,
            Status::Unavailable => 503,
        }
    }

    /// The reason phrase of the status (RFC 9110, section 15; RFC 6585, section 4).
    pub fn title(self) -> &'static str {
        match self.kind() {
            Status::BadRequest => "Bad Request",
            Status::Unauthorized => "Unauthorized",
            Status::Forbidden => "Forbidden",
            Status::TooManyRequests => "Too Many Requests",
            Status::Unavailable => "Service Unavailable",
        }
    }

    /// The `grpc-status` that corresponds to the status (document "gRPC status codes").
    pub fn grpc_status(self) -> u8 {
        match self.kind() {
            Status::BadRequest => 3,      // INVALID_ARGUMENT
            Status::Unauthorized => 16,   // UNAUTHENTICATED
            Status::Forbidden => 7,       // PERMISSION_DENIED
            Status::TooManyRequests => 8, // RESOURCE_EXHAUSTED
            Status::Unavailable => 14,    // UNAVAILABLE
        }
    }

    /// The stable code, for programs, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::PolicyUnavailable => "policy_unavailable",
            Self::MissingApiKey => "missing_api_key",
            Self::AmbiguousApiKey => "ambiguous_api_key",
            Self::InvalidApiKey => "invalid_api_key",
            Self::InvalidScopedToken => "invalid_scoped_token",
            Self::ScopedTokenExpired => "scoped_token_expired",
            Self::KeyDisabled => "key_disabled",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyExpired => "key_expired",
            Self::SecretKeyInBrowser => "secret_key_in_browser",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::AmbiguousPath => "ambiguous_path",
            Self::ScopeNotAllowed => "scope_not_allowed",
            Self::IndexNotAllowed => "index_not_allowed",
            Self::ClientRateLimitExceeded => "client_rate_limit_exceeded",
            Self::RateLimitExceeded => "rate_limit_exceeded",
        }
    }

    /// One sentence that tells the developer what to change. `origin` is the value of the request's `Origin`. The sentence reveals nothing
    /// about the policy, and has no character that JSON must escape.
    pub fn detail(self, origin: Option<&[u8]>) -> &'static str {
        match self {
            Self::PolicyUnavailable => {
                "Try again later: the gateway cannot apply its key policy, and its log says why."
            }
            Self::MissingApiKey => "Send an API key in the way that the WWW-Authenticate header names.",
            Self::AmbiguousApiKey => "Send one API key, once: in a single header line or query parameter.",
            Self::InvalidApiKey => {
                "Check the API key: it is not known here, so it may be cut off, revoked or meant for another environment."
            }
            Self::InvalidScopedToken => {
                "Check the token, or get a new one from the backend that makes them: its signature, its kid or a claim is wrong, it is not valid yet, it was revoked, or it is for another service."
            }
            Self::ScopedTokenExpired => "Get a new token from the backend that makes them: this one has expired.",
            Self::KeyDisabled => "Ask the owner of this API key to enable it: it is switched off.",
            Self::KeyNotYetValid => "Wait, or ask the owner of this API key to change not_before: it is not valid yet.",
            Self::KeyExpired => "Ask the owner of this API key for a new one: it has expired.",
            Self::SecretKeyInBrowser => {
                "Use a publishable API key in the browser: this one is secret and for servers only, so have it replaced if a page has shown it; a server or proxy that uses it must not send Origin or Sec-Fetch-Site."
            }
            Self::IpNotAllowed => {
                "Call from a network that this API key is for, or ask its owner to add yours to allowed_ips."
            }
            Self::OriginNotAllowed if origin.is_none() => {
                "The request has no Origin header: set the attribute crossorigin on images, scripts and styles; for a page on this API's own site or a program, ask the owner of this API key to change its origin_check."
            }
            Self::OriginNotAllowed if origin == Some(b"null") => {
                "The origin of this request is null: call the final URL where another host redirects, take no-referrer out of the page's referrer policy, use a page that is in no sandboxed frame and no file, or ask the owner of this API key to add null to allowed_origins."
            }
            Self::OriginNotAllowed => {
                "Call from a web page that this API key is for, or ask its owner to add the scheme, host and port of yours to allowed_origins."
            }
            Self::AmbiguousPath => {
                "Send a path that has one reading: no empty or dot segments, backslashes or semicolons; what is outside ASCII percent-encoded as UTF-8 (not as %u); and no slash, dot, delimiter, white space behind dots or control character percent-encoded."
            }
            Self::ScopeNotAllowed => {
                "Use a method and path that this API key is for, or ask its owner to extend its scopes."
            }
            Self::IndexNotAllowed => "Use an index that this API key is for, or ask its owner to extend its indexes.",
            Self::ClientRateLimitExceeded => {
                "Wait as many seconds as the Retry-After header says: the limit that each client of this API key has is used up for you."
            }
            Self::RateLimitExceeded => {
                "Wait as many seconds as the Retry-After header says: the limit of this API key is used up."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters are found by this order.
    #[test]
    fn all_has_every_variant_in_its_order() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        assert_eq!(Reason::RateLimitExceeded as usize + 1, Reason::ALL.len());
    }
}
