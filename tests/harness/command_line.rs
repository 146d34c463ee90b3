//! The built command line.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::gateway::repository;

/// Runs `keyfence` at the top of the repository.
pub fn keyfence(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfence"));
    output_of(command.args(arguments).current_dir(repository()), stdin)
}

/// Runs a program with this on its standard input.
pub fn output_of(command: &mut Command, stdin: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it printed; it must have exited with 0.
pub fn printed(arguments: &[&str], stdin: &str) -> String {
    let output = keyfence(arguments, stdin);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
