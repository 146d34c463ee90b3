//! keyfence: an Envoy filter that lets an API key be used only from where it may be used.
//!
//! One way through: [`config`] is what the operator wrote, [`policy`] its compiled and immutable form, [`decision`] answers one request
//! from it, and [`filter`] alone knows the host.

#![cfg_attr(test, allow(clippy::string_slice))]

pub mod config;
pub mod decision;
pub mod filter;
pub mod policy;
