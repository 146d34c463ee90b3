//! Networks in CIDR notation (RFC 4632, RFC 4291). Spellings that programs read in different ways are refused: they have let attackers
//! past address checks.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::node::Node;
use super::read::Read;

/// An IPv4 or IPv6 network: its first address and the length of its prefix in bits. No host bit is set, and an IPv4 network is
/// never in its IPv4-mapped IPv6 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Why a network is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkErrorKind {
    /// Neither an address nor `address/prefix`.
    NotANetwork,
    /// Two addresses with `-` between them.
    Range,
    /// The address has bits set after the prefix.
    HostBits,
    /// A zone (`%eth0`), which has a meaning on one machine only.
    Zone,
    /// Some programs read `010.0.0.1` as 8.0.0.1, others as 10.0.0.1.
    LeadingZeros,
    /// An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`), which is an IPv4 address.
    Mapped,
    /// The prefix is over 32 bits for IPv4, over 128 for IPv6, or not a decimal number.
    BadPrefix,
}

impl NetworkErrorKind {
    /// The reason, as a clause without a full stop.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotANetwork => "a network must be an IPv4 or IPv6 address, with or without /prefix",
            Self::Range => "a range of addresses is not a network",
            Self::HostBits => "bits after the prefix are set",
            Self::Zone => "a zone has a meaning on one machine only",
            Self::LeadingZeros => "some programs read numbers with leading zeros as octal, others as decimal",
            Self::Mapped => "an IPv4-mapped IPv6 address is the IPv4 address",
            Self::BadPrefix => "a prefix must be 0 to 32 for IPv4, and 0 to 128 for IPv6",
        }
    }
}

/// A refused network: the reason, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError {
    /// The reason.
    pub kind: NetworkErrorKind,
    /// The networks that were probably meant.
    pub suggestion: Suggestion,
}

/// The networks that an operator may have meant by a refused one. [`Network::parse`] accepts each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suggestion {
    /// Unknown.
    None,
    /// One network.
    One(String),
    /// Either the address that was written, or the network around it.
    AddressOrNetwork(String, String),
    /// Several networks together.
    All(Vec<String>),
}

impl Suggestion {
    /// All networks that it names.
    pub fn networks(&self) -> Vec<&str> {
        match self {
            Suggestion::None => Vec::new(),
            Suggestion::One(network) => vec![network],
            Suggestion::AddressOrNetwork(address, network) => vec![address, network],
            Suggestion::All(networks) => networks.iter().map(String::as_str).collect(),
        }
    }
}

/// As a clause without a full stop; empty for [`Suggestion::None`].
impl std::fmt::Display for Suggestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Suggestion::None => Ok(()),
            Suggestion::One(network) => write!(f, "write {network:?}"),
            Suggestion::AddressOrNetwork(address, network) => {
                write!(
                    f,
                    "write {address:?} for that address, or {network:?} for the whole network"
                )
            }
            Suggestion::All(networks) => {
                let networks: Vec<String> = networks.iter().map(|network| format!("{network:?}")).collect();
                write!(f, "write {}", networks.join(", "))
            }
        }
    }
}

impl NetworkErrorKind {
    /// The error, with `network` as its suggestion if that is a network itself.
    fn suggest(self, network: impl Into<Option<String>>) -> NetworkError {
        let network: Option<String> = network.into();
        NetworkError {
            kind: self,
            suggestion: network
                .filter(|text| Network::parse(text).is_ok())
                .map_or(Suggestion::None, Suggestion::One),
        }
    }
}

impl Network {
    /// Parses `address` or `address/prefix`. An address without a prefix is the network of that address only.
    pub fn parse(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        if let Some((bare, _)) = address.split_once('%') {
            return Err(NetworkErrorKind::Zone.suggest(with_prefix(bare, prefix)));
        }
        let Ok(parsed) = address.parse::<IpAddr>() else {
            return Err(match (range(text), without_leading_zeros(address)) {
                (Some((first, last)), _) => NetworkError {
                    kind: NetworkErrorKind::Range,
                    suggestion: covering(first, last),
                },
                (None, Some(plain)) => NetworkErrorKind::LeadingZeros.suggest(with_prefix(&plain, prefix)),
                (None, None) => NetworkErrorKind::NotANetwork.suggest(None),
            });
        };
        let prefix = match prefix {
            Some(digits) => prefix_bits(digits, parsed)?,
            None => width(parsed),
        };
        if let IpAddr::V6(address) = parsed
            && let Some(v4) = address.to_ipv4_mapped()
        {
            let suggestion = prefix.checked_sub(96).map(|bits| format!("{v4}/{bits}"));
            return Err(NetworkErrorKind::Mapped.suggest(suggestion));
        }
        let network = Network {
            first: masked(parsed, prefix),
            prefix,
        };
        if network.first != parsed {
            return Err(NetworkError {
                kind: NetworkErrorKind::HostBits,
                suggestion: Suggestion::AddressOrNetwork(alone(parsed).to_string(), network.to_string()),
            });
        }
        Ok(network)
    }

