//! `scopes`: rules of methods and paths that keys are given by name.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::escapes::can_mislead;
use super::node::Node;
use super::read::{Fields, Read};
use super::token::Method;

/// A named set of rules; a request fits the scope if it fits one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What keys name it by.
    pub name: String,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Methods on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Rule {
    /// Not empty. `*` is any method.
    #[cfg_attr(feature = "schema", schemars(extend("minItems" = 1)))]
    pub methods: Vec<Method>,
    /// What the path must be like.
    pub path: PathPattern,
}

/// As people write it: `GET, POST /v1/search`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", method.0)?;
        }
        write!(f, " {}", self.path)
    }
}

/// A path as a rule writes it: at most one `{index}`, and `**` only as the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// What stands between the slashes.
    pub segments: Vec<Segment>,
    /// The pattern ends in `/**`: one or more segments follow, whatever they are.
    pub open_ended: bool,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This one, byte for byte. The last may be empty, as in `/v1/`.
    Literal(String),
    /// `*`: any one that is not empty.
    Any,
    /// `{index}`: any one that is not empty, and it names the index.
    Index,
}

impl PathPattern {
    /// Reads a rule's path; the error is the reason in a plain clause.
    pub fn parse(text: &str) -> Result<PathPattern, &'static str> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path begins with /");
        };
        let mut texts: Vec<&str> = rest.split('/').collect();
        let open_ended = texts.pop_if(|last| *last == "**").is_some();
        let mut segments = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let is_end = index + 1 == texts.len() && !open_ended;
            segments.push(parse_segment(text, is_end)?);
        }
        if segments.iter().filter(|s| **s == Segment::Index).count() > 1 {
            return Err("a path names one {index}");
        }
        Ok(PathPattern { segments, open_ended })
    }

    /// Whether a path that it matches names an index.
    pub fn names_index(&self) -> bool {
        self.segments.contains(&Segment::Index)
    }
}

fn parse_segment(segment: &str, is_end: bool) -> Result<Segment, &'static str> {
    match segment {
        "*" => return Ok(Segment::Any),
        "{index}" => return Ok(Segment::Index),
        "**" => return Err("** stands at the end only"),
        "." | ".." => {
            return Err("requests with . or .. in their path are refused, so it would never match");
        }
        "" if !is_end => {
            return Err("requests with // in their path are refused, so it would never match");
        }
        _ => {}
    }
    if segment.contains(['{', '}']) {
        return Err("the one name in braces is {index}, a whole segment");
    }
    if segment.contains('*') {
        return Err("* stands for a whole segment");
    }
    if segment.contains(['?', '#']) {
        return Err("a path has no query and no fragment");
    }
    if !segment.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("requests send a path in printable ASCII");
    }
    if segment.contains(['\\', ';']) || can_mislead(segment.as_bytes()) {
        return Err(
            "requests whose path has \\ or ;, or encodes one of / \\ . ; ? #, a control character, white space behind dots or what is not UTF-8, are refused, so it would never match",
        );
    }
    Ok(Segment::Literal(segment.to_owned()))
}

/// As it was written.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            f.write_str("/")?;
            f.write_str(match segment {
                Segment::Literal(text) => text,
                Segment::Any => "*",
                Segment::Index => "{index}",
            })?;
        }
        f.write_str(if self.open_ended { "/**" } else { "" })
    }
}

impl<'a> Read<'a> for PathPattern {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, place, diagnostics)?;
        match PathPattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                diagnostics.add(place, &Node::Text(text), DiagnosticKind::RulePath(reason));
                None
            }
        }
    }
}

impl<'a> Read<'a> for Rule {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::of(node, place, diagnostics)?;
        let methods = fields
            .require("methods", diagnostics)
            .and_then(|node| read_methods(node, &place.field("methods"), diagnostics));
        let path = fields
            .require("path", diagnostics)
            .and_then(|node| PathPattern::read(node, &place.field("path"), diagnostics));
        fields.finish(diagnostics);
        Some(Rule {
            methods: methods?,
            path: path?,
        })
    }
}

fn read_methods(node: Node<'_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Method>> {
    if node == Node::List(Vec::new()) {
        diagnostics.add(place, &"[]", DiagnosticKind::NoMethods);
        return None;
    }
    Vec::read(node, place, diagnostics)
}

/// Reads the object of scopes by their names.
pub fn read_scopes(node: Node<'_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Vec<Scope> {
    let Node::Object(members) = node else {
        return super::read::wrong_type(&node, "an object", place, diagnostics).unwrap_or_default();
    };
    let mut scopes: Vec<Scope> = Vec::with_capacity(members.len());
    for (name, rules) in members {
        let at = place.field(&name);
        if scopes.iter().any(|scope| scope.name == name) {
            diagnostics.add_bare(&at, DiagnosticKind::DuplicateField);
        }
        let rules = Vec::read(rules, &at, diagnostics).unwrap_or_default();
        scopes.push(Scope {
            name: name.clone().into_owned(),
            rules,
        });
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_rules() {
        let literal = |text: &str| Segment::Literal(text.into());
        for (text, segments, open_ended) in [
            ("/", vec![literal("")], false),
            ("/v1", vec![literal("v1")], false),
            ("/v1/", vec![literal("v1"), literal("")], false),
            ("/v1/*/x", vec![literal("v1"), Segment::Any, literal("x")], false),
            ("/i/{index}", vec![literal("i"), Segment::Index], false),
            ("/**", vec![], true),
            ("/v1/**", vec![literal("v1")], true),
            ("/a%20b", vec![literal("a%20b")], false),
            ("/100%25", vec![literal("100%25")], false),
            (
                "/caf%C3%A9/100%25%20off",
                vec![literal("caf%C3%A9"), literal("100%25%20off")],
                false,
            ),
        ] {
            assert_eq!(
                PathPattern::parse(text),
                Ok(PathPattern { segments, open_ended }),
                "{text}"
            );
        }
        for text in [
            "",
            "v1",
            "*",
            "//",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a/**/b",
            "/a**",
            "/a*",
            "/{id}",
            "/{index}x",
            "/{index}/{index}",
            "/a?b",
            "/a#b",
            "/a;b",
            "/a\\b",
            "/%2Fa",
            "/%2ea",
            "/%252Fa",
            "/%25252e",
            "/%25%32%65",
            "/%2%65",
            "/%252525252541",
            "/..%20/a",
            "/a%3Bb",
            "/a%3fb",
            "/a%2523",
            "/a%0d%0a",
            "/a%7F",
            "/%c0%ae",
            "/caf%E9",
            "/%u0061",
            "/é",
            "/a b",
            "//**",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }
}
