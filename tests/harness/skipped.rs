//! What a test leaves out on a machine that lacks a program.

use std::env;
use std::fs::File;
use std::io::Write;

/// Prints what is left out and why, and adds the line to the file that `KEYFENCE_SKIPPED` names, which `.ci/run` prints in the
/// end: a test that passes shows no output.
pub fn skip(what: &str) {
    let line = format!("skipped: {what}\n");
    print!("{line}");
    if let Some(path) = env::var_os("KEYFENCE_SKIPPED") {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