    /// The network with the addresses from `first` to `last`, as [`Network::range`] returns them. If no network has exactly these, the
    /// smallest with both.
    pub fn between(first: IpAddr, last: IpAddr) -> Network {
        let equal_bits = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (u32::from(first) ^ u32::from(last)).leading_zeros(),
            (IpAddr::V6(first), IpAddr::V6(last)) => (u128::from(first) ^ u128::from(last)).leading_zeros(),
            _ => 0,
        };
        let prefix = u8::try_from(equal_bits).unwrap_or(0);
        Network {
            first: masked(first, prefix),
            prefix,
        }
    }

    /// Whether every address of its family is in the network.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// The first and the last address of the network.
    pub fn range(&self) -> (IpAddr, IpAddr) {
        let last = match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first) | !mask_v4(self.prefix))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first) | !mask_v6(self.prefix))),
        };
        (self.first, last)
    }
}

impl<'a> Read<'a> for Network {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, path, diagnostics)?;
        match Network::parse(&text) {
            Ok(network) => {
                if network.is_everything() {
                    diagnostics.add(path, &network, &EveryAddress);
                }
                Some(network)
            }
            Err(error) => {
                diagnostics.add(path, &Node::Text(text), &error);
                None
            }
        }
    }
}

impl DiagnosticKind for NetworkError {
    fn message(&self) -> Message {
        let help = match &self.suggestion {
            Suggestion::None => "write it as in \"192.168.1.0/24\" or \"2001:db8::/32\"".into(),
            suggestion => Cow::Owned(suggestion.to_string()),
        };
        Message::error(self.kind.reason(), help)
    }
}

struct EveryAddress;

impl DiagnosticKind for EveryAddress {
    fn message(&self) -> Message {
        Message::warning(
            "every address is in this network",
            "list the networks, or take allowed_ips out",
        )
    }
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(Network, "Network", _generator => schemars::json_schema!({
    "type": "string",
    "pattern": "^[0-9A-Fa-f.:]+(/[0-9]+)?$",
    "examples": ["192.168.1.0/24", "2001:db8::/32"],
}));

/// `address/prefix`, with the prefix of a single address too.
impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => Ipv4Addr::from(u32::from(a) & mask_v4(prefix)).into(),
        IpAddr::V6(a) => Ipv6Addr::from(u128::from(a) & mask_v6(prefix)).into(),
    }
}

/// The network of one address.
fn alone(address: IpAddr) -> Network {
    Network {
        first: address,
        prefix: width(address),
    }
}

/// Parses `10.0.0.1-10.0.0.9`, `10.0.0.1 - 10.0.0.9` or `10.0.0.1-9` into the first and the last address.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once('-')?;
    let first: IpAddr = first.trim().parse().ok()?;
    let last: IpAddr = match (first, last.trim().parse::<u8>()) {
        (IpAddr::V4(first), Ok(last)) => {
            let [a, b, c, _] = first.octets();
            Ipv4Addr::new(a, b, c, last).into()
        }
        _ => last.trim().parse().ok()?,
    };
    Some((first.to_canonical(), last.to_canonical()))
}

/// The fewest networks that together have exactly the addresses from `first` to `last`. [`Suggestion::None`] if these are not in order
/// or not of one family.
fn covering(first: IpAddr, last: IpAddr) -> Suggestion {
    let (mut next, last, bits) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (u128::from(u32::from(first)), u128::from(u32::from(last)), 32),
        (IpAddr::V6(first), IpAddr::V6(last)) => (u128::from(first), u128::from(last), 128),
        _ => return Suggestion::None,
    };
    let mut networks = Vec::new();
    while next <= last {
        // The largest network that begins at `next` and ends at `last` or before: its host bits are zero bits of `next`.
        let left = last - next;
        let fits = left.checked_add(1).map_or(128, |addresses| addresses.ilog2());
        let host_bits = next.trailing_zeros().min(fits).min(bits);
        let address = match bits {
            32 => u32::try_from(next)
                .map(Ipv4Addr::from)
                .unwrap_or(Ipv4Addr::UNSPECIFIED)
                .into(),
            _ => IpAddr::V6(Ipv6Addr::from(next)),
        };
        let prefix = u8::try_from(bits - host_bits).unwrap_or(u8::MAX);
        networks.push(Network { first: address, prefix }.to_string());
        let end = next | 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        match end.checked_add(1) {
            Some(after) => next = after,
            None => break,
        }
    }
    if networks.is_empty() || networks.iter().any(|network| Network::parse(network).is_err()) {
        Suggestion::None
    } else {
        Suggestion::All(networks)
    }
}

fn prefix_bits(digits: &str, address: IpAddr) -> Result<u8, NetworkError> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u8>() {
        Ok(bits) if plain && bits <= width(address) => {
            if digits.len() > 1 && digits.starts_with('0') {
                return Err(NetworkErrorKind::LeadingZeros.suggest(format!("{address}/{bits}")));
            }
            Ok(bits)
        }
        _ => Err(NetworkErrorKind::BadPrefix.suggest(None)),
    }
}

