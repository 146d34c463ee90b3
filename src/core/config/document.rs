//! The configuration as a whole, in two passes: everything but the keys, then the keys one by one. So 100,000 keys are never in memory
//! both as JSON and as policy, and what a key refers to is known when it is read, wherever in the text it stands.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::config_path::ConfigPath;
use super::cors::Cors;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::key::{Enforcement, Key, KeyContext, Restrictions, read_access, read_key};
use super::key_source::{KeySource, read_key_sources};
use super::node::{Name, Node};
use super::read::{Fields, Read, choice, wrong_type_unshown};
use super::scope::{Scope, read_scopes};
use super::security_headers::SecurityHeaders;
use super::token::HeaderName;

/// Everything but the keys. Each field has its default where the operator left it out.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = super::schema::of_config)
)]
pub struct Config<'a> {
    /// Not empty, and no two alike.
    pub key_sources: Vec<KeySource>,
    /// The policy for requests without a key; left out: they are refused.
    pub anonymous: Option<Restrictions<'a>>,
    /// By name.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "std::collections::BTreeMap<String, Vec<super::scope::Rule>>")
    )]
    pub scopes: Vec<Scope>,
    /// What CORS headers say.
    pub cors: Cors,
    /// What every response carries.
    pub security_headers: SecurityHeaders,
    /// Which addresses of Envoy's are believed.
    pub client_ip: ClientIp,
    /// The header that names the key to the upstream; null: none does.
    pub identity_header: Option<IdentityHeader>,
    /// Whether the upstream sees the key itself.
    pub forward_api_key: bool,
    /// What holds for keys that do not say.
    pub enforcement: Enforcement,
    /// Where errors are explained: an absolute URL without fragment.
    pub docs_url: Option<String>,
}

/// Which client addresses count as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum ClientIp {
    /// Addresses of the connection, or of the PROXY protocol.
    Peer,
    /// Addresses that Envoy took from a header. Where the header has none, Envoy gives the address of the connection, which is that of
    /// the proxy in front: it does not count.
    Forwarded,
    /// Both: for listeners that clients also call directly.
    ForwardedOrPeer,
}

/// The name of the identity header, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeader(pub String);

impl<'a> Read<'a> for ClientIp {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const NAMES: [&str; 3] = ["peer", "forwarded", "forwarded_or_peer"];
        const VALUES: [ClientIp; 3] = [ClientIp::Peer, ClientIp::Forwarded, ClientIp::ForwardedOrPeer];
        choice(node, &NAMES, &VALUES, place, diagnostics)
    }
}

/// The text without a byte order mark at its beginning, which editors and PowerShell write and parsers may ignore (RFC 8259, section 8.1).
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// Reads everything but the keys. `None` where the text is not JSON or not an object; whatever is wrong is in `diagnostics`.
pub fn read<'a>(text: &'a [u8], diagnostics: &mut Diagnostics) -> Option<Config<'a>> {
    let mut deserializer = serde_json::Deserializer::from_slice(without_byte_order_mark(text));
    let read = WithoutKeys(diagnostics).deserialize(&mut deserializer);
    match read.and_then(|node| deserializer.end().map(|()| node)) {
        Ok(node) => {
            let fields = Fields::of(node?, &ConfigPath::ROOT, diagnostics)?;
            Some(config(fields, diagnostics))
        }
        Err(_) if is_utf16(text) => {
            diagnostics.add_bare(
                &ConfigPath::ROOT,
                DiagnosticKind::Syntax {
                    line: 1,
                    column: 1,
                    message: "it is UTF-16; save it as UTF-8".into(),
                },
            );
            None
        }
        Err(error) => {
            diagnostics.add_bare(&ConfigPath::ROOT, syntax_problem(&error));
            None
        }
    }
}

