//! What the filter does with a request and its response, over any [`host::Host`].

#![forbid(unsafe_code)]

pub mod host;
mod limits;
mod metrics;
mod once;
pub mod pairs;
pub mod plugin;
pub mod plugin_configuration;
mod policy_cache;
pub mod stream;
