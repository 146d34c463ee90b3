//! The proxy-wasm ABI's encoding of a header map, read in place.
//!
//! It is the number of headers, the sizes of all names and values, then each name and value followed by a NUL. Numbers are 32-bit
//! little-endian.

/// An iterator over the names and values of an encoded map, in order.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'m> {
    sizes: &'m [u8],
    data: &'m [u8],
}

impl<'m> Pairs<'m> {
    /// Reads an encoded map. `None` if the encoding is invalid: a decision on some of the headers could miss a second API key. An empty
    /// buffer is an empty map.
    pub fn of(map: &'m [u8]) -> Option<Pairs<'m>> {
        let (count, rest) = match map {
            [] => (0, map),
            _ => split_u32(map)?,
        };
        let (sizes, data) = rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(8)?)?;
        let texts = sizes
            .as_chunks()
            .0
            .iter()
            .map(|size| u64::from(u32::from_le_bytes(*size)) + 1);
        let is_whole = texts.sum::<u64>() == data.len() as u64;
        is_whole.then_some(Pairs { sizes, data })
    }
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn split_text(data: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let (text, rest) = data.split_at_checked(usize::try_from(size).ok()?)?;
    Some((text, rest.get(1..)?))
}

impl<'m> Iterator for Pairs<'m> {
    type Item = (&'m [u8], &'m [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_size, rest) = split_u32(self.sizes)?;
        let (value_size, sizes) = split_u32(rest)?;
        let (name, rest) = split_text(self.data, name_size)?;
        let (value, data) = split_text(rest, value_size)?;
        *self = Pairs { sizes, data };
        Some((name, value))
    }
}

/// Encodes names and values for the host.
pub fn encode(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let text_size: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut map = Vec::with_capacity(4 + 8 * headers.len() + text_size);
    map.extend(u32::try_from(headers.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in headers {
        map.extend(size(name));
        map.extend(size(value));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        map.extend_from_slice(text);
        map.push(0);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_headers_are_read_back() {
        let headers = [("a", "b"), ("", ""), ("name", "v\0\u{ff}")].map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let map = encode(&headers);
        let read: Vec<_> = Pairs::of(&map).unwrap().collect();
        assert_eq!(read, headers);
    }

    #[test]
    fn a_map_that_is_cut_off_or_too_long_is_invalid() {
        let map = encode(&[(b"a", b"b"), (b"c", b"d")]);
        for length in 1..map.len() {
            assert!(Pairs::of(&map[..length]).is_none(), "{length} bytes");
        }
        assert!(Pairs::of(&[&map[..], b"\0"].concat()).is_none());
        assert!(Pairs::of(&[0xff; 64]).is_none());
        assert_eq!(Pairs::of(b"").unwrap().count(), 0);
    }
}
