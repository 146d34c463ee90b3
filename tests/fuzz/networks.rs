//! The first line is an address as Envoy gives it, each further one is a network.

#![no_main]

use std::net::IpAddr;

use keyfence_core::config::ClientIp;
use keyfence_core::config::network::Network;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::policy::networks::Networks;
use libfuzzer_sys::fuzz_target;
use reference::spec::addresses;

fuzz_target!(|data: &[u8]| {
    let (source, rest) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    let texts: Vec<&str> = rest
        .split('\n')
        .skip(1)
        .filter(|text| Network::parse(text).is_ok())
        .collect();
    rest.split('\n').for_each(strict);

    let parsed: Vec<Network> = texts.iter().map(|text| Network::parse(text).unwrap()).collect();
    let networks = Networks::new(&parsed);
    assert_eq!(networks.is_empty(), parsed.is_empty());
    for (client_ip, written) in [
        (ClientIp::Peer, "peer"),
        (ClientIp::Forwarded, "forwarded"),
        (ClientIp::ForwardedOrPeer, "forwarded_or_peer"),
    ] {
        let known = SourceAddress::parse(source).trusted(client_ip);
        let text = std::str::from_utf8(source).ok();
        // A zone says which of this machine's links an address was seen on, and nothing of the address.
        let digits = addresses::client(text.filter(|text| !text.contains('%')), written);
        if !source.contains(&b'%') {
            assert_eq!(known.and_then(|known| addresses::digits(&known.to_string())), digits);
        }
        let inside = known.is_some_and(|known| networks.find(known).is_some());
        let expected = digits.is_some_and(|digits| texts.iter().any(|text| addresses::contains(text, &digits)));
        assert!(inside == expected || source.contains(&b'%'), "{texts:?}");
    }
    for (network, text) in parsed.iter().zip(&texts) {
        let (first, last) = network.range();
        assert_eq!(Network::between(first, last), *network);
        for (address, is_inside) in [
            (Some(first), true),
            (Some(last), true),
            (before(first), false),
            (after(last), false),
        ] {
            let Some(address) = address.filter(|address| address.to_canonical() == *address) else {
                continue;
            };
            assert_eq!(
                Networks::new(&[*network]).find(address).is_some(),
                is_inside,
                "{address} in {text}"
            );
            assert_eq!(
                addresses::contains(text, &addresses::digits(&address.to_string()).unwrap()),
                is_inside
            );
        }
    }
});

/// What is accepted has one meaning; what is refused with a help can be fixed.
fn strict(text: &str) {
    match Network::parse(text) {
        Ok(network) => assert_eq!(Network::parse(&network.to_string()), Ok(network)),
        Err(error) => {
            for help in error.suggestion.networks() {
                assert!(Network::parse(help).is_ok(), "{help}");
            }
        }
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_sub(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_sub(1)?.into())),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_add(1)?.into())),
    }
}
