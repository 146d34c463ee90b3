//! From where, for what and how often an API key may be used.
//!
//! One way through: [`config`] is what the operator wrote, [`policy`] its compiled and immutable form, and [`decision`] answers one
//! request from it. Nothing here does I/O or knows a host.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::string_slice))]

pub mod config;
pub mod decision;
pub mod policy;
