//! What is wrong with a configuration: each diagnostic has its place, the value, the reason and the help, and all are reported together.

use std::borrow::Cow;
use std::fmt;

use super::api_key::ApiKeyError;
use super::browser_header::ValueError;
use super::config_path::ConfigPath;
use super::long_text;
use super::network::{NetworkError, Suggestion};
use super::origin::{OriginError, OriginErrorKind};
use super::raw_key::Mistake;

/// What a policy may take of a VM's memory, its text included. A VM of Envoy's has 1,023 MiB: beside a policy there is space for the one
/// that takes its place.
const MAX_BYTES: usize = 384 << 20;

/// Whether the filter refuses the configuration for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used; somebody should know.
    Warning,
}

/// One thing that is wrong, in a form that programs can compare.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant's words stand in `reason` and `help`")]
pub enum DiagnosticKind {
    Syntax {
        line: usize,
        column: usize,
        message: String,
    },
    UnknownField {
        nearest: Option<&'static str>,
    },
    DuplicateField,
    MissingField {
        name: &'static str,
    },
    WrongType {
        expected: &'static str,
        found: &'static str,
    },
    UnknownChoice {
        choices: &'static [&'static str],
        nearest: Option<&'static str>,
    },
    IllFormedId,
    ControlCharacter,
    DuplicateId {
        first: usize,
    },
    ApiKey(ApiKeyError),
    DuplicateApiKey {
        first: usize,
    },
    NoKeySources,
    KeySourceForm,
    DuplicateKeySource,
    BadParameterName,
    BadLimit,
    BadMaxAge,
    BadTimestamp,
    ExpiresBeforeItBegins,
    SecretWithOrigins,
    Origin(OriginError),
    Network(NetworkError),
    UnknownScope {
        nearest: Option<String>,
    },
    TooManyRules,
    BadIndexEntry,
    NoMethods,
    RulePath(&'static str),
    NotAToken,
    MethodCase,
    ForbiddenMethod,
    WildcardWithCredentials,
    BadHeaderValue,
    OwnedHeader,
    SetAndRemoved,
    SetTwice,
    BadDirective,
    BadDirectiveSource,
    UnquotedKeyword,
    NoneBesideOthers,
    DuplicateDirective,
    BadDocsUrl,
    TooLarge {
        bytes: usize,
    },
    LongText,

    AnyOrigin,
    NullOrigin,
    FileOrigin,
    WebSocketOrigin,
    AnyHostOrigin,
    OriginWithTail,
    PlainHttpOrigin,
    EveryAddress,
    RawApiKey,
    ShortApiKey {
        bytes: usize,
    },
    BareDigest,
    EncodedInQuery,
    NoOrigins,
    LoopbackBesidePublic,
    QueryKeySource {
        forwarded: bool,
    },
    CookieKeySource,
    BasicKeySource,
    ExpiredKey,
    ExpiresSoon,
    IndexesWithoutScopes,
    RuleWithoutIndex {
        rule: String,
        scope: String,
    },
    NothingAllowed,
    UnknownDirective {
        nearest: Option<&'static str>,
    },
    IgnoredValue(ValueError),
    MisspeltHeader {
        meant: &'static str,
    },
    ResourcePolicyBesideOrigins,
    PublicSuffixWildcard {
        suffix: String,
    },
    PublicSuffixLabel {
        suffix: String,
    },
}

impl DiagnosticKind {
    /// A policy that takes so many bytes of memory, where that is more than any may.
    pub fn too_large(bytes: usize) -> Option<DiagnosticKind> {
        (bytes > MAX_BYTES).then_some(DiagnosticKind::TooLarge { bytes })
    }

