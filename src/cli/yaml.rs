//! Writes YAML that versions 1.1 (Kubernetes, Envoy) and 1.2 read in the same way.
//!
//! All text from a policy or the command line is written by these functions. They escape line breaks in values.

use std::fmt::Write;

use keyfence_core::config::node::Node;
use serde_json::Value;

use keyfence_files::escape;

/// Writes a value in block style. Every line has this indentation; the first one is not on the line of the value's name.
pub fn block(node: &Node<'_>, indentation: usize) -> String {
    let mut yaml = String::new();
    match node {
        Node::Object(members) if !members.is_empty() => write_members(members, indentation, &mut yaml),
        Node::List(items) if !items.is_empty() => write_items(items, indentation, &mut yaml),
        _ => {
            let _ = writeln!(yaml, "{}{}", margin(indentation), inline(node));
        }
    }
    yaml
}

/// Writes JSON as the lines of a literal block scalar (`|`) with this indentation. The first line has exactly this indentation, because a
/// reader takes the block's indentation from it.
pub fn literal(json: &str, indentation: usize) -> String {
    indented(escape::json(json).trim(), indentation)
}

/// Indents every line that is not empty.
pub fn indented(lines: &str, indentation: usize) -> String {
    let margin = margin(indentation);
    let lines = lines.split('\n').map(|line| match line.trim_ascii() {
        "" => "\n".to_owned(),
        _ => format!("{margin}{line}\n"),
    });
    lines.collect()
}

/// Makes the lines of an object an item of a list, with its dash at this indentation.
pub fn item(lines: &str, indentation: usize) -> String {
    let indented = indented(lines.trim_end(), indentation + 2);
    format!("{}- {}", margin(indentation), indented.trim_start())
}

/// Writes a string, without quotes if every reader takes it for a string.
pub fn string(text: &str) -> String {
    const WORDS: [&str; 9] = ["y", "yes", "n", "no", "on", "off", "true", "false", "null"];
    let begins_with_letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let ends_alphanumeric = text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._:-".contains(&b));
    if begins_with_letter && ends_alphanumeric && is_plain && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Writes a string in double quotes, where YAML has the escapes of JSON. Use it within `{}` and `[]`, because old versions of libyaml
/// refuse a plain scalar with a colon there.
pub fn quoted(text: &str) -> String {
    escape::json(&Value::from(text).to_string())
}

/// Writes a name and a string as one member of an object.
pub fn member(text: &str, value: &str, indentation: usize) -> String {
    let margin = margin(indentation);
    format!("{margin}{} {}\n", name(text, indentation), string(value))
}

fn margin(indentation: usize) -> String {
    " ".repeat(indentation)
}

/// Writes a name and the colon after it, at the beginning of a line.
fn name(text: &str, indentation: usize) -> String {
    /// YAML limits a name without a question mark to 1024 characters; some readers count bytes.
    const MAX_LENGTH: usize = 1_000;
    let name = string(text);
    if name.len() > MAX_LENGTH {
        format!("? {name}\n{}:", margin(indentation))
    } else {
        format!("{name}:")
    }
}

fn write_members(members: &[(impl AsRef<str>, Node<'_>)], indentation: usize, yaml: &mut String) {
    for (text, value) in members {
        let _ = write!(yaml, "{}{}", margin(indentation), name(text.as_ref(), indentation));
        write_value(value, indentation + 2, yaml);
    }
}

fn write_items(items: &[Node<'_>], indentation: usize, yaml: &mut String) {
    for item in items {
        let _ = write!(yaml, "{}-", margin(indentation));
        match item {
            Node::Object(members) if !members.is_empty() => {
                // The first name is on the line of the dash.
                let lines = block(item, indentation + 2);
                let _ = write!(yaml, " {}", lines.trim_start());
            }
            _ => write_value(item, indentation + 2, yaml),
        }
    }
}

/// Writes a value after a name or a dash.
fn write_value(node: &Node<'_>, indentation: usize, yaml: &mut String) {
    match node {
        Node::List(items) if !items.is_empty() => {
            yaml.push('\n');
            write_items(items, indentation, yaml);
        }
        Node::Object(members) if !members.is_empty() => {
            yaml.push('\n');
            write_members(members, indentation, yaml);
        }
        _ => {
            let _ = writeln!(yaml, " {}", inline(node));
        }
    }
}

/// Writes a scalar, or an empty list or object, on one line.
fn inline(node: &Node<'_>) -> String {
    match node {
        Node::Text(text) => string(text),
        Node::List(_) => "[]".into(),
        Node::Object(_) => "{}".into(),
        // YAML reads these as JSON does.
        Node::Null | Node::Bool(_) | Node::Number(_) => node.to_string(),
    }
}
