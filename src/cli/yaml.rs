//! YAML that Kubernetes and Envoy read as it is meant, in block style.

use std::fmt::Write;

use super::scalar::{Dialect, quoted};
use super::tree::{Node, Value};

/// The lines of a value, each with this indentation. It does not begin on the line of its name.
pub fn block(node: &Node, dialect: Dialect, indentation: usize) -> String {
    let mut yaml = String::new();
    write(node, dialect, indentation, &mut yaml);
    yaml
}

fn write(node: &Node, dialect: Dialect, indentation: usize, yaml: &mut String) {
    let margin = " ".repeat(indentation);
    for member in node.members() {
        let _ = write!(yaml, "{margin}{}:", string(&member.name));
        write_value(&member.node, dialect, indentation + 2, yaml);
    }
    for item in node.items() {
        let _ = write!(yaml, "{margin}-");
        match (&item.value, item.members()) {
            (Value::Object(_), [_, ..]) => {
                // Its first name follows the dash.
                let lines = block(item, dialect, indentation + 2);
                let _ = write!(yaml, " {}", lines.trim_start());
            }
            _ => write_value(item, dialect, indentation + 2, yaml),
        }
    }
}

/// Behind a name or a dash.
fn write_value(node: &Node, dialect: Dialect, indentation: usize, yaml: &mut String) {
    match &node.value {
        Value::Scalar(scalar) => {
            let json = scalar.to_json(dialect);
            // A plain scalar that is a string, or a quoted one that need not be.
            let text = serde_json::from_str::<String>(&json).map_or(json, |text| string(&text));
            let _ = writeln!(yaml, " {text}");
        }
        Value::List(items) if items.is_empty() => yaml.push_str(" []\n"),
        Value::Object(members) if members.is_empty() => yaml.push_str(" {}\n"),
        Value::List(_) | Value::Object(_) => {
            yaml.push('\n');
            write(node, dialect, indentation, yaml);
        }
    }
}

/// Without quotes where nobody could take it for anything but a string.
pub fn string(text: &str) -> String {
    const WORDS: [&str; 9] = ["y", "yes", "n", "no", "on", "off", "true", "false", "null"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let ends = text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._:-".contains(&b));
    if begins && ends && plain && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}
