//! Reading of an origin pattern from the configuration, and the warnings about one that can be used.

use std::borrow::Cow;

use super::pattern::{HostPattern, OriginPattern};
use crate::config::config_path::ConfigPath;
use crate::config::diagnostic::{DiagnosticKind, Diagnostics, Message};
use crate::config::node::Node;
use crate::config::read::Read;

impl<'a> Read<'a> for OriginPattern {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, path, diagnostics)?;
        let pattern = match OriginPattern::parse(&text) {
            Ok(pattern) => pattern,
            Err(error) => {
                diagnostics.add(path, &Node::Text(text), &error);
                return None;
            }
        };
        if let Some(warning) = warning(&pattern) {
            diagnostics.add(path, &Node::Text(text), &warning);
        }
        Some(pattern)
    }
}

fn warning(pattern: &OriginPattern) -> Option<OriginWarning> {
    match pattern {
        OriginPattern::Any => Some(OriginWarning::Any),
        OriginPattern::Null => Some(OriginWarning::Null),
        OriginPattern::Tuple(tuple) if tuple.hosts == HostPattern::Any => Some(OriginWarning::AnyHost),
        OriginPattern::Tuple(tuple) if tuple.scheme.eq_ignore_ascii_case("file") => Some(OriginWarning::File),
        OriginPattern::Tuple(tuple) if matches!(&*tuple.scheme, "ws" | "wss") => Some(OriginWarning::WebSocket),
        OriginPattern::Tuple(tuple) if tuple.has_tail() => Some(OriginWarning::Tail),
        OriginPattern::Tuple(tuple) => {
            (tuple.scheme == "http" && !tuple.is_loopback()).then_some(OriginWarning::PlainHttp)
        }
    }
}

/// A warning about a pattern that can be used.
enum OriginWarning {
    /// `*`.
    Any,
    /// `null`.
    Null,
    /// `*` is the whole host.
    AnyHost,
    /// The scheme is `file`.
    File,
    /// The scheme is `ws` or `wss`.
    WebSocket,
    /// Something follows host and port.
    Tail,
    /// The scheme is `http`, and the host is not the browser's own machine.
    PlainHttp,
}

impl DiagnosticKind for OriginWarning {
    fn message(&self) -> Message {
        match self {
            Self::Any => Message::warning("every web page can use the key", "list the origins of your sites"),
            Self::Null => Message::warning(
                "any page can have the origin null, from a sandboxed frame",
                "give the page an origin of its own",
            ),
            Self::AnyHost => Message::warning(
                "every extension or app with this scheme can use the key, whoever made it",
                "list the hosts if you know them",
            ),
            Self::File => Message::warning(
                "every file that a WebView opens has this origin, whoever wrote it",
                "give the page an origin of its own, as with Android's WebViewAssetLoader",
            ),
            Self::WebSocket => Message::warning(
                "a page's WebSocket has the origin of the page, which is http: or https:",
                "write the page's origin",
            ),
            Self::Tail => Message::warning(
                "browsers send nothing behind host and port, and the comparison is exact",
                "leave it out, unless the program sends it",
            ),
            Self::PlainHttp => Message::warning(
                "anybody on the network between can change a page that is sent over http:",
                "serve the site over https:",
            ),
        }
    }
}

#[cfg(feature = "schema")]
crate::config::json_schema::impl_schema!(OriginPattern, "Origin", _generator => schemars::json_schema!({
    "type": "string",
    "pattern": r"^(\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^,\s]*)$",
    "not": {"pattern": "^https?://($|.*[/?#@A-Z])"},
    "examples": [
        "https://yourapp.com",
        "https://*.yourapp.com",
        "https://app-*-team.yourapp.com",
        "http://localhost:*",
        "capacitor://localhost",
        "moz-extension://*",
    ],
}));
