//! The specification read a second time: linear and obvious, from the policy's JSON at every request, and with no code of the filter's.
//! Where the specification leaves something open, a comment names what was taken.

pub mod addresses;
pub mod credentials;
pub mod decision;
pub mod feed;
pub mod json;
pub mod origins;
pub mod paths;
pub mod responses;
pub mod tokens;
pub mod upstreams;
pub mod window;
