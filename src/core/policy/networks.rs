//! A list of networks as sorted ranges, so that an address is looked up in the logarithm of their number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sorted::sorted;
use crate::config::network::Network;

/// The addresses that any network of a list has. IPv4 and IPv6 are apart: `::/0` has no IPv4 address.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Networks {
    v4: Ranges<Ipv4Addr>,
    v6: Ranges<Ipv6Addr>,
}

/// The first and the last address of each network, sorted and disjoint. Two networks are either disjoint or one contains the other; then
/// only the larger one is here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges<A>(Box<[(A, A)]>);

impl<A> Default for Ranges<A> {
    fn default() -> Self {
        Ranges(Box::default())
    }
}

impl<A: Ord + Copy> Ranges<A> {
    fn new(ranges: Vec<(A, A)>) -> Self {
        let mut merged: Vec<(A, A)> = Vec::with_capacity(ranges.len());
        for (first, last) in sorted(ranges) {
            match merged.last_mut() {
                Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged.into())
    }

    fn find(&self, address: A) -> Option<(A, A)> {
        let after = self.0.partition_point(|&(first, _)| first <= address);
        let candidate = after.checked_sub(1).and_then(|index| self.0.get(index));
        candidate.copied().filter(|&(_, last)| address <= last)
    }
}

impl Networks {
    /// Of a list of networks, in any order and however they overlap.
    pub fn new(networks: &[Network]) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.range() {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first, last)),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first, last)),
                _ => {}
            }
        }
        Networks {
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
        }
    }

    /// Whether the list was empty: then no address is checked.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }

    /// The network of the list that contains `address`; where several do, the largest. An IPv4-mapped IPv6 address is the IPv4 address
    /// (RFC 4291, section 2.5.5.2).
    pub fn find(&self, address: IpAddr) -> Option<Network> {
        let (first, last) = match address.to_canonical() {
            IpAddr::V4(address) => into_addresses(self.v4.find(address)?),
            IpAddr::V6(address) => into_addresses(self.v6.find(address)?),
        };
        Some(Network::between(first, last))
    }
}

fn into_addresses<A: Into<IpAddr>>((first, last): (A, A)) -> (IpAddr, IpAddr) {
    (first.into(), last.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_networks_only() {
        let all: &[&str] = &[
            "192.168.1.0/24",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "203.0.113.7",
            "2001:db8::/32",
            "::1",
        ];
        for (networks, address, found) in [
            (all, "192.168.1.0", Some("192.168.1.0/24")),
            (all, "192.168.1.255", Some("192.168.1.0/24")),
            (all, "192.168.0.255", None),
            (all, "192.168.2.0", None),
            (all, "10.1.2.3", Some("10.0.0.0/8")),
            (all, "10.255.255.255", Some("10.0.0.0/8")),
            (all, "11.0.0.0", None),
            (all, "9.255.255.255", None),
            (all, "203.0.113.7", Some("203.0.113.7/32")),
            (all, "203.0.113.8", None),
            (all, "0.0.0.0", None),
            (all, "255.255.255.255", None),
            (all, "2001:db8::1", Some("2001:db8::/32")),
            (all, "2001:db9::", None),
            (all, "::1", Some("::1/128")),
            (all, "::2", None),
            (all, "::ffff:10.0.0.5", Some("10.0.0.0/8")),
            (all, "::ffff:11.0.0.5", None),
            (&["::/0"], "10.0.0.1", None),
            (&["::/0"], "::ffff:10.0.0.1", None),
            (&["::/0"], "2001:db8::1", Some("::/0")),
            (&["0.0.0.0/0"], "::ffff:10.0.0.1", Some("0.0.0.0/0")),
            (&["0.0.0.0/0"], "::1", None),
            (&["10.0.0.0/9", "10.128.0.0/9"], "10.128.0.0", Some("10.128.0.0/9")),
            (&["10.0.0.0/9", "10.0.0.0/8"], "10.128.0.0", Some("10.0.0.0/8")),
            (&[], "10.0.0.1", None),
        ] {
            let parsed: Vec<Network> = networks.iter().map(|text| Network::parse(text).unwrap()).collect();
            let network = Networks::new(&parsed).find(address.parse().unwrap());
            let network = network.map(|network| network.to_string());
            assert_eq!(network.as_deref(), found, "{address} in {networks:?}");
        }
    }

    #[test]
    fn a_list_of_any_family_is_not_empty() {
        for (networks, empty) in [
            (&[][..], true),
            (&["10.0.0.0/8"], false),
            (&["2001:db8::/32"], false),
            (&["10.0.0.0/8", "2001:db8::/32"], false),
        ] {
            let parsed: Vec<Network> = networks.iter().map(|text| Network::parse(text).unwrap()).collect();
            assert_eq!(Networks::new(&parsed).is_empty(), empty, "{networks:?}");
        }
    }
}
