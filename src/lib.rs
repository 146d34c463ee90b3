//! keyfence: an Envoy filter that lets an API key be used only from where it may be used.
//!
//! One way through: [`config`] is what the operator wrote, `policy` its compiled and immutable form, `decision` answers one request
//! from it, and `filter` alone knows the host.

pub mod config;
