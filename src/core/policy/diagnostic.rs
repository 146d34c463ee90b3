//! Diagnostics of a policy as a whole: of its keys beside one another, and of what they refer to.

use std::borrow::Cow;

use crate::config::{DiagnosticKind, Message};

/// An error or a warning that no field has on its own.
pub enum PolicyDiagnostic {
    /// Two keys have the same `id`.
    DuplicateId {
        /// The index of the first in `keys`.
        first: usize,
    },
    /// Two keys have the same API key.
    DuplicateApiKey {
        /// The index of the first in `keys`.
        first: usize,
    },
    /// Two entries of a key have the same label.
    DuplicateLabel,
    /// Two keys have the same token secret, or the same public key.
    SharedTokenKey {
        /// The index of the first in `keys`.
        first: usize,
    },
    /// A token secret of one key is a public key of another.
    PublicTokenSecret {
        /// The index of the first in `keys`.
        first: usize,
    },
    /// A key sets a header that `upstream_header_names` does not list.
    UnlistedUpstreamHeader {
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A key sets a header twice, in different cases.
    DuplicateUpstreamHeader,
    /// A key refers to a scope that is not defined.
    UnknownScope {
        /// The scope that was probably meant.
        nearest: Option<String>,
    },
    /// The rules of a key's scopes need more memory than is reserved for them.
    TooManyRules,
    /// No request can match the rule: the key has `indexes`, and the rule's path has no `{index}`.
    RuleWithoutIndex {
        /// The rule.
        rule: String,
        /// The scope of the rule.
        scope: String,
    },
    /// There is neither a key nor `anonymous`.
    NothingAllowed,
    /// `Cross-Origin-Resource-Policy: same-origin`, while keys are used from other origins.
    ResourcePolicyBesideOrigins,
}

impl DiagnosticKind for PolicyDiagnostic {
    fn message(&self) -> Message {
        match self {
            Self::DuplicateId { first } => Message::error(
                format!("keys[{first}] has this id already"),
                "give each key an id of its own",
            ),
            Self::DuplicateApiKey { first } => Message::error(
                format!("keys[{first}] has this API key already"),
                "give each key an API key of its own",
            ),
            Self::DuplicateLabel => Message::error(
                "two entries of the key have this label",
                "give each entry a label of its own",
            ),
            Self::SharedTokenKey { first } => Message::warning(
                format!(
                    "keys[{first}] has one of these too: whoever makes tokens for one of the keys can make them for the other"
                ),
                "give each key secrets and public keys of its own",
            ),
            Self::PublicTokenSecret { first } => Message::error(
                format!(
                    "a token secret here or of keys[{first}] is a public key of the other: whoever knows that could make tokens"
                ),
                "make a secret of 32 random bytes",
            ),
            Self::UnlistedUpstreamHeader { nearest } => {
                let help = nearest.as_ref().map(|name| format!("did you mean {name:?}?").into());
                Message::error(
                    "upstream_header_names does not list this header, so a client's own would pass",
                    help.unwrap_or(Cow::Borrowed("list it under upstream_header_names")),
                )
            }
            Self::DuplicateUpstreamHeader => Message::error("the key sets this header already", "keep one of them"),
            Self::UnknownScope { nearest } => {
                let help = nearest.as_ref().map(|name| format!("did you mean {name:?}?").into());
                Message::error(
                    "no scope of this name is defined under scopes",
                    help.unwrap_or(Cow::Borrowed("define it under scopes")),
                )
            }
            Self::TooManyRules => Message::error(
                "the compiled rules of these scopes need too much memory",
                "replace * by literal segments where you can",
            ),
            Self::RuleWithoutIndex { rule, scope } => Message::warning(
                format!("the rule {rule} of {scope:?} names no {{index}}, so it fits no request of a key with indexes"),
                "write {index} into its path, or move the scope to another key without indexes",
            ),
            Self::NothingAllowed => Message::warning(
                "there is no key and no anonymous policy, so every request is refused",
                "list keys",
            ),
            Self::ResourcePolicyBesideOrigins => Message::warning(
                "browsers block <img>, <script> and other requests without CORS from pages of other origins, those in allowed_origins too",
                r#"set "Cross-Origin-Resource-Policy" to "cross-origin", or to "same-site" where all these pages are on the API's own site"#,
            ),
        }
    }
}
