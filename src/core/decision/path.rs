//! Paths that upstreams may read in more than one way: `/a/../b`, `/a%2Fb`, `/a;b`. No rule of a scope says anything about such a path.

use crate::config::escapes::can_mislead;

/// Whether upstreams may read `path`, without its query, in more than one way.
pub fn is_ambiguous(path: &[u8]) -> bool {
    let mut segment_start = 0;
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            b'\\' | b';' | b'#' => return true,
            _ if !byte.is_ascii_graphic() => return true,
            b'/' => {
                if at > 0 && is_odd_segment(path.get(segment_start..at)) {
                    return true;
                }
                segment_start = at + 1;
            }
            _ => {}
        }
    }
    matches!(path.get(segment_start..), Some(b"." | b"..")) || can_mislead(path)
}

/// A segment that is followed by another: empty, or one that a client or proxy takes out of the path.
fn is_odd_segment(segment: Option<&[u8]>) -> bool {
    matches!(segment, Some(b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_upstreams_read_differently() {
        for (path, ambiguous) in [
            ("/", false),
            ("/v1/a-b_c.d~e/", false),
            ("/v1/...", false),
            ("/a.b/c", false),
            ("/a%20b", false),
            ("/a%25b", false),
            ("/a%", false),
            ("/a%2", false),
            ("*", false),
            ("//", true),
            ("//admin", true),
            ("/a//b", true),
            ("/a//", true),
            ("/.", true),
            ("/..", true),
            ("/./a", true),
            ("/a/../b", true),
            ("/a/..", true),
            ("/a/.", true),
            ("/a%2Fb", true),
            ("/a%2fb", true),
            ("/a%5Cb", true),
            ("/a%5cb", true),
            ("/%2E%2e/", true),
            ("/a%00", true),
            ("/a%252Fb", true),
            ("/a%25252eb", true),
            ("/a%25%32%65", true),
            ("/a%252%65", true),
            ("/a%2%65", true),
            ("/a%%32e", true),
            ("/a%25%32%35%32%66", true),
            ("/a%2%2566", true),
            ("/a%25%35%43", true),
            ("/100%25%20off", false),
            ("/a%25%32", false),
            ("/a%25%", false),
            ("/a%2%6", false),
            ("/a%2%g6", false),
            ("/a%25%32%61", false),
            ("/a%%%33%32e", true),
            ("/a%252525b", false),
            ("/a%25252525b", false),
            ("/a%2525252525b", true),
            ("/a%252525252541", true),
            ("/a%25252541/%f", false),
            ("/a%2525252541/%f", true),
            ("/a%%%", false),
            ("/a\\b", true),
            ("/a;b=c", true),
            ("/..;a=b/c", true),
            ("/a#b", true),
            ("/a b", true),
            ("/\u{e9}", true),
            ("/..%3B/admin", true),
            ("/..%3b/admin", true),
            ("/a%253Bb", true),
            ("/a%25%33%42b", true),
            ("/a%3Fb", true),
            ("/a%253fb", true),
            ("/a%23b", true),
            ("/a%2523b", true),
            ("/a%24b%3Ac%40", false),
            ("/a%0d%0ab", true),
            ("/a%250Ab", true),
            ("/a%09", true),
            ("/..%09/a", true),
            ("/a%1F", true),
            ("/a%7f", true),
            ("/a%257F", true),
            ("/a%c2%85", true),
            ("/a%c2%9f", true),
            ("/a%C2%A0b", false),
            ("/%20/a", false),
            ("/..%20/a", true),
            ("/.%20", true),
            ("/.%20%20/a", true),
            ("/..%2520/a", true),
            ("/..%20%2520", true),
            ("/..%C2%A0/a", true),
            ("/..%E3%80%80", true),
            ("/..%20a/b", false),
            ("/...%20/b", false),
            ("/a..%20/b", false),
            ("/%20../b", false),
            ("/caf%C3%A9", false),
            ("/caf%c3%a9/%E2%82%AC/%F0%9F%98%80", false),
            ("/caf%25C3%25A9", false),
            ("/caf%E9", true),
            ("/caf%25E9", true),
            ("/caf%C3", true),
            ("/caf%C3/%A9", true),
            ("/caf%C3%25A9", true),
            ("/%A9", true),
            ("/%c0%ae%c0%ae/admin", true),
            ("/%25c0%25ae", true),
            ("/%e0%80%ae", true),
            ("/%f0%80%80%ae", true),
            ("/%ED%A0%80", true),
            ("/%F4%8F%BF%BF", false),
            ("/%F4%90%80%80", true),
            ("/%f8%80%80%80%80", true),
            ("/%FF", true),
            ("/%F0%9F%98", true),
            ("/%u002e%u002e/admin", true),
            ("/%U002E", true),
            ("/%u0061", true),
            ("/%u", true),
            ("/%25u002e", true),
            ("/%25u00%32e", true),
            ("/%%75002e", true),
            ("/100%25up", false),
            ("/100%25u00/2e", false),
            ("/100%25u002", false),
            ("/%25%75%25%75002e", true),
        ] {
            assert_eq!(is_ambiguous(path.as_bytes()), ambiguous, "{path}");
        }
        assert!(is_ambiguous(b"/\xff"));
    }

    /// Each escape by itself: what stands alone in UTF-8 and is neither reserved nor a control character.
    #[test]
    fn single_escapes() {
        for byte in 0..=u8::MAX {
            let is_plain = (b' '..0x7f).contains(&byte) && !b"/\\.;?#".contains(&byte);
            for path in [
                format!("/a%{byte:02x}b"),
                format!("/a%25{byte:02X}"),
                format!("/a%2525{byte:02x}/"),
            ] {
                assert_eq!(is_ambiguous(path.as_bytes()), !is_plain, "{path}");
            }
        }
    }

    /// A decoder that looked at what it has read again and again would take minutes.
    #[test]
    fn long_paths_take_linear_time() {
        let start = std::time::Instant::now();
        for part in ["%25", "%", "%2", "%25%", "%2525252525", "%C3%A9", "%u", "%%%32%35"] {
            is_ambiguous(format!("/{}", part.repeat(60_000 / part.len())).as_bytes());
        }
        assert!(
            start.elapsed() < std::time::Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
}
