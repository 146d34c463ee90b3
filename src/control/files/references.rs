//! What keys refer to. The gateway's policy has the scopes and the names of headers; a file that has some too is checked with them.

use std::fmt;

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::nearest::nearest;
use keyfence_core::config::node::Node;
use keyfence_core::config::{Config, DiagnosticKind, Diagnostics, Message};

/// A name that the file does not define. It is a warning: the gateway's policy may.
struct NotDefinedHere {
    what: &'static str,
    field: &'static str,
    nearest: Option<String>,
}

impl DiagnosticKind for NotDefinedHere {
    fn message(&self) -> Message {
        let NotDefinedHere { what, field, nearest } = self;
        Message::warning(
            format!("{field} of this file has no such {what}; a gateway refuses the key unless its own policy has it"),
            match nearest {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("write it into {field} of the gateway's policy, and here"),
            },
        )
    }
}

/// Warns of scopes and headers of a key that a file does not define, if it defines any.
pub fn check(key: &Node<'_>, config: &Config<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let Node::Object(members) = key else {
        return;
    };
    let scopes: Vec<&str> = config.scopes.iter().map(|scope| &*scope.name).collect();
    let headers: Vec<&str> = config.upstream_header_names.iter().map(|header| &*header.0).collect();
    for (name, value) in members {
        match (name.as_ref(), value) {
            ("scopes", Node::List(names)) if !scopes.is_empty() => {
                for (index, name) in names.iter().enumerate() {
                    if let Node::Text(name) = name
                        && !scopes.contains(&name.as_ref())
                    {
                        let nearest = nearest(name, scopes.iter().copied()).map(str::to_owned);
                        let (what, field) = ("scope", "scopes");
                        let at = path.field("scopes");
                        diagnostics.add(&at.item(index), &quoted(name), &NotDefinedHere { what, field, nearest });
                    }
                }
            }
            ("upstream_headers", Node::Object(values)) if !headers.is_empty() => {
                for (name, _) in values {
                    if !headers.iter().any(|header| header.eq_ignore_ascii_case(name)) {
                        let nearest = nearest(name, headers.iter().copied()).map(str::to_owned);
                        let (what, field) = ("header", "upstream_header_names");
                        let at = path.field("upstream_headers");
                        diagnostics.add(&at.field(name), &"", &NotDefinedHere { what, field, nearest });
                    }
                }
            }
            _ => {}
        }
    }
}

fn quoted(text: &str) -> impl fmt::Display {
    format!("{text:?}")
}