/// Four decimal numbers and dots, without their leading zeros. `None` for any other text.
fn without_leading_zeros(address: &str) -> Option<String> {
    let octets: Option<Vec<String>> = address
        .split('.')
        .map(|octet| octet.parse::<u8>().ok().map(|number| number.to_string()))
        .collect();
    octets.filter(|octets| octets.len() == 4).map(|octets| octets.join("."))
}

fn with_prefix(address: &str, prefix: Option<&str>) -> String {
    match prefix {
        Some(prefix) => format!("{address}/{prefix}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_one_reading() {
        for (text, first, last) in [
            ("192.168.1.0/24", "192.168.1.0", "192.168.1.255"),
            ("10.0.0.0/8", "10.0.0.0", "10.255.255.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("203.0.113.7", "203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7", "203.0.113.7"),
            ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::1", "::1", "::1"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", "2001:db8::1"),
        ] {
            let network = Network::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(
                network.range(),
                (first.parse().unwrap(), last.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn doubtful_spellings_are_refused_with_what_was_meant() {
        use NetworkErrorKind::*;
        for (text, kind, suggestion) in [
            ("", NotANetwork, None),
            ("localhost", NotANetwork, None),
            ("10.0.0", NotANetwork, None),
            ("0x7f.0.0.1", NotANetwork, None),
            ("10.0.0.0/8 ", BadPrefix, None),
            ("10.0.0.0/", BadPrefix, None),
            ("10.0.0.0/33", BadPrefix, None),
            ("10.0.0.0/+8", BadPrefix, None),
            ("10.0.0.0/255.0.0.0", BadPrefix, None),
            ("2001:db8::/129", BadPrefix, None),
            ("10.0.0.0/08", LeadingZeros, Some("10.0.0.0/8")),
            ("010.0.0.1", LeadingZeros, Some("10.0.0.1")),
            ("192.168.001.0/24", LeadingZeros, Some("192.168.1.0/24")),
            ("fe80::1%eth0", Zone, Some("fe80::1")),
            ("fe80::%1/64", Zone, Some("fe80::/64")),
            ("::ffff:10.0.0.0/104", Mapped, Some("10.0.0.0/8")),
            ("::ffff:a00:1", Mapped, Some("10.0.0.1/32")),
            ("::ffff:0:0/64", Mapped, None),
        ] {
            let error = Network::parse(text).expect_err(text);
            let suggestion: Option<&str> = suggestion;
            let suggestion = suggestion.map_or(Suggestion::None, |network| Suggestion::One(network.into()));
            assert_eq!((error.kind, error.suggestion), (kind, suggestion), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_prefix_is_first_of_all_that_address() {
        for (text, address, network) in [
            ("192.168.1.7/24", "192.168.1.7/32", "192.168.1.0/24"),
            ("10.1.0.0/0", "10.1.0.0/32", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::1/128", "2001:db8::/32"),
            ("::1/32", "::1/128", "::/32"),
        ] {
            let error = Network::parse(text).expect_err(text);
            assert_eq!(error.kind, NetworkErrorKind::HostBits, "{text}");
            assert_eq!(
                error.suggestion,
                Suggestion::AddressOrNetwork(address.into(), network.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_range_is_answered_with_its_networks() {
        for (text, networks) in [
            (
                "10.0.0.1-10.0.0.9",
                &["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/30", "10.0.0.8/31"][..],
            ),
            ("10.0.0.1 - 10.0.0.2", &["10.0.0.1/32", "10.0.0.2/32"]),
            ("10.0.0.1-3", &["10.0.0.1/32", "10.0.0.2/31"]),
            ("10.0.0.0-10.0.0.255", &["10.0.0.0/24"]),
            ("10.0.0.7-10.0.0.7", &["10.0.0.7/32"]),
            ("0.0.0.0-255.255.255.255", &["0.0.0.0/0"]),
            ("255.255.255.254-255.255.255.255", &["255.255.255.254/31"]),
            (
                "2001:db8::1-2001:db8::4",
                &["2001:db8::1/128", "2001:db8::2/127", "2001:db8::4/128"],
            ),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["::/0"]),
            ("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
            ("::ffff:10.0.0.1-::ffff:10.0.0.2", &["10.0.0.1/32", "10.0.0.2/32"]),
            ("::fffe:ffff:ffff-::ffff:0:1", &[]),
            ("10.0.0.9-10.0.0.1", &[]),
            ("10.0.0.1-::1", &[]),
        ] {
            let error = Network::parse(text).expect_err(text);
            assert_eq!(error.kind, NetworkErrorKind::Range, "{text}");
            match (&error.suggestion, text) {
                (Suggestion::All(found), "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") => assert_eq!(found.len(), 128),
                (Suggestion::All(found), _) => assert_eq!(found, networks, "{text}"),
                (suggestion, _) => assert_eq!((suggestion, networks), (&Suggestion::None, &[][..]), "{text}"),
            }
        }
        for text in [
            "10.0.0.1-",
            "-10.0.0.1",
            "10.0.0.1-256",
            "office-a",
            "10.0.0.0/8-10.0.0.9",
        ] {
            let error = Network::parse(text).expect_err(text);
            assert_ne!(error.kind, NetworkErrorKind::Range, "{text}");
        }
    }
}
