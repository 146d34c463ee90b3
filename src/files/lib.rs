//! Reads policies from files: a policy as JSON or YAML, or a configuration of Envoy or Kubernetes that contains policies. Each value keeps its
//! position in its source, so that a diagnostic can show line and column.

pub mod embedded;
pub mod escape;
pub mod located;
mod merge;
pub mod scalar;
pub mod source;
pub mod tree;

use std::fmt;

/// The message of a failure that is not an error of the policy, such as a file that cannot be read.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl fmt::Display) -> Failure {
        Failure(message.to_string())
    }
}