/// Reads the keys of a text that [`read`] has read. `on_key` gets each readable key with its index in `keys` and its place.
pub fn read_keys<'a>(
    text: &'a [u8],
    context: KeyContext<'_>,
    diagnostics: &mut Diagnostics,
    on_key: &mut dyn FnMut(usize, Key<'a>, &ConfigPath<'_>, &mut Diagnostics),
) {
    let mut deserializer = serde_json::Deserializer::from_slice(without_byte_order_mark(text));
    let keys = OnlyKeys(KeysSeed {
        context,
        diagnostics,
        on_key,
    });
    if let Err(error) = keys.deserialize(&mut deserializer) {
        diagnostics.add_bare(&ConfigPath::ROOT, syntax_problem(&error));
    }
}

/// By its byte order mark.
fn is_utf16(text: &[u8]) -> bool {
    text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF")
}

fn syntax_problem(error: &serde_json::Error) -> DiagnosticKind {
    let (line, column) = (error.line(), error.column());
    let whole = error.to_string();
    let at = format!(" at line {line} column {column}");
    DiagnosticKind::Syntax {
        line,
        column,
        message: whole.strip_suffix(&at).unwrap_or(&whole).to_owned(),
    }
}

fn config<'a>(mut fields: Fields<'a, '_>, diagnostics: &mut Diagnostics) -> Config<'a> {
    let place = ConfigPath::ROOT;
    // Editors look there for the JSON Schema.
    let _: Option<Cow<'a, str>> = fields.take("$schema", diagnostics);
    // Read already; named here so that a near miss finds it.
    let _ = fields.node("keys", diagnostics);
    let forward_api_key = fields.take("forward_api_key", diagnostics).unwrap_or(true);
    let key_sources = fields
        .node("key_sources", diagnostics)
        .map(|node| read_key_sources(node, forward_api_key, &place.field("key_sources"), diagnostics));
    let anonymous = fields
        .node("anonymous", diagnostics)
        .and_then(|node| read_anonymous(node, &place.field("anonymous"), diagnostics));
    let scopes = fields
        .node("scopes", diagnostics)
        .map(|node| read_scopes(node, &place.field("scopes"), diagnostics));
    let identity_header = match fields.node("identity_header", diagnostics) {
        None => Some(IdentityHeader("X-Key-Id".into())),
        Some(Node::Null) => None,
        Some(node) => read_identity_header(node, &place.field("identity_header"), diagnostics),
    };
    let config = Config {
        key_sources: key_sources.unwrap_or_else(KeySource::by_default),
        anonymous,
        scopes: scopes.unwrap_or_default(),
        cors: fields.take("cors", diagnostics).unwrap_or_default(),
        security_headers: fields
            .take("security_headers", diagnostics)
            .unwrap_or_else(SecurityHeaders::by_default),
        client_ip: fields.take("client_ip", diagnostics).unwrap_or(ClientIp::Peer),
        identity_header,
        forward_api_key,
        enforcement: fields.take("enforcement", diagnostics).unwrap_or(Enforcement::Enforce),
        docs_url: fields
            .node("docs_url", diagnostics)
            .and_then(|node| read_docs_url(node, &place.field("docs_url"), diagnostics)),
    };
    fields.finish(diagnostics);
    if let Some(IdentityHeader(name)) = &config.identity_header
        && config
            .key_sources
            .iter()
            .filter_map(KeySource::header)
            .any(|header| header.equals_ignoring_separators(name))
    {
        let at = place.field("identity_header");
        diagnostics.add(&at, &format_args!("{name:?}"), DiagnosticKind::OwnedHeader);
    }
    config
}

fn read_anonymous<'a>(
    node: Node<'a>,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Restrictions<'a>> {
    let mut fields = Fields::of(node, place, diagnostics)?;
    let access = read_access(&mut fields, place, diagnostics);
    fields.finish(diagnostics);
    Some(access)
}

