//! Converts a plugin configuration from the host's bytes to JSON text.
//!
//! Envoy passes the text of a `StringValue`. It passes a `Struct` as JSON or, in current versions, as an encoded protocol buffer, which is
//! empty if the `Struct` has no fields.

use std::borrow::Cow;
use std::io::{self, Write};
use std::mem;
use std::ops::Deref;

/// A plugin configuration, in the host's bytes.
#[derive(Debug)]
pub struct Configuration<B> {
    bytes: B,
    /// The length of the JSON text, if the bytes are an encoded `Struct`.
    json_length: Option<usize>,
}

impl<B: Deref<Target = [u8]>> Configuration<B> {
    /// Reads the bytes of a `StringValue` or a `Struct`.
    pub fn of(bytes: B) -> Self {
        let mut length = Length(0);
        // Every field of a `Struct` contains the byte 0x12 and JSON text never does, so the two cannot be confused.
        let json_length = write_struct(&bytes, &mut length, MAX_DEPTH).map(|()| length.0);
        Configuration { bytes, json_length }
    }

    /// The memory that [`Configuration::into_json`] allocates, in bytes.
    pub fn conversion_bytes(&self) -> usize {
        self.json_length.unwrap_or(0)
    }

    /// The configuration as JSON. Bytes that are not a valid `Struct` are returned unchanged; the JSON parser reports their errors.
    pub fn into_json(self) -> Json<B> {
        if self.bytes.is_empty() {
            return Json::Converted("{}".into());
        }
        let Some(length) = self.json_length else {
            return Json::Original(self.bytes);
        };
        let mut json = Vec::with_capacity(length);
        match write_struct(&self.bytes, &mut json, MAX_DEPTH) {
            Some(()) => Json::Converted(json),
            None => Json::Original(self.bytes),
        }
    }
}

/// [`Configuration::into_json`] for borrowed bytes.
pub fn to_json(bytes: &[u8]) -> Cow<'_, [u8]> {
    match Configuration::of(bytes).into_json() {
        Json::Original(bytes) => Cow::Borrowed(bytes),
        Json::Converted(json) => Cow::Owned(json),
    }
}

/// The JSON text of a configuration.
#[derive(Debug)]
pub enum Json<B> {
    /// The host's bytes.
    Original(B),
    /// Converted from a `Struct`.
    Converted(Vec<u8>),
}

impl<B: Deref<Target = [u8]>> Deref for Json<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Json::Original(bytes) => bytes,
            Json::Converted(json) => json,
        }
    }
}

/// A writer that only counts bytes.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The depth limit of `serde_json`.
const MAX_DEPTH: u32 = 127;

