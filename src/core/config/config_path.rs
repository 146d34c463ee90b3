//! Paths into the configuration, as in `keys[3].allowed_origins[1]`.

use std::fmt;

/// The path of a value in the configuration. It borrows its parent, so that it allocates nothing until a diagnostic needs its text.
#[derive(Debug, Clone, Copy)]
pub struct ConfigPath<'p> {
    parent: Option<&'p ConfigPath<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Item(usize),
}

impl<'p> ConfigPath<'p> {
    /// The whole configuration. Its text is empty.
    pub const ROOT: ConfigPath<'static> = ConfigPath {
        parent: None,
        step: Step::Root,
    };

    /// The field `name` of the object at this path.
    pub fn field(&'p self, name: &'p str) -> ConfigPath<'p> {
        ConfigPath {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// The item `index`, from 0, of the list at this path.
    pub fn item(&'p self, index: usize) -> ConfigPath<'p> {
        ConfigPath {
            parent: Some(self),
            step: Step::Item(index),
        }
    }
}

/// Whether `name` is written after a dot. Any other name is written in brackets and quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'))
}

impl fmt::Display for ConfigPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let at_start = matches!(self.parent, Some(ConfigPath { step: Step::Root, .. }));
        match self.step {
            Step::Root => Ok(()),
            Step::Item(index) => write!(f, "[{index}]"),
            Step::Field(name) if !is_plain(name) => write!(f, "[{name:?}]"),
            Step::Field(name) if at_start => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_in_javascript() {
        let keys = ConfigPath::ROOT.field("keys");
        let key = keys.item(3);
        let origins = key.field("allowed_origins");
        let set = ConfigPath::ROOT.field("set");
        for (path, text) in [
            (ConfigPath::ROOT, ""),
            (keys, "keys"),
            (origins.item(1), "keys[3].allowed_origins[1]"),
            (set.field("X-Frame-Options"), "set.X-Frame-Options"),
            (set.field("a b"), "set[\"a b\"]"),
            (ConfigPath::ROOT.field("a.b"), "[\"a.b\"]"),
        ] {
            assert_eq!(path.to_string(), text);
        }
    }
}
