//! Addresses and networks that share most of their bits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::Generator;
use crate::spec::decision::strings;

const OCTETS: [u8; 6] = [0, 1, 10, 127, 128, 255];
const GROUPS: [u16; 5] = [0, 1, 0xff, 0x2001, 0xffff];

impl Generator {
    fn v4(&mut self) -> [u8; 4] {
        std::array::from_fn(|_| OCTETS[self.0.usize(..OCTETS.len())])
    }

    fn v6(&mut self) -> [u16; 8] {
        std::array::from_fn(|at| {
            if at == 0 || at > 5 || self.one_in(4) {
                GROUPS[self.0.usize(..GROUPS.len())]
            } else {
                0
            }
        })
    }

    /// Some address, mapped ones included.
    pub fn address(&mut self) -> IpAddr {
        match self.0.u32(..5) {
            0 => Ipv4Addr::from(self.v4()).to_ipv6_mapped().into(),
            1 => Ipv6Addr::from(self.v6()).into(),
            _ => Ipv4Addr::from(self.v4()).into(),
        }
    }

    /// A network without host bits, and not in the mapped form.
    pub fn network(&mut self) -> String {
        if self.one_in(4) {
            let bits = self.0.u32(..=128);
            let address = u128::from(Ipv6Addr::from(self.v6()));
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let first = Ipv6Addr::from(address & mask);
            if first.to_ipv4_mapped().is_none() {
                return format!("{first}/{bits}");
            }
        }
        let bits = self.0.u32(..=32);
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let first = Ipv4Addr::from(u32::from_be_bytes(self.v4()) & mask);
        if bits == 32 && self.0.bool() {
            first.to_string()
        } else {
            format!("{first}/{bits}")
        }
    }

    /// A network, or what one might take for it.
    pub fn network_text(&mut self) -> String {
        const ODD: [&str; 16] = [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "::/256",
            "::ffff:10.0.0.0/104",
            "::ffff:0:0/96",
            "::fffe:0:0/95",
            "fe80::%eth0/64",
            "2001:db8::1/32",
        ];
        if self.one_in(8) {
            return self.pick(&ODD).to_owned();
        }
        let network = self.network();
        if self.one_in(4) {
            self.misspell(&network)
        } else {
            network
        }
    }

    /// An address near the network, or what one might take for it.
    pub fn address_text(&mut self, network: &str) -> String {
        const ODD: [&str; 16] = [
            "",
            "010.0.0.1",
            "10.1",
            "167772161",
            "0x0a.0.0.1",
            "10.0.0.256",
            "::FFFF:10.0.0.1",
            "::ffff:a00:1",
            "0:0:0:0:0:FFFF:10.0.0.1",
            "1::10.0.0.1",
            "::10.0.0.1",
            "1:2:3:4:5:6:7::",
            "1:2:3:4:5:6:7:8:9",
            ":::",
            "fe80::1%eth0",
            "00001::",
        ];
        if self.one_in(8) {
            return self.pick(&ODD).to_owned();
        }
        let address = self.address_near(network).to_string();
        match self.0.u32(..8) {
            0 | 1 => self.misspell(&address),
            2 => address.to_uppercase(),
            _ => address,
        }
    }

    /// The first address of a network or one bit off it; where it is no network, any address.
    fn address_near(&mut self, network: &str) -> IpAddr {
        let first = network.split('/').next().and_then(|first| first.parse().ok());
        match first.filter(|_| !self.one_in(4)).unwrap_or_else(|| self.address()) {
            IpAddr::V4(address) if self.one_in(2) => {
                Ipv4Addr::from_bits(address.to_bits() ^ 1 << self.0.u32(..32)).into()
            }
            IpAddr::V6(address) if self.one_in(2) => {
                Ipv6Addr::from_bits(address.to_bits() ^ 1 << self.0.u32(..128)).into()
            }
            address => address,
        }
    }

    fn misspell(&mut self, text: &str) -> String {
        const ODD: &[u8] = b"0123456789abfx.:/%+- []";
        let mut bytes = text.as_bytes().to_vec();
        let at = self.0.usize(..bytes.len());
        match self.0.u32(..3) {
            0 => bytes.insert(at, ODD[self.0.usize(..ODD.len())]),
            1 => bytes[at] = ODD[self.0.usize(..ODD.len())],
            _ => drop(bytes.remove(at)),
        }
        String::from_utf8(bytes).unwrap()
    }

    pub fn source(&mut self, access: &Value) -> Option<String> {
        let port = self.pick(&["0", "1", "50000"]);
        let networks = strings(&access["allowed_ips"]);
        let network = if networks.is_empty() { "" } else { self.pick(&networks) };
        match self.address_near(network) {
            _ if self.one_in(16) => None,
            address if self.one_in(16) => Some(address.to_string()),
            _ if self.one_in(32) => Some("/run/client.sock".to_owned()),
            IpAddr::V4(address) if self.one_in(8) => Some(format!("[{}]:{port}", address.to_ipv6_mapped())),
            IpAddr::V4(address) => Some(format!("{address}:{port}")),
            IpAddr::V6(address) => Some(format!("[{address}]:{port}")),
        }
    }
}
