//! The log: lines on standard error.

use std::io::{self, Write};

use keyfence_files::escape;

/// Writes one line. What a program or a person could misread in it is escaped.
pub fn line(text: &str) {
    // Nobody is left to be told if the log cannot be written.
    let _ = writeln!(io::stderr().lock(), "keyfence-control: {}", escape::line(text));
}
