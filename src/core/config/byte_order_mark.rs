//! Byte order marks at the beginning of a text.

/// Removes a byte order mark of UTF-8. Some editors and PowerShell write one, and parsers of JSON may ignore it (RFC 8259, section 8.1).
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// Whether the text begins with a byte order mark of UTF-16.
pub fn is_utf16(text: &[u8]) -> bool {
    text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF")
}
