//! One request in, one decision out. Nothing here knows the host: what only it can tell comes through [`RequestContext`].
//!
//! A preflight is decided by its origin alone, see [`preflight`]. Any other request goes through the [checks](Check), in their order.

pub mod address;
pub mod client;
pub mod client_table;
pub mod context;
pub mod cors;
mod counts;
pub mod credential;
mod evaluation;
pub mod grpc;
pub mod header_list;
pub mod headers;
pub mod jwt;
pub mod local_reply;
mod mutation;
mod narrowing;
mod outcome;
pub mod path;
pub mod preflight;
mod problem;
pub mod rate;
pub mod rate_status;
pub mod reason;
pub mod redaction;
pub mod request;
pub mod response;
pub mod scoped_token;
pub mod token_cache;
pub mod token_error;
mod token_times;
pub mod upstream;
mod vary;

pub use context::{Refusal, RequestContext, Unavailable};
pub use cors::AllowOrigin;
pub use evaluation::{decide, decide_with_trace};
pub use mutation::HeaderMutation;
pub use outcome::{Check, Decision, Effect, LocalReplyKind, Matched, Outcome};
