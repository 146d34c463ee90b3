//! JSON as RFC 8259 writes it, with every member of an object, so that a name that comes twice is seen.

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// A double (RFC 8259, section 6). Taken: a number beyond them is not JSON that can be read.
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// So many lists and objects may be open at once. Taken: what serde_json reads.
pub const DEPTH: usize = 127;

/// `None`: not JSON.
pub fn parse(bytes: &[u8]) -> Option<Json> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: text, open: 0 };
    let value = reader.value()?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
    open: usize,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether `token` is next, after white space; if so it is taken.
    fn takes(&mut self, token: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Option<Json> {
        if self.takes("null") {
            Some(Json::Null)
        } else if self.takes("true") {
            Some(Json::Bool(true))
        } else if self.takes("false") {
            Some(Json::Bool(false))
        } else if self.takes("\"") {
            self.text().map(Json::Text)
        } else if self.takes("[") {
            self.items("]", Self::value).map(Json::List)
        } else if self.takes("{") {
            self.items("}", Self::member).map(Json::Object)
        } else {
            self.number()
        }
    }

    fn member(&mut self) -> Option<(String, Json)> {
        let name = self.takes("\"").then(|| self.text())??;
        self.takes(":").then(|| self.value())?.map(|value| (name, value))
    }

    /// What stands between brackets, the first of which was taken.
    fn items<T>(&mut self, end: &str, item: fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.open += 1;
        let mut items = Vec::new();
        if self.open > DEPTH {
            return None;
        }
        if !self.takes(end) {
            items.push(item(self)?);
            while self.takes(",") {
                items.push(item(self)?);
            }
            if !self.takes(end) {
                return None;
            }
        }
        self.open -= 1;
        Some(items)
    }

    /// The rest of a string, the first quote of which was taken. Half of a surrogate pair is no text.
    fn text(&mut self) -> Option<String> {
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = self.next()?;
            match c {
                '"' => return String::from_utf16(&units).ok(),
                '\\' => units.push(match self.next()? {
                    '"' => 0x22,
                    '\\' => 0x5c,
                    '/' => 0x2f,
                    'b' => 0x08,
                    'f' => 0x0c,
                    'n' => 0x0a,
                    'r' => 0x0d,
                    't' => 0x09,
                    'u' => {
                        let digits: Option<String> = (0..4).map(|_| self.next()).collect();
                        let digits = digits.filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))?;
                        u16::from_str_radix(&digits, 16).ok()?
                    }
                    _ => return None,
                }),
                c if c < ' ' => return None,
                c => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn number(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let plain = number.strip_prefix('-').unwrap_or(number);
        let (plain, exponent) = match plain.split_once(['e', 'E']) {
            Some((plain, exponent)) => (plain, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
            None => (plain, "0"),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = are_digits(whole)
            && are_digits(fraction)
            && are_digits(exponent)
            && (whole == "0" || !whole.starts_with('0'));
        let number: f64 = is_number.then(|| number.parse().ok())??;
        number.is_finite().then_some(Json::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH, Json, parse};

    #[test]
    fn reads_what_serde_json_reads() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let (deepest, too_deep) = (nested(DEPTH), nested(DEPTH + 1));
        let cases: &[&[u8]] = &[
            b"",
            b" ",
            b" null\n",
            b"nul",
            b"nulll",
            b"true",
            b"True",
            b"0",
            b"-0",
            b"-",
            b"+1",
            b"01",
            b"-01",
            b"1.",
            b".5",
            b"1.5",
            b"1e5",
            b"1E+05",
            b"1e",
            b"1e-",
            b"1.e5",
            b"1-1",
            b"0x1",
            b"NaN",
            b"1 2",
            b"9223372036854775808",
            b"18446744073709551616",
            b"1e300",
            b"\"\"",
            b"\"a",
            b"\"a\nb\"",
            b"\"\x7f\"",
            b"\"\\u0041\\n\\/\"",
            b"\"\\u004\"",
            b"\"\\u+041\"",
            b"\"\\x41\"",
            b"\"\\ud83d\\ude00\"",
            b"\"\\ud83d\"",
            b"\"\\ude00\\ud83d\"",
            b"\"\\ud83da\"",
            b"\"\xff\"",
            b"\"\xed\xa0\x80\"",
            b"\xef\xbb\xbf{}",
            b"\xc2\xa0{}",
            b"[]",
            b"[ ]",
            b"[1,]",
            b"[,1]",
            b"[1 2]",
            b"[1",
            b"{}",
            b"{\"a\":1}",
            b"{\"a\":1,}",
            b"{\"a\"}",
            b"{a:1}",
            b"{'a':1}",
            b"{\"a\" : [ { } , \"\" ] }",
            b"{} {}",
            b"{}}",
            b"/**/{}",
            deepest.as_bytes(),
            too_deep.as_bytes(),
        ];
        for case in cases {
            let theirs = serde_json::from_slice::<serde_json::Value>(case);
            let text = case.escape_ascii();
            assert_eq!(parse(case).is_some(), theirs.is_ok(), "{text}");
            if let (Some(Json::Number(own)), Ok(theirs)) = (parse(case), &theirs) {
                assert_eq!(Some(own), theirs.as_f64(), "{text}");
            }
            if let (Some(Json::Text(own)), Ok(theirs)) = (parse(case), &theirs) {
                assert_eq!(Some(&*own), theirs.as_str(), "{text}");
            }
        }
        // serde_json has no number for it.
        assert_eq!(parse(b"-1e999"), None);
        let twice = parse(br#"{"a":1,"\u0061":2}"#);
        let members = ["a", "a"].into_iter().zip([1.0, 2.0]);
        let members = members.map(|(name, number)| (name.to_owned(), Json::Number(number)));
        assert_eq!(twice, Some(Json::Object(members.collect())));
    }
}
