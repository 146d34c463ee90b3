//! The configuration: what the operator wrote, read and checked field by field.
//!
//! Each field is parsed into a type that can hold valid values only. A value that cannot be parsed becomes a [`Diagnostic`] with its path,
//! the value, the reason and a help. All diagnostics of a configuration are reported together.

pub mod api_key;
pub mod browser_header;
mod byte_order_mark;
pub mod config_path;
pub mod cors;
mod csp;
pub mod diagnostic;
mod document;
pub mod escapes;
pub mod index;
#[cfg(feature = "schema")]
mod json_schema;
pub mod key;
pub mod key_context;
pub mod key_source;
pub mod keys_from;
pub mod long_text;
pub mod measure;
pub mod memory_limit;
pub mod nearest;
pub mod network;
pub mod node;
pub mod origin;
pub mod raw_key;
pub mod read;
pub mod restrictions;
#[cfg(feature = "schema")]
pub mod schema;
pub mod scope;
pub mod scoped_tokens;
pub mod security_headers;
mod structured_field;
pub mod timestamp;
pub mod token;
mod top_level;
pub mod upstream_headers;
mod validity;

pub use byte_order_mark::without_byte_order_mark;
pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics, Message, Severity, Subject};
pub use document::{SyntaxError, read, read_keys};
pub use measure::Measure;
pub use read::StructureError;
pub use top_level::{ClientIp, Config};
