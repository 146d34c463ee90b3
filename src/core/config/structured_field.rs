//! A parser of structured fields (RFC 9651), as far as security headers need it: dictionaries and items, in which only tokens and
//! strings are distinguished.

/// A bare item (section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare<'t> {
    /// A token: a word without quotes.
    Token(&'t str),
    /// A string in double quotes.
    Text,
    /// A number, a boolean, a date, a byte sequence or a display string.
    Other,
}

/// A member of a dictionary: its key, and the items of its inner list, or its single item.
pub type Member<'t> = (&'t str, Vec<Bare<'t>>);

/// Parses a dictionary (section 4.2.2). Returns `None` if it is malformed; browsers then ignore the whole field.
pub fn dictionary(text: &str) -> Option<Vec<Member<'_>>> {
    let mut cursor = Cursor(text.trim_matches(' '));
    let mut members = Vec::new();
    while !cursor.0.is_empty() {
        let key = cursor.key()?;
        let items = if cursor.take('=') {
            cursor.item_or_inner_list()?
        } else {
            cursor.parameters()?;
            vec![Bare::Other]
        };
        members.push((key, items));
        cursor.skip([' ', '\t']);
        if cursor.0.is_empty() {
            break;
        }
        cursor.expect(',')?;
        cursor.skip([' ', '\t']);
        if cursor.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// Parses an item (section 4.2.3) and drops its parameters. Returns `None` if it is malformed; browsers then ignore the whole field.
pub fn item(text: &str) -> Option<Bare<'_>> {
    let mut cursor = Cursor(text.trim_matches(' '));
    let item = cursor.item()?;
    cursor.0.is_empty().then_some(item)
}

/// The rest of the text. Each method parses from its beginning and removes what it has parsed.
struct Cursor<'t>(&'t str);

impl<'t> Cursor<'t> {
    fn take(&mut self, expected: char) -> bool {
        let rest = self.0.strip_prefix(expected);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, expected: char) -> Option<()> {
        self.take(expected).then_some(())
    }

    fn skip<const N: usize>(&mut self, skipped: [char; N]) {
        self.0 = self.0.trim_start_matches(skipped);
    }

    /// The longest word whose first character `begins` accepts, and each other one `goes_on`. `None` if the first does not fit.
    fn word(&mut self, begins: fn(char) -> bool, goes_on: fn(char) -> bool) -> Option<&'t str> {
        let text = self.0;
        text.chars().next().filter(|first| begins(*first))?;
        let end = text
            .char_indices()
            .skip(1)
            .find(|(_, c)| !goes_on(*c))
            .map_or(text.len(), |(at, _)| at);
        let (word, rest) = text.split_at_checked(end)?;
        self.0 = rest;
        Some(word)
    }

    fn key(&mut self) -> Option<&'t str> {
        self.word(
            |c| c.is_ascii_lowercase() || c == '*',
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '*'),
        )
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(';') {
            self.skip([' ']);
            self.key()?;
            if self.take('=') {
                self.bare()?;
            }
        }
        Some(())
    }

    fn item(&mut self) -> Option<Bare<'t>> {
        let bare = self.bare()?;
        self.parameters()?;
        Some(bare)
    }

    fn item_or_inner_list(&mut self) -> Option<Vec<Bare<'t>>> {
        if !self.take('(') {
            return Some(vec![self.item()?]);
        }
        let mut items = Vec::new();
        loop {
            self.skip([' ']);
            if self.take(')') {
                self.parameters()?;
                return Some(items);
            }
            items.push(self.item()?);
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    fn bare(&mut self) -> Option<Bare<'t>> {
        match self.0.chars().next()? {
            '"' => self.text().map(|()| Bare::Text),
            '*' | 'a'..='z' | 'A'..='Z' => self.token().map(Bare::Token),
            '-' | '0'..='9' => self.number().map(|()| Bare::Other),
            '?' => {
                self.expect('?')?;
                (self.take('0') || self.take('1')).then_some(Bare::Other)
            }
            '@' => {
                self.expect('@')?;
                let digits = self.0.strip_prefix('-').unwrap_or(self.0);
                self.number()?;
                let read = digits.len().saturating_sub(self.0.len());
                digits
                    .get(..read)
                    .is_some_and(|number| !number.contains('.'))
                    .then_some(Bare::Other)
            }
            ':' => {
                self.expect(':')?;
                let (bytes, rest) = self.0.split_once(':')?;
                self.0 = rest;
                is_base64(bytes).then_some(Bare::Other)
            }
            '%' => {
                self.expect('%')?;
                self.display_string().map(|()| Bare::Other)
            }
            _ => None,
        }
    }

    fn token(&mut self) -> Option<&'t str> {
        self.word(
            |c| c.is_ascii_alphabetic() || c == '*',
            |c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c),
        )
    }

    fn text(&mut self) -> Option<()> {
        self.expect('"')?;
        let mut is_escaped = false;
        for (at, c) in self.0.char_indices() {
            match (c, is_escaped) {
                ('"', false) => {
                    self.0 = self.0.get(at + 1..)?;
                    return Some(());
                }
                ('\\', false) => is_escaped = true,
                ('"' | '\\', true) => is_escaped = false,
                (_, true) => return None,
                (' '..='~', false) => {}
                _ => return None,
            }
        }
        None
    }

    /// Printable ASCII in which `%` and two lower-case hex digits are a byte of UTF-8 (section 4.2.10).
    fn display_string(&mut self) -> Option<()> {
        self.expect('"')?;
        let (text, rest) = self.0.split_once('"')?;
        self.0 = rest;
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return None;
        }
        let mut pieces = text.split('%');
        let mut decoded: Vec<u8> = pieces.next()?.into();
        for piece in pieces {
            let (digits, rest) = piece.split_at_checked(2)?;
            let is_lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            if !digits.bytes().all(is_lower_hex) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            decoded.extend(rest.bytes());
        }
        std::str::from_utf8(&decoded).ok().map(drop)
    }

    /// At most 15 digits; or at most 12, a point and one to three digits (section 3.3.1 and 3.3.2).
    fn number(&mut self) -> Option<()> {
        self.take('-');
        let number = self.word(|c| c.is_ascii_digit(), |c| c.is_ascii_digit() || c == '.')?;
        match number.split_once('.') {
            None => number.len() <= 15,
            Some((whole, fraction)) => {
                whole.len() <= 12 && (1..=3).contains(&fraction.len()) && !fraction.contains('.')
            }
        }
        .then_some(())
    }
}

