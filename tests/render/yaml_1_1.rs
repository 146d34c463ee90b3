//! A reader of YAML 1.1 as Kubernetes has it: libyaml's parser line by line, which ends lines at U+0085, U+2028 and U+2029, too.

use std::net::Ipv4Addr;

use libyaml_safer::{EventData, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The documents of a text. What readers of YAML 1.1 do not agree on is an error: a plain scalar that may be something else than it
/// looks like, a name that comes twice, an anchor, an alias or a tag.
pub fn read(text: &str) -> Result<Vec<Value>, String> {
    let mut parser = Parser::new();
    parser.set_input(text.as_bytes());
    let mut reader = Reader { parser };
    reader.next()?;
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            EventData::StreamEnd => return Ok(documents),
            EventData::DocumentStart { .. } => {
                let first = reader.next()?;
                documents.push(reader.value(first)?);
                reader.next()?;
            }
            other => return Err(format!("not a document: {other:?}")),
        }
    }
}

struct Reader<'t> {
    parser: Parser<&'t [u8]>,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<EventData, String> {
        let event = self.parser.parse().map_err(|error| error.to_string())?;
        Ok(event.data)
    }

    fn value(&mut self, first: EventData) -> Result<Value, String> {
        match first {
            EventData::Scalar {
                anchor: None,
                tag: None,
                value,
                style: ScalarStyle::Plain,
                ..
            } => plain(&value),
            EventData::Scalar {
                anchor: None,
                tag: None,
                value,
                ..
            } => Ok(value.into()),
            EventData::SequenceStart {
                anchor: None,
                tag: None,
                ..
            } => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        EventData::SequenceEnd => return Ok(items.into()),
                        item => items.push(self.value(item)?),
                    }
                }
            }
            EventData::MappingStart {
                anchor: None,
                tag: None,
                ..
            } => {
                let mut members = Map::new();
                loop {
                    let name = match self.next()? {
                        EventData::MappingEnd => return Ok(members.into()),
                        name => self.value(name)?,
                    };
                    let Value::String(name) = name else {
                        return Err(format!("not a name: {name}"));
                    };
                    let first = self.next()?;
                    let value = self.value(first)?;
                    if members.contains_key(&name) {
                        return Err(format!("twice: {name:?}"));
                    }
                    members.insert(name, value);
                }
            }
            other => Err(format!("not to be rendered: {other:?}")),
        }
    }
}

/// YAML 1.1 has types (yaml.org/type) for what begins with a digit, a sign, a dot, `~`, `<` or `=`, and for the words of booleans.
fn plain(text: &str) -> Result<Value, String> {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    match text {
        "true" => return Ok(true.into()),
        "false" => return Ok(false.into()),
        "null" => return Ok(Value::Null),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let is_word = WORDS.contains(&lower.as_str()) || matches!(lower.as_str(), "true" | "false" | "null");
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_decimal && let Ok(number) = text.parse::<u64>() {
        Ok(number.into())
    } else if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && !is_word || is_no_number(text) {
        Ok(text.into())
    } else {
        Err(format!("ambiguous without quotes: {text:?}"))
    }
}

/// What begins with a digit and is a string to every reader.
fn is_no_number(text: &str) -> bool {
    text.contains(';') || text.parse::<Ipv4Addr>().is_ok()
}