fn read_identity_header(
    node: Node<'_>,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<IdentityHeader> {
    /// Envoy, the protocol or the filter gives these a meaning of their own.
    const RESERVED: [&str; 15] = [
        ":authority",
        ":method",
        ":path",
        ":scheme",
        "host",
        "origin",
        "access-control-request-method",
        "sec-fetch-site",
        "sec-websocket-protocol",
        "x-request-id",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "upgrade",
    ];
    let name = HeaderName::read(node, place, diagnostics)?;
    if RESERVED
        .iter()
        .any(|reserved| name.equals_ignoring_separators(reserved))
    {
        diagnostics.add(place, &Node::Text(name.0.into()), DiagnosticKind::OwnedHeader);
        return None;
    }
    Some(IdentityHeader(name.0))
}

fn read_docs_url(node: Node<'_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let url = String::read(node, place, diagnostics)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = url
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'\\' | b'<' | b'>'));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) || !plain {
        diagnostics.add(place, &Node::Text(url.into()), DiagnosticKind::BadDocsUrl);
        return None;
    }
    Some(url)
}

/// The whole document as a node, but for `keys`, whose place an empty list takes; `None` where it is not an object.
struct WithoutKeys<'f>(&'f mut Diagnostics);

impl<'a> DeserializeSeed<'a> for WithoutKeys<'_> {
    type Value = Option<Node<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(OneType(self))
    }
}

impl<'a> TypedVisitor<'a> for WithoutKeys<'_> {
    type Value = Option<Node<'a>>;

    fn map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let node = if name == "keys" {
                map.next_value::<IgnoredAny>()?;
                Node::List(Vec::new())
            } else {
                map.next_value()?
            };
            members.push((name, node));
        }
        Ok(Some(Node::Object(members)))
    }

    fn other(self, node: Node<'a>) -> Self::Value {
        wrong_type_unshown(&node, "an object", &ConfigPath::ROOT, self.0)
    }
}

/// The value of `keys` as a stream, and nothing else.
struct OnlyKeys<'f, 'a>(KeysSeed<'f, 'a>);

impl<'a> DeserializeSeed<'a> for OnlyKeys<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(OneType(self))
    }
}

impl<'a> TypedVisitor<'a> for OnlyKeys<'_, 'a> {
    type Value = ();

    fn map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Some(self.0);
        while let Some(Name(name)) = map.next_key()? {
            match keys.take_if(|_| name == "keys") {
                Some(keys) => map.next_value_seed(keys)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn other(self, _: Node<'a>) {}
}

struct KeysSeed<'f, 'a> {
    context: KeyContext<'f>,
    diagnostics: &'f mut Diagnostics,
    on_key: &'f mut dyn FnMut(usize, Key<'a>, &ConfigPath<'_>, &mut Diagnostics),
}

impl<'a> DeserializeSeed<'a> for KeysSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(OneType(self))
    }
}

impl<'a> TypedVisitor<'a> for KeysSeed<'_, 'a> {
    type Value = ();

    fn seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let list = ConfigPath::ROOT.field("keys");
        let mut index = 0;
        while let Some(node) = seq.next_element()? {
            let place = list.item(index);
            if let Some(key) = read_key(node, self.context, &place, self.diagnostics) {
                (self.on_key)(index, key, &place, self.diagnostics);
            }
            index += 1;
        }
        Ok(())
    }

    fn other(self, node: Node<'a>) {
        let _: Option<()> = wrong_type_unshown(&node, "a list", &ConfigPath::ROOT.field("keys"), self.diagnostics);
    }
}

/// Reads one type as a stream and takes any other as a diagnostic.
trait TypedVisitor<'a>: Sized {
    type Value;

    fn seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.other(Node::List(Vec::new())))
    }

    fn map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.other(Node::Object(Vec::new())))
    }

    fn other(self, node: Node<'a>) -> Self::Value;
}

struct OneType<T>(T);

impl<'a, T: TypedVisitor<'a>> Visitor<'a> for OneType<T> {
    type Value = T::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<T::Value, A::Error> {
        self.0.seq(seq)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<T::Value, A::Error> {
        self.0.map(map)
    }

    fn visit_unit<E>(self) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Number(value as f64)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Text(value.to_owned().into())))
    }
}
