//! YAML scalars. The type of a plain (unquoted) scalar depends on its reader: see [`Dialect`].

/// A scalar, as written in the source.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// The text, without quotes and escapes.
    pub text: String,
    /// Neither quoted nor tagged, so it may be a number, a boolean or null.
    pub is_plain: bool,
    /// The position of a literal block (`|`), if it is one.
    pub block: Option<Block>,
}

/// The position of a literal block's content. Its lines are those of the source without the indentation.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// The line of its first line, from 1.
    pub first_line: usize,
    /// How many columns the source has before each of its lines.
    pub indentation: usize,
}

/// The reader of a document, which decides the types of plain scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// JSON: numbers, booleans and null of RFC 8259.
    Json,
    /// Envoy: YAML 1.1 without fractions. `on` and `y` are booleans, `0123` is 83, `1e3` is a string.
    Envoy,
    /// Kubernetes: YAML 1.1.
    Kubernetes,
}

/// A string as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Scalar {
    /// The scalar as JSON.
    pub fn to_json(&self, dialect: Dialect) -> String {
        let text = self.text.as_str();
        if !self.is_plain {
            return quoted(text);
        }
        if dialect == Dialect::Json {
            return text.to_owned();
        }
        plain(text, dialect).unwrap_or_else(|| quoted(text))
    }
}

/// A plain scalar as JSON if this reader takes it for something else than a string. It is not for JSON.
pub fn plain(text: &str, dialect: Dialect) -> Option<String> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Some("null".into());
    }
    if let Some(value) = boolean(text) {
        return Some(value.to_string());
    }
    if dialect == Dialect::Kubernetes {
        return kubernetes_number(text);
    }
    // Envoy reads all other numbers as strings.
    let number = i32::try_from(integer(text)?).ok()?;
    Some(number.to_string())
}

/// A number as go.yaml.in/yaml/v2 reads it: `1_000`, `0b11` and `0o17` are numbers, too.
fn kubernetes_number(text: &str) -> Option<String> {
    if text.starts_with('.') {
        return fraction(text);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) {
        return None;
    }
    let text = text.replace('_', "");
    match integer_of_go(&text).or_else(|| integer(&text)) {
        Some(number) => Some(number.to_string()),
        None => fraction(&text),
    }
}

/// A binary or octal integer as Go writes it.
fn integer_of_go(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    let (radix, digits) = match digits.get(..2)? {
        "0b" | "0B" => (2, digits.get(2..)?),
        "0o" | "0O" => (8, digits.get(2..)?),
        _ => return None,
    };
    unsigned(digits, radix).map(|number| sign * number)
}

/// A boolean of YAML 1.1, in lower case, in upper case, or capitalized.
fn boolean(text: &str) -> Option<bool> {
    let mut tail = text.chars();
    let head = tail.next()?;
    let is_lower = text.chars().all(|c| c.is_ascii_lowercase());
    let is_upper = text.chars().all(|c| c.is_ascii_uppercase());
    let is_capital = head.is_ascii_uppercase() && tail.all(|c| c.is_ascii_lowercase());
    if !(is_lower || is_upper || is_capital) {
        return None;
    }
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// An integer: decimal, hexadecimal after `0x`, or octal after `0`.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let octal = digits.strip_prefix('0').filter(|digits| !digits.is_empty());
    let (digits, radix) = match (hexadecimal, octal) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (digits, 10),
    };
    unsigned(digits, radix).map(|number| sign * number)
}

/// The sign, and what is after it.
fn signed(text: &str) -> (i64, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn unsigned(digits: &str, radix: u32) -> Option<i64> {
    // `from_str_radix` would accept a second sign.
    let has_only_digits = digits.chars().all(|c| c.is_digit(radix));
    i64::from_str_radix(digits, radix).ok().filter(|_| has_only_digits)
}

/// A number with a fraction or an exponent, as JSON writes it.
fn fraction(text: &str) -> Option<String> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    let number: f64 = text.parse().ok().filter(|_| is_number)?;
    serde_json::Number::from_f64(number).map(|number| number.to_string())
}
