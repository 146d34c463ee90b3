//! What the operator wrote: the plugin configuration, read and checked field by field.
//!
//! Everything here is parsed into types that can only hold what is right; what cannot be is a [`Diagnostic`] with place, value, reason
//! and help. All diagnostics of a configuration come together, whichever is first.

pub mod api_key;
pub mod browser_header;
pub mod config_path;
pub mod cors;
mod csp;
pub mod diagnostic;
mod document;
pub mod escapes;
pub mod index;
pub mod key;
pub mod key_source;
pub mod long_text;
pub mod measure;
pub mod network;
pub mod node;
pub mod origin;
mod punycode;
pub mod raw_key;
mod read;
mod regex;
#[cfg(feature = "schema")]
pub mod schema;
pub mod scope;
pub mod security_headers;
mod structured_field;
pub mod timestamp;
pub mod token;

pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics, Severity};
pub use document::{ClientIp, Config, IdentityHeader, read, read_keys, without_byte_order_mark};
pub use measure::Measure;
