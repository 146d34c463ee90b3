//! YAML that means the same in versions 1.1 (Kubernetes, Envoy) and 1.2.
//!
//! All text from a policy or the command line is written by these functions. None of them lets a value end its line.

use std::fmt::Write;

use keyfence_core::config::node::Node;
use serde_json::Value;

use super::escape;

/// The lines of a value in block style, each with this indentation. It does not begin on the line of its name.
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

/// The lines of a literal block scalar (`|`) that holds this JSON, each with this indentation. The first line has no more, because a
/// reader takes the block's indentation from it.
pub fn literal(json: &str, indentation: usize) -> String {
    indented(escape::json(json).trim(), indentation)
}

/// These lines, each with this indentation.
pub fn indented(lines: &str, indentation: usize) -> String {
    let margin = margin(indentation);
    let lines = lines.split('\n').map(|line| match line.trim_ascii() {
        "" => "\n".to_owned(),
        _ => format!("{margin}{line}\n"),
    });
    lines.collect()
}

/// Without quotes where no reader could take it for anything but a string.
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

/// In double quotes, where YAML has the escapes of JSON. Within `{}` and `[]`, use this: old versions of libyaml refuse plain text with a
/// colon there.
pub fn quoted(text: &str) -> String {
    escape::json(&Value::from(text).to_string())
}

/// The lines of one member of an object.
pub fn member(text: &str, value: &str, indentation: usize) -> String {
    let margin = margin(indentation);
    format!("{margin}{} {}\n", name(text, indentation), string(value))
}

fn margin(indentation: usize) -> String {
    " ".repeat(indentation)
}

/// A name and the colon after it, at the beginning of a line.
fn name(text: &str, indentation: usize) -> String {
    /// A name without a question mark is limited to 1024 characters (YAML 1.1 and 1.2); some readers count bytes.
    const LONGEST: usize = 1_000;
    let name = string(text);
    if name.len() > LONGEST {
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
                // Its first name follows the dash.
                let lines = block(item, indentation + 2);
                let _ = write!(yaml, " {}", lines.trim_start());
            }
            _ => write_value(item, indentation + 2, yaml),
        }
    }
}

/// Behind a name or a dash.
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

/// What needs no lines of its own.
fn inline(node: &Node<'_>) -> String {
    match node {
        Node::Text(text) => string(text),
        Node::List(_) => "[]".into(),
        Node::Object(_) => "{}".into(),
        // As JSON.
        Node::Null | Node::Bool(_) | Node::Number(_) => node.to_string(),
    }
}
