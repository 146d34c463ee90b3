//! `scopes`: named sets of rules for methods and paths. Keys refer to them by name.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::escapes::can_mislead;
use super::node::Node;
use super::read::{Fields, Read, StructureError, wrong_type};
use super::token::Method;

/// A named set of rules. A request is in the scope if it matches one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The name that keys refer to it by.
    pub name: String,
    /// The rules; empty if no request is in the scope.
    pub rules: Vec<Rule>,
}

/// Methods on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Rule {
    /// At least one; `*` is any method.
    #[cfg_attr(feature = "schema", schemars(extend("minItems" = 1)))]
    pub methods: Vec<Method>,
    /// The pattern that the path must match.
    pub path: PathPattern,
}

/// For messages: `GET, POST /v1/search`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", method.0)?;
        }
        write!(f, " {}", self.path)
    }
}

/// The path of a rule: at most one `{index}`, and `**` at the end only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// The segments, without the slashes. Without those of a final `**`.
    pub segments: Vec<Segment>,
    /// Whether the pattern ends in `/**`, which matches one or more segments of any kind.
    pub open_ended: bool,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This segment, byte for byte. The last one may be empty, as in `/v1/`.
    Literal(String),
    /// `*`: any segment that is not empty.
    Any,
    /// `{index}`: any segment that is not empty. It is the name of the index.
    Index,
}

impl PathPattern {
    /// Parses the path of a rule.
    pub fn parse(text: &str) -> Result<PathPattern, PathError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PathError::NoSlash);
        };
        let mut texts: Vec<&str> = rest.split('/').collect();
        let open_ended = texts.pop_if(|last| *last == "**").is_some();
        let mut segments = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let is_end = index + 1 == texts.len() && !open_ended;
            segments.push(parse_segment(text, is_end)?);
        }
        if segments.iter().filter(|s| **s == Segment::Index).count() > 1 {
            return Err(PathError::SecondIndex);
        }
        Ok(PathPattern { segments, open_ended })
    }

    /// Whether the pattern has `{index}`.
    pub fn names_index(&self) -> bool {
        self.segments.contains(&Segment::Index)
    }
}

/// Parses one segment. `is_end`: it is the last of the whole path, so it may be empty.
fn parse_segment(segment: &str, is_end: bool) -> Result<Segment, PathError> {
    match segment {
        "*" => return Ok(Segment::Any),
        "{index}" => return Ok(Segment::Index),
        "**" => return Err(PathError::EarlyDoubleStar),
        "." | ".." => return Err(PathError::DotSegment),
        "" if !is_end => return Err(PathError::EmptySegment),
        _ => {}
    }
    if segment.contains(['{', '}']) {
        return Err(PathError::Braces);
    }
    if segment.contains('*') {
        return Err(PathError::PartialStar);
    }
    if segment.contains(['?', '#']) {
        return Err(PathError::QueryOrFragment);
    }
    if !segment.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(PathError::NotPrintableAscii);
    }
    if segment.contains(['\\', ';']) || can_mislead(segment.as_bytes()) {
        return Err(PathError::Ambiguous);
    }
    Ok(Segment::Literal(segment.to_owned()))
}

/// Why the path of a rule is refused: it is malformed, or could match no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// The path does not begin with `/`.
    NoSlash,
    /// A segment is `.` or `..`.
    DotSegment,
    /// A segment other than the last is empty.
    EmptySegment,
    /// `**` before the last segment.
    EarlyDoubleStar,
    /// `*` in a part of a segment.
    PartialStar,
    /// A brace that is not part of a segment `{index}`.
    Braces,
    /// A second `{index}`.
    SecondIndex,
    /// `?` or `#`.
    QueryOrFragment,
    /// A character that is not printable ASCII.
    NotPrintableAscii,
    /// The filter refuses requests whose path has this segment, because servers read it in different ways.
    Ambiguous,
}

impl DiagnosticKind for PathError {
    fn message(&self) -> Message {
        let reason = match self {
            Self::NoSlash => "a path begins with /",
            Self::DotSegment => "requests with . or .. in their path are refused, so it would never match",
            Self::EmptySegment => "requests with // in their path are refused, so it would never match",
            Self::EarlyDoubleStar => "** stands at the end only",
            Self::PartialStar => "* must be a whole segment",
            Self::Braces => "the one name in braces is {index}, a whole segment",
            Self::SecondIndex => "a path can have only one {index}",
            Self::QueryOrFragment => "a path must have no query and no fragment",
            Self::NotPrintableAscii => "a path must be printable ASCII, as in requests",
            Self::Ambiguous => {
                "requests are refused if their path has \\ or ;, or encodes one of / \\ . ; ? #, a control character, white space behind dots, or what is not UTF-8, so it would never match"
            }
        };
        Message::error(
            reason,
            r#"write it as in "/v1/indexes/{index}/search", "/v1/*/stats" or "/v1/**""#,
        )
    }
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
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, path, diagnostics)?;
        match PathPattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                diagnostics.add(path, &Node::Text(text), &error);
                None
            }
        }
    }
}

impl<'a> Read<'a> for Rule {
    fn read(node: Node<'a>, at: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::of(node, at, diagnostics)?;
        let methods = fields
            .require("methods", diagnostics)
            .and_then(|node| read_methods(node, &at.field("methods"), diagnostics));
        let path = fields
            .require("path", diagnostics)
            .and_then(|node| PathPattern::read(node, &at.field("path"), diagnostics));
        fields.finish(diagnostics);
        Some(Rule {
            methods: methods?,
            path: path?,
        })
    }
}

fn read_methods(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Method>> {
    if node == Node::List(Vec::new()) {
        diagnostics.add(path, &"[]", &NoMethods);
        return None;
    }
    Vec::read(node, path, diagnostics)
}

struct NoMethods;

impl DiagnosticKind for NoMethods {
    fn message(&self) -> Message {
        Message::error(
            "a rule without methods fits no request",
            r#"list methods, or ["*"] for any"#,
        )
    }
}

/// Reads `scopes`, an object whose member names are the scopes' names. A duplicate name is an error.
pub fn read_scopes(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Vec<Scope> {
    let Node::Object(members) = node else {
        return wrong_type(&node, "an object", path, diagnostics).unwrap_or_default();
    };
    let mut scopes: Vec<Scope> = Vec::with_capacity(members.len());
    for (name, rules) in members {
        let at = path.field(&name);
        if scopes.iter().any(|scope| scope.name == name) {
            diagnostics.add_bare(&at, &StructureError::DuplicateField);
        }
        let rules = Vec::read(rules, &at, diagnostics).unwrap_or_default();
        scopes.push(Scope {
            name: name.clone().into_owned(),
            rules,
        });
    }
    scopes
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(PathPattern, "Path", _generator => schemars::json_schema!({
    "type": "string",
    "pattern": "^/",
    "examples": ["/v1/indexes/{index}/search", "/v1/**"],
}));

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
