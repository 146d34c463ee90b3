//! Identifies a client, for the limit of each client of a key.

use std::net::IpAddr;

/// A client of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address: a single customer or machine has at least a network of that size (RFC 6177).
    V6Network([u8; 8]),
    /// The SHA-256 of a scoped token's `sub`.
    Subject([u8; 32]),
    /// All clients whose address is not known count as one.
    Unknown,
}

impl Client {
    /// The client with this address; `None` if it is not known.
    pub fn new(address: Option<IpAddr>) -> Client {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Client::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let network = address.octets().first_chunk().copied();
                network.map_or(Client::Unknown, Client::V6Network)
            }
            None => Client::Unknown,
        }
    }

    /// The kind of the client, and the bytes that identify it among others of its kind.
    pub fn identity(&self) -> (u8, &[u8]) {
        match self {
            Client::Unknown => (0, &[]),
            Client::Subject(digest) => (1, digest),
            Client::V4(address) => (4, address),
            Client::V6Network(network) => (6, network),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_are_one_client() {
        for (name, one, other, expected) in [
            ("an IPv4 address", Some("192.0.2.1"), Some("192.0.2.1"), true),
            ("its neighbour", Some("192.0.2.1"), Some("192.0.2.0"), false),
            ("the mapped form", Some("192.0.2.1"), Some("::ffff:192.0.2.1"), true),
            (
                "another mapped one",
                Some("::ffff:192.0.2.2"),
                Some("::ffff:192.0.2.1"),
                false,
            ),
            (
                "of one /64",
                Some("2001:db8::1"),
                Some("2001:db8::ffff:ffff:ffff:ffff"),
                true,
            ),
            ("of two /64", Some("2001:db8::1"), Some("2001:db8:0:1::1"), false),
            (
                "the compatible form is IPv6",
                Some("::192.0.2.1"),
                Some("192.0.2.1"),
                false,
            ),
            ("unknown", None, None, true),
            ("unknown and 0.0.0.0", None, Some("0.0.0.0"), false),
            ("unknown and ::", None, Some("::"), false),
            (
                "IPv4 and the IPv6 network with its bytes",
                Some("192.0.2.1"),
                Some("c000:201::"),
                false,
            ),
        ] {
            let client = |text: Option<&str>| Client::new(text.map(|text| text.parse().unwrap()));
            let (one, other) = (client(one), client(other));
            assert_eq!(one == other, expected, "{name}");
            assert_eq!(one.identity() == other.identity(), expected, "{name}");
        }
    }
}
