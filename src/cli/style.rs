//! Colours for terminals.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};

/// Whether output is coloured.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    is_on: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Colour {
    Red,
    Green,
    Yellow,
    Bold,
}

impl Style {
    pub fn of_stdout() -> Style {
        Style::of(&io::stdout())
    }

    pub fn of_stderr() -> Style {
        Style::of(&io::stderr())
    }

    /// Colours are on for a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    fn of(output: &impl IsTerminal) -> Style {
        let is_disabled = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style {
            is_on: output.is_terminal() && !is_disabled,
        }
    }

    pub fn paint(self, colour: Colour, text: impl fmt::Display) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Bold => 1,
        };
        if self.is_on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}
