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

/// Sorted first and last addresses. No range begins before the one in front of it ends.
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

    fn contains(&self, address: A) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= address);
        let candidate = after.checked_sub(1).and_then(|index| self.0.get(index));
        candidate.is_some_and(|&(_, last)| address <= last)
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

    /// Whether a network has the address. An IPv4-mapped IPv6 address is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(address),
            IpAddr::V6(address) => self.v6.contains(address),
        }
    }
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
        for (networks, address, inside) in [
            (all, "192.168.1.0", true),
            (all, "192.168.1.255", true),
            (all, "192.168.0.255", false),
            (all, "192.168.2.0", false),
            (all, "10.1.2.3", true),
            (all, "10.255.255.255", true),
            (all, "11.0.0.0", false),
            (all, "9.255.255.255", false),
            (all, "203.0.113.7", true),
            (all, "203.0.113.8", false),
            (all, "0.0.0.0", false),
            (all, "255.255.255.255", false),
            (all, "2001:db8::1", true),
            (all, "2001:db9::", false),
            (all, "::1", true),
            (all, "::2", false),
            (all, "::ffff:10.0.0.5", true),
            (all, "::ffff:11.0.0.5", false),
            (&["::/0"], "10.0.0.1", false),
            (&["::/0"], "::ffff:10.0.0.1", false),
            (&["0.0.0.0/0"], "::ffff:10.0.0.1", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["10.0.0.0/9", "10.128.0.0/9"], "10.128.0.0", true),
            (&[], "10.0.0.1", false),
        ] {
            let parsed: Vec<Network> = networks.iter().map(|text| Network::parse(text).unwrap()).collect();
            let found = Networks::new(&parsed).contains(address.parse().unwrap());
            assert_eq!(found, inside, "{address} in {networks:?}");
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
