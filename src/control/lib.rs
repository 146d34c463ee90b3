//! The server's side of the feed: keeps a state of keys, and gives it, and what changes in it, to every gateway that asks.
//!
//! [`state`] is the keys with the revision of their last change. [`feed`] answers the polls of gateways from it, and [`server`] speaks HTTP.
//! [`files`] fills the state from files and watches them.

pub mod fed_key;
pub mod feed;
pub mod files;
pub mod gateways;
pub mod log;
mod metrics;
mod reply;
pub mod server;
pub mod state;
pub mod tls;
pub mod token;
