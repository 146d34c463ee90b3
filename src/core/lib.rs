//! From where, for what and how often an API key may be used.
//!
//! One way through: [`config`] is what the operator wrote, [`policy`] its compiled form, and [`decision`] answers one request from it.
//! [`feed`] keeps the keys that a policy takes from a server. Nothing here does I/O or knows a host.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::string_slice))]

pub mod config;
pub mod decision;
pub mod feed;
pub mod policy;