    /// Whether the configuration is refused for it.
    pub fn severity(&self) -> Severity {
        match self {
            Self::AnyOrigin
            | Self::NullOrigin
            | Self::FileOrigin
            | Self::WebSocketOrigin
            | Self::AnyHostOrigin
            | Self::OriginWithTail
            | Self::PlainHttpOrigin
            | Self::EveryAddress
            | Self::RawApiKey
            | Self::ShortApiKey { .. }
            | Self::BareDigest
            | Self::EncodedInQuery
            | Self::NoOrigins
            | Self::LoopbackBesidePublic
            | Self::QueryKeySource { .. }
            | Self::CookieKeySource
            | Self::BasicKeySource
            | Self::ExpiredKey
            | Self::ExpiresSoon
            | Self::IndexesWithoutScopes
            | Self::RuleWithoutIndex { .. }
            | Self::NothingAllowed
            | Self::UnknownDirective { .. }
            | Self::IgnoredValue(_)
            | Self::MisspeltHeader { .. }
            | Self::ResourcePolicyBesideOrigins
            | Self::PublicSuffixWildcard { .. }
            | Self::PublicSuffixLabel { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// Why it is wrong, as a clause without a full stop.
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Syntax { message, .. } => format!("this is not JSON: {message}").into(),
            Self::UnknownField { .. } => "unknown field".into(),
            Self::DuplicateField => "duplicate field".into(),
            Self::MissingField { name } => format!("{name} is missing").into(),
            Self::WrongType { expected, found } => format!("expected {expected}, found {found}").into(),
            Self::UnknownChoice { choices, .. } => format!("must be one of {}", choices.join(", ")).into(),
            Self::IllFormedId => "an id must be 1 to 64 characters of A-Z a-z 0-9 . _ -".into(),
            Self::ControlCharacter => "a name must not contain control characters or line breaks".into(),
            Self::DuplicateId { first } => format!("keys[{first}] has this id already").into(),
            Self::ApiKey(ApiKeyError::Empty) => "an API key must not be empty".into(),
            Self::ApiKey(ApiKeyError::BadSha256) => "sha256: must be followed by 64 hex digits".into(),
            Self::ApiKey(ApiKeyError::NotSendable) => {
                "no request can carry it: over 512 bytes, a comma, control characters, or white space at an end".into()
            }
            Self::ApiKey(ApiKeyError::Mistake(mistake)) => match mistake {
                Mistake::Placeholder => "this is a placeholder that nothing has filled in, and its text would be the key".into(),
                Mistake::Quoted => "the quotes would be part of the key".into(),
                Mistake::OtherHash => "only sha256: marks a hash; the text of any other would itself be the key".into(),
            },
            Self::ApiKey(ApiKeyError::Scheme) => {
                "the scheme of a key source stands before the key; requests would have to send it twice".into()
            }
            Self::DuplicateApiKey { first } => format!("keys[{first}] has this API key already").into(),
            Self::NoKeySources => "without a source no request can carry a key".into(),
            Self::KeySourceForm => {
                "a source is either a header, with or without a scheme, or a query parameter, or a WebSocket protocol"
                    .into()
            }
            Self::DuplicateKeySource => "this source is listed already, and a key presented twice is refused".into(),
            Self::BadParameterName => "a query parameter must have a name".into(),
            Self::BadLimit => "a limit must be a whole number from 1 to 4294967295".into(),
            Self::BadMaxAge => "max_age must be a whole number of seconds from 0 to 86400".into(),
            Self::BadTimestamp => "must be a date and time as in RFC 3339".into(),
            Self::ExpiresBeforeItBegins => "expires_at is not after not_before, so the key is never valid".into(),
            Self::SecretWithOrigins => "a secret key is never used from a browser, so it has no origins".into(),
            Self::Origin(error) => error.fault.reason().into(),
            Self::Network(error) => error.fault.reason().into(),
            Self::UnknownScope { .. } => "no scope of this name is defined under scopes".into(),
            Self::TooManyRules => "compiled together, the rules of these scopes need too much memory".into(),
            Self::BadIndexEntry => {
                "it matches no index: an entry is a name without / and %, or a prefix with one * at its end".into()
            }
            Self::NoMethods => "a rule without methods fits no request".into(),
            Self::RulePath(reason) => (*reason).into(),
            Self::NotAToken => "it is not a token of RFC 9110".into(),
            Self::MethodCase => "methods are case-sensitive".into(),
            Self::ForbiddenMethod => "browsers never send CONNECT, TRACE and TRACK (Fetch: forbidden methods)".into(),
            Self::WildcardWithCredentials => "with credentials browsers take * literally, not as every name".into(),
            Self::BadHeaderValue => {
                "a header value must not contain line breaks, control characters, letters outside ASCII or white space at an end"
                    .into()
            }
            Self::OwnedHeader => "keyfence or Envoy writes this header itself".into(),
            Self::SetAndRemoved => "the header is both set and removed".into(),
            Self::SetTwice => "the header is set here already".into(),
            Self::BadDirective => "a CSP directive is named in letters and -".into(),
            Self::BadDirectiveSource => "a CSP source has no white space, ; or , and is printable ASCII".into(),
            Self::UnquotedKeyword => "unquoted, a CSP keyword is read as a host name".into(),
            Self::NoneBesideOthers => "browsers ignore 'none' where another source stands beside it".into(),
            Self::DuplicateDirective => "the directive is listed twice, and browsers read only the first".into(),
            Self::BadDocsUrl => "must be an absolute http or https URL without a fragment".into(),
            Self::LongText => format!("a string has more than {} bytes", long_text::MAX).into(),
            Self::TooLarge { bytes } => format!(
                "it takes {} MiB of memory on each worker, and a policy may take {} MiB",
                bytes.div_ceil(1 << 20),
                MAX_BYTES >> 20
            )
            .into(),
            Self::AnyOrigin => "every web page can use the key".into(),
            Self::NullOrigin => "any page can have the origin null, from a sandboxed frame".into(),
            Self::FileOrigin => "every file that a WebView opens has this origin, whoever wrote it".into(),
            Self::AnyHostOrigin => "every extension or app with this scheme can use the key, whoever made it".into(),
            Self::OriginWithTail => "browsers send nothing behind host and port, and the comparison is exact".into(),
            Self::PlainHttpOrigin => "whoever sits on the network can change a page that came over http:".into(),
            Self::EveryAddress => "every address is in this network".into(),
            Self::RawApiKey => "whoever reads this configuration, or Envoy's config_dump, can use the key".into(),
            Self::ShortApiKey { bytes } => format!("{bytes} bytes can be guessed").into(),
            Self::WebSocketOrigin => "a page's WebSocket has the origin of the page, which is http: or https:".into(),
            Self::NoOrigins => {
                "requests of every page are let through with a publishable key without origins, even if the page cannot read the answer"
                    .into()
            }
            Self::BareDigest => "64 hex digits may be a digest without its sha256:, and would then be the key themselves".into(),
            Self::EncodedInQuery => {
                "a URL's query has another meaning for +, %, &, # and spaces, so this key must be encoded there".into()
            }
            Self::LoopbackBesidePublic => {
                "pages on anybody's own machine can use the key of the public site, and its limits".into()
            }
            Self::QueryKeySource { forwarded: true } => {
                "URLs with the key in them end up in logs, histories and Referer headers, and as forward_api_key is true \
                 also in trace spans, mirrored requests, x-envoy-original-path and the Location of redirects"
                    .into()
            }
            Self::QueryKeySource { forwarded: false } => {
                "URLs with the key in them end up in logs, histories and Referer headers, and Envoy's own redirects lose the key".into()
            }
            Self::CookieKeySource => {
                "the value of Cookie is all cookies together, so any other cookie makes the key unknown, and browsers send it from every page"
                    .into()
            }
            Self::BasicKeySource => "what follows Basic is the base64 of a name and a password, and would be the key as a whole".into(),
            Self::ExpiresSoon => "the key expires within two weeks".into(),
            Self::ExpiredKey => "the key has expired, so every request with it is refused".into(),
            Self::IndexesWithoutScopes => {
                "only a scope's rule says where in the path the index is, so every request is refused".into()
            }
            Self::NothingAllowed => "there is no key and no anonymous policy, so every request is refused".into(),
            Self::RuleWithoutIndex { rule, scope } => {
                format!("the rule {rule} of {scope} names no {{index}}, so it fits no request of a key with indexes").into()
            }
            Self::IgnoredValue(fault) => fault.reason().into(),
            Self::MisspeltHeader { .. } => "browsers know no header of this name".into(),
            Self::ResourcePolicyBesideOrigins => {
                "browsers keep <img>, <script> and other requests without CORS from pages of other origins, those in allowed_origins too".into()
            }
            Self::UnknownDirective { .. } => "browsers ignore a CSP directive that they do not know".into(),
            Self::PublicSuffixWildcard { suffix } => format!("anybody can register a name under {suffix}").into(),
            Self::PublicSuffixLabel { suffix } => {
                format!("anybody can register a name under {suffix} that fits the pattern").into()
            }
        }
    }

    /// What to write instead, as a clause without a full stop.
    pub fn help(&self) -> Cow<'static, str> {
        let instead = |text: &Option<String>, otherwise: &'static str| -> Cow<'static, str> {
            match text {
                Some(text) => format!("write {text:?}").into(),
                None => otherwise.into(),
            }
        };
        match self {
            Self::Syntax { line, column, .. } => format!("look at line {line}, column {column}").into(),
            Self::UnknownField { nearest: Some(name) } => format!("did you mean {name}?").into(),
            Self::UnknownField { nearest: None } => "take it out".into(),
            Self::DuplicateField => "keep one of them".into(),
            Self::MissingField { name } => format!("add {name}").into(),
            Self::WrongType { found: "null", .. } => "give it a value, or leave the field out".into(),
            Self::WrongType { found: "a boolean", expected: "a string" } => {
                "put it in quotes: YAML reads on, off, yes, no, true and false as booleans".into()
            }
            Self::WrongType { found: "a number", expected: "a string" } => "put it in quotes".into(),
            Self::WrongType { expected, .. } => format!("write {expected}").into(),
            Self::UnknownChoice { nearest: Some(name), .. } => format!("did you mean {name:?}?").into(),
            Self::UnknownChoice { nearest: None, .. } => "write one of these".into(),
            Self::IllFormedId => "use only these characters".into(),
            Self::ControlCharacter => "write it on one line, without them".into(),
            Self::DuplicateId { .. } => "give each key an id of its own".into(),
            Self::ApiKey(ApiKeyError::Mistake(Mistake::Placeholder)) => {
                "fill it in before the policy is loaded, or write the key's sha256: form".into()
            }
            Self::ApiKey(ApiKeyError::Mistake(Mistake::Quoted)) => "write the key without them".into(),
            Self::ApiKey(ApiKeyError::Mistake(Mistake::OtherHash)) => {
                "write the SHA-256 of the raw key as sha256: and 64 hex digits, as keyfence hash prints it".into()
            }
            Self::ApiKey(ApiKeyError::Scheme) => "write the key alone, without the scheme and the space".into(),
            Self::ApiKey(_) => "write the key's sha256: form, as keyfence hash prints it".into(),
            Self::DuplicateApiKey { .. } => "give each key an API key of its own".into(),
            Self::NoKeySources => "list a source, or leave the field out for Authorization: Bearer".into(),
            Self::KeySourceForm => r#"write {"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"} or {"websocket_protocol": "api-key."}"#.into(),
            Self::DuplicateKeySource => "keep one of them".into(),
            Self::BadParameterName => r#"write it as in {"query": "api_key"}"#.into(),
            Self::BadLimit => "write a whole number, or leave the field out for no limit".into(),
            Self::BadMaxAge => "write a number of seconds in that range; browsers keep a preflight no longer than a day".into(),
            Self::BadTimestamp => r#"write it as "2027-01-01T00:00:00Z""#.into(),
            Self::ExpiresBeforeItBegins => "set expires_at to a later time".into(),
            Self::SecretWithOrigins => r#"make it "publishable", or take allowed_origins out"#.into(),
            Self::Origin(OriginError { fault: OriginErrorKind::NotSendable, .. }) => "write it as the program sends it, one in each entry".into(),
            Self::Origin(error) => instead(&error.suggestion, "write it as in \"https://yourapp.com\", \"https://*.yourapp.com\" or \"http://localhost:*\""),
            Self::Network(error) => match &error.suggestion {
                Suggestion::None => "write it as in \"192.168.1.0/24\" or \"2001:db8::/32\"".into(),
                suggestion => suggestion.to_string().into(),
            },
            Self::UnknownScope { nearest } => match nearest {
                Some(name) => format!("did you mean {name:?}?").into(),
                None => "define it under scopes".into(),
            },
            Self::TooManyRules => "write literal segments in place of * where you can".into(),
            Self::BadIndexEntry => r#"write it as in "products" or "articles-*""#.into(),
            Self::NoMethods => r#"list methods, or ["*"] for any"#.into(),
            Self::RulePath(_) => r#"write it as in "/v1/indexes/{index}/search", "/v1/*/stats" or "/v1/**""#.into(),
            Self::NotAToken => "use letters, digits and ! # $ % & ' * + - . ^ _ ` | ~ only".into(),
            Self::MethodCase => "write it in upper case".into(),
            Self::ForbiddenMethod => "take it out".into(),
            Self::WildcardWithCredentials => "list the names, or set allow_credentials to false".into(),
            Self::BadHeaderValue => "write the value on one line, in printable ASCII".into(),
            Self::OwnedHeader => "take it out; CORS is configured under cors".into(),
            Self::SetAndRemoved => "take it out of one of them".into(),
            Self::SetTwice => "keep one of them".into(),
            Self::BadDirective => "write it as in \"script-src\"".into(),
            Self::BadDirectiveSource => "give each source an entry of its own".into(),
            Self::UnquotedKeyword => "put it in single quotes, as in \"'self'\"".into(),
            Self::NoneBesideOthers => "take it out, or the others".into(),
            Self::DuplicateDirective => "keep one of them".into(),
            Self::BadDocsUrl => r#"write it as in "https://docs.example.com/errors""#.into(),
            Self::LongText => "take it out, or cut it down".into(),
            Self::TooLarge { .. } => "take keys out, or give gateways policies of their own".into(),
            Self::AnyOrigin => "list the origins of your sites".into(),
            Self::NullOrigin => "give the page an origin of its own".into(),
            Self::WebSocketOrigin => "write the page's origin".into(),
            Self::FileOrigin => "give the page an origin of its own, as with Android's WebViewAssetLoader".into(),
            Self::AnyHostOrigin => "list the hosts where they are known".into(),
            Self::OriginWithTail => "leave it out, unless the program sends it".into(),
            Self::PlainHttpOrigin => "serve the site over https:".into(),
            Self::EveryAddress => "list the networks, or take allowed_ips out".into(),
            Self::RawApiKey => "write its sha256: form, as keyfence hash prints it".into(),
            Self::ShortApiKey { .. } => "make a new key with keyfence keygen".into(),
            Self::NoOrigins => r#"list allowed_origins, or make the key "secret""#.into(),
            Self::BareDigest => {
                "write sha256: before a digest; in place of a key write its sha256: form, as keyfence hash prints it".into()
            }
            Self::EncodedInQuery => "have clients encode it, + as %2B, or make a new key with keyfence keygen".into(),
            Self::LoopbackBesidePublic => "keep development in a key of its own".into(),
            Self::QueryKeySource { forwarded: true } => {
                "carry the key in a header where the client can, or set forward_api_key to false".into()
            }
            Self::QueryKeySource { forwarded: false } => "carry the key in a header where the client can".into(),
            Self::CookieKeySource => r#"carry the key in a header of its own, as in {"header": "X-API-Key"}"#.into(),
            Self::BasicKeySource => r#"write {"header": "Authorization", "scheme": "Bearer"} or {"header": "X-API-Key"}"#.into(),
            Self::ExpiresSoon => "make the next key now, or set a later expires_at".into(),
            Self::ExpiredKey => "take the key out, or set a later expires_at".into(),
            Self::IndexesWithoutScopes => "give the key scopes whose rules have {index}".into(),
            Self::NothingAllowed => "list keys".into(),
            Self::RuleWithoutIndex { .. } => {
                "write {index} into its path, or give the key scopes without it and another key without indexes".into()
            }
            Self::IgnoredValue(fault) => fault.help().into(),
            Self::MisspeltHeader { meant } => format!("did you mean {meant}?").into(),
            Self::ResourcePolicyBesideOrigins => {
                r#"set "Cross-Origin-Resource-Policy" to "cross-origin", or to "same-site" where all these pages are on the API's own site"#.into()
            }
            Self::UnknownDirective { nearest: Some(name) } => format!("did you mean {name}?").into(),
            Self::UnknownDirective { nearest: None } => "look its name up".into(),
            Self::PublicSuffixWildcard { .. } => "list the hosts that are yours".into(),
            Self::PublicSuffixLabel { .. } => {
                "list the hosts that are yours, or give previews a domain of yours and a key that may do little".into()
            }
        }
    }
}

