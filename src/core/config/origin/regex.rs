//! Regular expressions in place of origin patterns: how to recognize one, and how to write it as a pattern with wildcards.

/// Parts of regular expressions that nobody writes in an origin by mistake.
const MARKS: [&str; 11] = [
    "|", r"\.", r"\/", r"\d", r"\w", ".+", "[^", "[a-z", "[0-9", "(?", "s?://",
];

/// Whether `text`, which is not an origin pattern, was probably meant as a regular expression.
pub fn is_likely(text: &str) -> bool {
    let text = text.trim();
    // After a name or a star the dot may be meant as one: `a.*.yourapp.com`.
    let has_any = text.match_indices(".*").any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || before == '*')
    });
    has_any || text.starts_with('^') || text.ends_with('$') || MARKS.iter().any(|mark| text.contains(mark))
}

/// Marks a literal dot during the rewriting, so that it is not taken for the dot that matches any character.
const DOT: &str = "\u{1}";
/// Marks a class of characters. Only a repeated one becomes a wildcard; no pattern has the same meaning as a single one.
const CLASS: &str = "\u{2}";

/// Parts of regular expressions and their replacements, applied in this order.
#[rustfmt::skip]
const REWRITES: [(&str, &str); 21] = [
    (r"\.", DOT), ("[.]", DOT), (r"\/", "/"), (r"\-", "-"), ("s?://", "s://"),
    ("[a-zA-Z0-9_-]", CLASS), ("[a-zA-Z0-9-]", CLASS), ("[a-z0-9_-]", CLASS), ("[a-z0-9-]", CLASS), ("[a-z0-9]", CLASS),
    ("[a-z]", CLASS), ("[0-9]", CLASS), ("[^./]", CLASS), ("[^.]", CLASS), ("[^/]", CLASS), (r"\w", CLASS), (r"\d", CLASS),
    (".*", "*"), (".+", "*"), ("\u{2}+", "*"), (DOT, "."),
];

/// Returns the regular expression with its parts replaced by wildcards. The result may not be a pattern; the caller has to parse it.
pub fn as_wildcards(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = text.strip_suffix('$').unwrap_or(text);
    REWRITES
        .iter()
        .fold(text.to_owned(), |text, (regex, plain)| text.replace(regex, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_becomes_a_pattern() {
        for (text, expected) in [
            (r"^https://.*\.yourapp\.com$", "https://*.yourapp.com"),
            (r"https://.*.yourapp.com", "https://*.yourapp.com"),
            (r"https://[a-z0-9-]+\.yourapp\.com", "https://*.yourapp.com"),
            (r"https://app-[^.]+-team\.vercel\.app", "https://app-*-team.vercel.app"),
            (r"^https?:\/\/yourapp\.com$", "https://yourapp.com"),
            (r"https?://yourapp.com", "https://yourapp.com"),
            (r"http://localhost:\d+", "http://localhost:*"),
            (r"https://app[0-9]x.yourapp.com", "https://app\u{2}x.yourapp.com"),
        ] {
            assert!(is_likely(text), "{text}");
            assert_eq!(as_wildcards(text), expected, "{text}");
        }
        for text in [
            "https://your$app.com",
            "https://yourapp.com/",
            "yourapp.com",
            "https://[::1",
            r"https://a.com\b",
            "https://a.*.yourapp.com",
        ] {
            assert!(!is_likely(text), "{text}");
        }
    }
}