/// Whether a byte sequence can be decoded (section 4.2.7), with its padding or without.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let is_whole = padding == 0 || text.len().is_multiple_of(4);
    padding <= 2 && is_whole && digits.len() % 4 != 1 && digits.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries() {
        use Bare::*;
        for (text, expected) in [
            ("", Some(vec![])),
            ("camera=()", Some(vec![("camera", vec![])])),
            (
                "camera=(self \"https://a.example\"), sync-xhr=*",
                Some(vec![
                    ("camera", vec![Token("self"), Text]),
                    ("sync-xhr", vec![Token("*")]),
                ]),
            ),
            (
                "a=( self  src );report-to=main ,\tb",
                Some(vec![("a", vec![Token("self"), Token("src")]), ("b", vec![Other])]),
            ),
            (
                "a=self;b;c=1.5, d=?1",
                Some(vec![("a", vec![Token("self")]), ("d", vec![Other])]),
            ),
            (
                "a=:aGk=:, b=@17, c=%\"x\", d=-1",
                Some(vec![
                    ("a", vec![Other]),
                    ("b", vec![Other]),
                    ("c", vec![Other]),
                    ("d", vec![Other]),
                ]),
            ),
            (
                "a=(https://a.example)",
                Some(vec![("a", vec![Token("https://a.example")])]),
            ),
            ("a=\"b\\\"c\"", Some(vec![("a", vec![Text])])),
            ("camera 'none'; microphone 'none'", None),
            ("camera=('self')", None),
            ("Camera=()", None),
            ("camera=(self", None),
            ("camera=(self)(src)", None),
            ("camera=(self\"https://a.example\")", None),
            ("camera=(),", None),
            ("camera=();", None),
            ("camera=(),,microphone=()", None),
            ("camera: ()", None),
            ("camera=", None),
            ("a=\"b", None),
            ("a=\"\\c\"", None),
            ("a=\"é\"", None),
            ("a=?2", None),
            ("a=1.", None),
            ("a=1.2345", None),
            ("a=1234567890123456", None),
            ("a=@1.5", None),
            ("a=:é:", None),
            ("a=:a:", None),
            ("a=:aGk:", Some(vec![("a", vec![Other])])),
            ("a=:aGkh:", Some(vec![("a", vec![Other])])),
            ("a=:a=Gk:", None),
            ("a=:aG=:", None),
            ("a=:aGkh====:", None),
            ("a=%\"%c3%a9\"", Some(vec![("a", vec![Other])])),
            ("a=%\"%zz\"", None),
            ("a=%\"%C3%A9\"", None),
            ("a=%\"%ff\"", None),
            ("a=%\"%c\"", None),
            ("a=%\"é\"", None),
            ("a=é", None),
            ("é", None),
        ] {
            assert_eq!(dictionary(text), expected, "{text}");
        }
    }

    #[test]
    fn items() {
        for (text, expected) in [
            ("same-origin", Some(Bare::Token("same-origin"))),
            (" same-origin; report-to=\"main\" ", Some(Bare::Token("same-origin"))),
            ("\"same-origin\"", Some(Bare::Text)),
            ("?1", Some(Bare::Other)),
            ("same-origin, unsafe-none", None),
            ("'same-origin'", None),
            ("", None),
        ] {
            assert_eq!(item(text), expected, "{text}");
        }
    }
}
