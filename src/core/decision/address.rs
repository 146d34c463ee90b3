//! The client's address, as Envoy determined it.

use std::net::{IpAddr, SocketAddr};
use std::str;

use crate::config::ClientIp;

/// The property `source.address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceAddress {
    /// There is none, or none with an IP address (a Unix domain socket).
    Unknown,
    /// Of the connection, or of the PROXY protocol.
    Peer(IpAddr),
    /// From a header, for Envoy leaves its port at 0: from `X-Forwarded-For`, which without `use_remote_address` any client can write,
    /// or from one that an extension of Envoy's reads. A PROXY protocol line with port 0 looks the same.
    Forwarded(IpAddr),
}

impl SourceAddress {
    /// Reads `192.0.2.1:443` or `[2001:db8::1]:443`.
    pub fn parse(property: &[u8]) -> SourceAddress {
        let text = str::from_utf8(property).ok();
        match text.and_then(|text| text.parse::<SocketAddr>().ok()) {
            None => SourceAddress::Unknown,
            Some(address) if address.port() == 0 => SourceAddress::Forwarded(address.ip()),
            Some(address) => SourceAddress::Peer(address.ip()),
        }
    }

    /// The address, where the policy believes it.
    pub fn known(self, client_ip: ClientIp) -> Option<IpAddr> {
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
            assert_eq!(address.known(ClientIp::Peer), parsed(peer), "{property}");
            assert_eq!(address.known(ClientIp::Forwarded), parsed(forwarded), "{property}");
            let either = parsed(peer.or(forwarded));
            assert_eq!(address.known(ClientIp::ForwardedOrPeer), either, "{property}");
        }
        assert_eq!(SourceAddress::parse(b"\xff:1"), SourceAddress::Unknown);
    }
}
