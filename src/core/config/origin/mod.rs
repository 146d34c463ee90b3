//! `allowed_origins`: patterns that the `Origin` header of a request is compared with.
//!
//! Browsers serialize an `http:` or `https:` origin in one way only (HTML, "ASCII serialization of an origin"), so a pattern in any other
//! form could never match. It is refused, with the form that matches as the suggestion. Programs that use schemes of their own follow no
//! such rule (`app://.`, `file://`), so their origins are taken as they are written.

mod error;
mod parse;
mod pattern;
mod punycode;
mod read;
mod regex;

pub use error::{OriginError, OriginErrorKind};
pub use parse::split_written_port;
pub use pattern::{
    HostPattern, LabelPattern, MAX_ORIGIN, OriginPattern, PortPattern, TuplePattern, has_label_wildcard, is_label_byte,
};
