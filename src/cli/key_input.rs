//! Reads keys, tokens and other secrets that must not be in a shell's history.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::str;

use super::Failure;
#[cfg(unix)]
use super::terminal::read_hidden_line;

/// The most that is read, in bytes.
pub const LIMIT: usize = 1 << 20;

/// Reads standard input: at a terminal one line, which is not shown, otherwise everything.
pub fn read_stdin(prompt: &str) -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return read_line(&stdin, prompt).map_err(|error| Failure(format!("standard input: {error}")));
    }
    read(stdin.lock(), "standard input")
}

/// Reads the key in a file, or in standard input if `path` is `-`.
pub fn read_key(path: &Path) -> Result<String, Failure> {
    let (name, bytes) = if path == Path::new("-") {
        ("standard input".into(), read_stdin("API key")?)
    } else {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure(format!("{name}: {error}")))?;
        let bytes = read(file, &name)?;
        (name, bytes)
    };
    let text = str::from_utf8(without_line_break(&bytes));
    let text = text.map_err(|_| Failure(format!("{name}: the API key is not UTF-8; give it as text")))?;
    Ok(text.to_owned())
}

/// One line break at the end is not part of a key.
pub fn without_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn read(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let beyond = LIMIT as u64 + 1;
    source
        .take(beyond)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure(format!("{name}: {error}")))?;
    if bytes.len() > LIMIT {
        return Err(Failure(format!("{name}: it has more than {LIMIT} bytes")));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn read_line(terminal: &io::Stdin, prompt: &str) -> io::Result<Vec<u8>> {
    use std::os::fd::AsFd;
    read_hidden_line(terminal.as_fd(), prompt, LIMIT)
}

/// A key that is shown is worse than one that is not read.
#[cfg(not(unix))]
fn read_line(_: &io::Stdin, _: &str) -> io::Result<Vec<u8>> {
    Err(io::Error::other(
        "a key cannot be typed without being shown on this system; give it through a pipe or a file",
    ))
}
