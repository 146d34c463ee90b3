//! Reads a line at a terminal without showing it.
//!
//! The terminal hands over each byte as it is typed (POSIX, non-canonical mode without `ISIG`). So Ctrl-C cannot end the process before
//! the terminal is as it was, and a pasted line may be longer than the 4,095 bytes that Linux keeps of a line in canonical mode.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// The modes of a terminal, which it gets back when this is dropped.
struct Hidden<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Hidden<'t> {
    fn begin(terminal: BorrowedFd<'t>, prompt: &str) -> io::Result<Hidden<'t>> {
        let before = tcgetattr(terminal)?;
        let mut modes = before.clone();
        modes.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        let hidden = Hidden { terminal, before };
        // Drops what was typed before: the terminal has shown it.
        tcsetattr(terminal, OptionalActions::Flush, &modes)?;
        let mut stderr = io::stderr();
        write!(stderr, "{prompt}: ")?;
        stderr.flush()?;
        Ok(hidden)
    }

    /// The next byte; `None` if the terminal is gone.
    fn byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(self.terminal, &mut byte))?;
        Ok((length > 0).then_some(byte[0]))
    }

    /// Whether the user's terminal has this meaning for the byte. 0 means that there is none.
    fn means(&self, byte: u8, meaning: SpecialCodeIndex) -> bool {
        byte != 0 && self.before.special_codes[meaning] == byte
    }

    /// The signal that the byte would send, if the terminal sends signals.
    fn signal(&self, byte: u8) -> Option<Signal> {
        let signals = [
            (SpecialCodeIndex::VINTR, Signal::INT),
            (SpecialCodeIndex::VQUIT, Signal::QUIT),
            (SpecialCodeIndex::VSUSP, Signal::TSTP),
        ];
        let mut meant = signals.iter().filter(|(meaning, _)| self.means(byte, *meaning));
        meant.next().map(|(_, signal)| *signal)
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Nothing else can be tried. What is left of a pasted text is dropped: a shell would show it, and run it.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        // The one that was typed has not been shown.
        let _ = writeln!(io::stderr());
    }
}

/// Shows the prompt and reads a line of at most `limit` bytes, without its line break.
pub fn read_hidden_line(terminal: BorrowedFd<'_>, prompt: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut hidden = Hidden::begin(terminal, prompt)?;
    while let Some(byte) = hidden.byte()? {
        if let Some(signal) = hidden.signal(byte) {
            drop(hidden);
            kill_process(getpid(), signal)?;
            if signal != Signal::TSTP {
                // The signal is ignored.
                return Err(io::ErrorKind::Interrupted.into());
            }
            // Continued.
            hidden = Hidden::begin(terminal, prompt)?;
            line.clear();
        } else if matches!(byte, b'\n' | b'\r') || hidden.means(byte, SpecialCodeIndex::VEOF) {
            break;
        } else if matches!(byte, 0x08 | 0x7F) || hidden.means(byte, SpecialCodeIndex::VERASE) {
            remove_character(&mut line);
        } else if hidden.means(byte, SpecialCodeIndex::VKILL) {
            line.clear();
        } else if line.len() == limit {
            return Err(io::Error::other(format!("the line has more than {limit} bytes")));
        } else {
            line.push(byte);
        }
    }
    Ok(line)
}

/// Removes the last byte, and with it the others of a character in UTF-8.
fn remove_character(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
}