/// The content of a field, by its wire type (Protocol Buffers encoding: 0, 1 and 2).
enum Content<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads the number and content of the next field.
fn field<'b>(bytes: &mut &'b [u8]) -> Option<(u64, Content<'b>)> {
    let tag = varint(bytes)?;
    let content = match tag & 7 {
        0 => Content::Varint(varint(bytes)?),
        1 => {
            let (value, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Content::Fixed64(*value)
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Content::Bytes(value)
        }
        _ => return None,
    };
    Some((tag >> 3, content))
}

/// Writes a `google.protobuf.Struct` as JSON, its fields in the order of the encoding.
fn write_struct(mut bytes: &[u8], json: &mut impl Write, depth: u32) -> Option<()> {
    let mut is_first = true;
    json.write_all(b"{").ok()?;
    while !bytes.is_empty() {
        let (1, Content::Bytes(entry)) = field(&mut bytes)? else {
            return None;
        };
        let (name, value) = map_entry(entry)?;
        write_comma(&mut is_first, json)?;
        serde_json::to_writer(&mut *json, name).ok()?;
        json.write_all(b":").ok()?;
        write_value(value, json, depth)?;
    }
    json.write_all(b"}").ok()?;
    Some(())
}

fn map_entry(mut entry: &[u8]) -> Option<(&str, &[u8])> {
    let (mut name, mut value): (&[u8], Option<&[u8]>) = (b"", None);
    while !entry.is_empty() {
        match field(&mut entry)? {
            (1, Content::Bytes(bytes)) => name = bytes,
            (2, Content::Bytes(bytes)) => value = Some(bytes),
            _ => return None,
        }
    }
    Some((std::str::from_utf8(name).ok()?, value?))
}

/// Writes a `google.protobuf.Value` as JSON.
fn write_value(mut bytes: &[u8], json: &mut impl Write, depth: u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let content = field(&mut bytes)?;
    match content {
        (1, Content::Varint(_)) => json.write_all(b"null").ok()?,
        (2, Content::Fixed64(number)) => serde_json::to_writer(json, &f64::from_le_bytes(number)).ok()?,
        (3, Content::Bytes(text)) => serde_json::to_writer(json, std::str::from_utf8(text).ok()?).ok()?,
        (4, Content::Varint(value)) => json
            .write_all(if value == 0 { b"false".as_slice() } else { b"true" })
            .ok()?,
        (5, Content::Bytes(members)) => write_struct(members, json, depth)?,
        (6, Content::Bytes(items)) => write_list(items, json, depth)?,
        _ => return None,
    }
    bytes.is_empty().then_some(())
}

/// Writes a `google.protobuf.ListValue` as JSON.
fn write_list(mut bytes: &[u8], json: &mut impl Write, depth: u32) -> Option<()> {
    let mut is_first = true;
    json.write_all(b"[").ok()?;
    while !bytes.is_empty() {
        let (1, Content::Bytes(item)) = field(&mut bytes)? else {
            return None;
        };
        write_comma(&mut is_first, json)?;
        write_value(item, json, depth)?;
    }
    json.write_all(b"]").ok()?;
    Some(())
}

/// Writes a comma before each element except the first.
fn write_comma(is_first: &mut bool, json: &mut impl Write) -> Option<()> {
    if mem::take(is_first) {
        return Some(());
    }
    json.write_all(b",").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field: tag, length, content.
    fn delimited(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    fn entry(name: &str, value: &[u8]) -> Vec<u8> {
        delimited(
            0x0a,
            &[delimited(0x0a, name.as_bytes()), delimited(0x12, value)].concat(),
        )
    }

    #[test]
    fn every_kind_of_value() {
        let text = |text: &str| delimited(0x1a, text.as_bytes());
        let number = |number: f64| [&[0x11], number.to_le_bytes().as_slice()].concat();
        let list = delimited(
            0x32,
            &[delimited(0x0a, &text("a\"b")), delimited(0x0a, &number(600.0))].concat(),
        );
        let object = delimited(0x2a, &[entry("z", &[0x20, 1]), entry("y", &[0x08, 0])].concat());
        let bytes = [
            entry("list", &list),
            entry("empty", &delimited(0x2a, b"")),
            entry("o", &object),
        ]
        .concat();
        let json = r#"{"list":["a\"b",600.0],"empty":{},"o":{"z":true,"y":null}}"#;
        assert_eq!(String::from_utf8_lossy(&to_json(&bytes)), json);
    }

    #[test]
    fn other_bytes_are_unchanged() {
        let whole = entry("a", &[0x20, 0]);
        for bytes in [
            &b"{\"keys\": []}"[..],
            b"\n{\n}",
            b"\n\n\n",
            b"nonsense",
            b"\xff\xff",
            &whole[..whole.len() - 1],
        ] {
            assert_eq!(&*to_json(bytes), bytes);
        }
        assert_eq!(&*to_json(b""), b"{}");
        // Deeper than `MAX_DEPTH`. Lengths take up to three bytes.
        let deep = (0..200).fold(vec![0x08, 0], |value, _| {
            let item = [vec![0x0a], length(value.len()), value].concat();
            [vec![0x32], length(item.len()), item].concat()
        });
        let whole = [vec![0x0a, 0x03], b"\n\x01a".to_vec(), deep].concat();
        assert_eq!(&*to_json(&whole), whole);
    }

    fn length(length: usize) -> Vec<u8> {
        let byte = (length & 0x7f) as u8;
        if length < 0x80 {
            vec![byte]
        } else {
            [vec![byte | 0x80], self::length(length >> 7)].concat()
        }
    }
}
