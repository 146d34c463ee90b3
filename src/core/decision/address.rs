//! The client's address, as Envoy determined it.

use std::net::{IpAddr, SocketAddr};
use std::str;

use crate::config::ClientIp;

/// The client's address, by how Envoy got it (the property `source.address`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceAddress {
    /// Envoy has no IP address, for example because the connection came over a Unix domain socket.
    Unknown,
    /// The address of the connection, or the one in its PROXY protocol line.
    Peer(IpAddr),
    /// An address from a header: `X-Forwarded-For`, which any client can write without `use_remote_address`, or a header that an Envoy
    /// extension reads. Envoy sets the port of such an address to 0. A PROXY protocol line with port 0 looks the same.
    Forwarded(IpAddr),
}

impl SourceAddress {
    /// Parses `192.0.2.1:443` or `[2001:db8::1]:443`, the two forms of the property. Any other bytes are [`SourceAddress::Unknown`].
    pub fn parse(property: &[u8]) -> SourceAddress {
        let text = str::from_utf8(property).ok();
        match text.and_then(|text| text.parse::<SocketAddr>().ok()) {
            None => SourceAddress::Unknown,
            Some(address) if address.port() == 0 => SourceAddress::Forwarded(address.ip()),
            Some(address) => SourceAddress::Peer(address.ip()),
        }
    }

    /// The address, if `client_ip` trusts where it comes from.
    pub fn trusted(self, client_ip: ClientIp) -> Option<IpAddr> {
        match (self, client_ip) {
            (SourceAddress::Peer(address), ClientIp::Peer | ClientIp::ForwardedOrPeer)
            | (SourceAddress::Forwarded(address), ClientIp::Forwarded | ClientIp::ForwardedOrPeer) => Some(address),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_a_port() {
        for (property, peer, forwarded) in [
            ("192.0.2.1:443", Some("192.0.2.1"), None),
            ("192.0.2.1:0", None, Some("192.0.2.1")),
            ("[2001:db8::1]:443", Some("2001:db8::1"), None),
            ("[::ffff:10.0.0.5]:0", None, Some("::ffff:10.0.0.5")),
            ("192.0.2.1", None, None),
            ("2001:db8::1", None, None),
            ("010.0.0.1:443", None, None),
            ("/run/client.sock", None, None),
            ("", None, None),
        ] {
            let address = SourceAddress::parse(property.as_bytes());
            let parsed = |text: Option<&str>| text.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(address.trusted(ClientIp::Peer), parsed(peer), "{property}");
            assert_eq!(address.trusted(ClientIp::Forwarded), parsed(forwarded), "{property}");
            let either = parsed(peer.or(forwarded));
            assert_eq!(address.trusted(ClientIp::ForwardedOrPeer), either, "{property}");
        }
        assert_eq!(SourceAddress::parse(b"\xff:1"), SourceAddress::Unknown);
    }
}
