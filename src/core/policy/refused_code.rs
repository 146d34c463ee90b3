//! Why a key of the feed is refused.

use super::scope_sets::ScopeSetError;

/// Why a key of the feed is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedCode {
    /// It has a field that this version does not know, which may be a restriction.
    UnknownField,
    /// Anything else is wrong with it.
    InvalidKey,
    /// One of the policy's own keys has its id.
    DuplicateId,
    /// Another key has one of its API keys.
    DuplicateApiKey,
    /// The policy has no scope of a name that it names.
    UnknownScope,
    /// The rules of its scopes take too much memory.
    TooManyRules,
    /// It sets a header that `upstream_header_names` does not list.
    UnlistedUpstreamHeader,
    /// A token secret of one key is a public key of another.
    PublicTokenSecret,
}

impl RefusedCode {
    /// What is wrong, as a clause.
    pub fn reason(self) -> &'static str {
        match self {
            RefusedCode::UnknownField => "it has a field that this version does not know",
            RefusedCode::InvalidKey => "it is wrong",
            RefusedCode::DuplicateId => "one of the policy's own keys has this id",
            RefusedCode::DuplicateApiKey => "another key has one of its API keys",
            RefusedCode::UnknownScope => "the policy does not define a scope that it names",
            RefusedCode::TooManyRules => "the compiled rules of its scopes need too much memory",
            RefusedCode::UnlistedUpstreamHeader => "it sets a header that upstream_header_names does not list",
            RefusedCode::PublicTokenSecret => "a token secret of it or of another key is a public key of the other",
        }
    }

    /// As polls have it.
    pub fn code(self) -> &'static str {
        match self {
            RefusedCode::UnknownField => "unknown_field",
            RefusedCode::InvalidKey => "invalid_key",
            RefusedCode::DuplicateId => "duplicate_id",
            RefusedCode::DuplicateApiKey => "duplicate_api_key",
            RefusedCode::UnknownScope => "unknown_scope",
            RefusedCode::TooManyRules => "too_many_rules",
            RefusedCode::UnlistedUpstreamHeader => "unlisted_upstream_header",
            RefusedCode::PublicTokenSecret => "public_token_secret",
        }
    }
}

impl From<ScopeSetError> for RefusedCode {
    fn from(error: ScopeSetError) -> Self {
        match error {
            ScopeSetError::Unknown => RefusedCode::UnknownScope,
            ScopeSetError::TooManyRules => RefusedCode::TooManyRules,
        }
    }
}
