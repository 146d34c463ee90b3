//! The filter over any [`host::Host`]: it loads policies, and applies them to requests and responses.

#![forbid(unsafe_code)]

pub mod feed;
pub mod host;
mod limits;
mod metrics;
mod once;
pub mod pairs;
pub mod plugin;
pub mod plugin_configuration;
pub mod policy_cache;
mod secret;
pub mod stream;
