//! Client addresses and networks (spec, section 7): both as strings of binary digits, compared by prefix.

use std::net::IpAddr;

/// The client's address in binary digits: 32 of them, or 128. `None`: not known.
pub fn client(source: Option<&str>, client_ip: &str) -> Option<String> {
    let (host, port) = source?.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|_| !port.starts_with('+'))?;
    if client_ip != "forwarded_or_peer" && (port == 0) != (client_ip == "forwarded") {
        return None;
    }
    match host.strip_prefix('[') {
        Some(inner) => digits(inner.strip_suffix(']').filter(|inner| inner.contains(':'))?),
        None => digits(host).filter(|_| !host.contains(':')),
    }
}

/// Who the client is for the limit that each has: 32 binary digits, or the first 64 of 128. All that are not known are one.
pub fn limited(source: Option<&str>, client_ip: &str) -> String {
    let mut digits = client(source, client_ip).unwrap_or_default();
    digits.truncate(64);
    digits
}

pub fn contains(network: &str, address: &str) -> bool {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, length.parse().unwrap()),
        None => (network, usize::MAX),
    };
    let base = digits(base).expect("a network that loads is an address");
    let length = length.min(base.len());
    address.len() == base.len() && address[..length] == base[..length]
}

/// Whether `allowed_ips` takes it (section 13): no host bits, no leading zeros, no mapped form.
pub fn is_network(text: &str) -> bool {
    let (base, length) = text.split_once('/').unwrap_or((text, ""));
    let (Ok(address), Some(digits)) = (base.parse::<IpAddr>(), digits(base)) else {
        return false;
    };
    let is_mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    let length = match text.contains('/') {
        true => (0..=digits.len()).find(|number| number.to_string() == length),
        false => Some(digits.len()),
    };
    !is_mapped && length.is_some_and(|length| !digits[length..].contains('1'))
}

pub fn digits(text: &str) -> Option<String> {
    let bits = match text.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => format!("{:032b}", u32::from(address)),
        IpAddr::V6(address) => format!("{:0128b}", u128::from(address)),
    };
    let mapped = format!("{}{}", "0".repeat(80), "1".repeat(16));
    Some(bits.strip_prefix(&mapped).map(str::to_owned).unwrap_or(bits))
}