/// One problem at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// As in `keys[3].allowed_origins[1]`; empty for the configuration as a whole.
    pub path: String,
    /// The value as JSON, shortened; never an API key. Empty where the problem is that there is none.
    pub value: String,
    /// What is wrong with it.
    pub kind: DiagnosticKind,
}

/// `keys[3].allowed_origins[1]: "https://yourapp.com/": an origin must not end in a slash; write "https://yourapp.com"`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        };
        write!(f, "{place}: ")?;
        if !self.value.is_empty() {
            write!(f, "{}: ", self.value)?;
        }
        write!(f, "{}; {}", self.kind.reason(), self.kind.help())
    }
}

/// All diagnostics of one configuration. However many there are, no more than [`Diagnostics::KEPT`] of each severity are kept.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Diagnostics {
    errors: Kept,
    warnings: Kept,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Kept {
    first: Vec<Diagnostic>,
    count: usize,
}

impl Diagnostics {
    /// How many errors and how many warnings are kept; the rest is counted.
    pub const KEPT: usize = 100;

    /// The one diagnostic of a policy that takes so many bytes of memory, where that is more than any may.
    pub fn of_size(bytes: usize) -> Option<Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        diagnostics.add_bare(&ConfigPath::ROOT, DiagnosticKind::too_large(bytes)?);
        Some(diagnostics)
    }

    /// The one diagnostic of a JSON text with a string that is longer than any of a policy.
    pub fn of_long_text(text: &[u8]) -> Option<Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        diagnostics.add_bare(
            &ConfigPath::ROOT,
            long_text::is_in(text).then_some(DiagnosticKind::LongText)?,
        );
        Some(diagnostics)
    }

    /// The longest value shown, in bytes.
    const VALUE_SHOWN: usize = 80;

    /// Notes `problem` with `value` at `place`.
    pub fn add(&mut self, place: &ConfigPath<'_>, value: &dyn fmt::Display, problem: DiagnosticKind) {
        let kept = match problem.severity() {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        kept.count += 1;
        if kept.first.len() < Self::KEPT {
            kept.first.push(Diagnostic {
                path: place.to_string(),
                value: shortened(value.to_string()),
                kind: problem,
            });
        }
    }

    /// Notes a problem that no value shows.
    pub fn add_bare(&mut self, place: &ConfigPath<'_>, problem: DiagnosticKind) {
        self.add(place, &"", problem);
    }

    /// The first errors, in the order of the configuration.
    pub fn errors(&self) -> &[Diagnostic] {
        &self.errors.first
    }

    /// The first warnings, in the order of the configuration.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings.first
    }

    /// How many errors there are in all.
    pub fn error_count(&self) -> usize {
        self.errors.count
    }

    /// How many warnings there are in all.
    pub fn warning_count(&self) -> usize {
        self.warnings.count
    }

    /// Every kept diagnostic as a line, errors first, and a line that counts what was not kept: the same text in the filter's log and
    /// on the command line.
    pub fn lines(&self) -> impl Iterator<Item = (Severity, String)> + '_ {
        [(Severity::Error, &self.errors), (Severity::Warning, &self.warnings)]
            .into_iter()
            .flat_map(|(severity, kept)| {
                let name = match severity {
                    Severity::Error => "errors",
                    Severity::Warning => "warnings",
                };
                let left = kept.count - kept.first.len();
                let rest = (left > 0).then(|| format!("and {left} more {name}"));
                kept.first
                    .iter()
                    .map(Diagnostic::to_string)
                    .chain(rest)
                    .map(move |line| (severity, line))
            })
    }
}

fn shortened(mut value: String) -> String {
    if value.len() > Diagnostics::VALUE_SHOWN {
        value.truncate(value.floor_char_boundary(Diagnostics::VALUE_SHOWN));
        value.push('…');
    }
    value
}

/// The name most like `name`, where one is near enough to have been meant.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Longer than any name that could be meant. The distance takes the product of both lengths.
    const LONGEST: usize = 128;
    let folded = name.to_ascii_lowercase();
    known
        .into_iter()
        .filter(|_| name.len() <= LONGEST)
        .map(|candidate| {
            (
                strsim::osa_distance(&folded, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|&(distance, candidate)| {
            let is_begun = folded.len() >= 4 && candidate.starts_with(&folded);
            is_begun || distance <= 1 + candidate.len() / 4
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}
