//! Addresses and networks against Python's `ipaddress`, thousands in one process.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;

use keyfence_core::config::ClientIp;
use keyfence_core::config::network::Network;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::policy::networks::Networks;

use crate::generate::Generator;
use crate::skipped::skip;

/// For each line of a network and an address: both as Python writes them, or `-`, and whether the one has the other. What the
/// specification refuses beside what Python does is refused here.
const SCRIPT: &str = r#"
import ipaddress, re, sys

def network(text):
    base, slash, prefix = text.partition("/")
    if "%" in base or slash and not re.fullmatch("0|[1-9][0-9]*", prefix):
        return None
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    return None if mapped else network

def address(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if "%" in text:
        return None
    return address.version == 6 and address.ipv4_mapped or address

for line in sys.stdin:
    n, a = line.rstrip("\n").split("\t")
    n, a = network(n), address(a)
    inside = n is not None and a is not None and n.version == a.version and a in n
    first, last = (n[0], n[-1]) if n else ("-", "-")
    print(first, last, a or "-", int(inside), sep="\t")
"#;

/// As the script does.
fn line(network: &str, address: &str) -> String {
    let network = Network::parse(network).ok();
    let source = if address.contains(':') {
        format!("[{address}]:1")
    } else {
        format!("{address}:1")
    };
    let address = SourceAddress::parse(source.as_bytes())
        .trusted(ClientIp::Peer)
        .filter(|_| !address.contains('%'));
    let inside = match (network, address) {
        (Some(network), Some(address)) => Networks::new(&[network]).find(address).is_some(),
        _ => false,
    };
    let text = |address: Option<IpAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    let (first, last) = network.map(|network| network.range()).unzip();
    let address = address.map(|address| address.to_canonical());
    format!(
        "{}\t{}\t{}\t{}",
        text(first),
        text(last),
        text(address),
        u8::from(inside)
    )
}

/// Addresses compare as addresses: the two write some IPv6 addresses differently.
fn read(line: &str) -> Vec<Result<IpAddr, &str>> {
    line.split('\t')
        .map(|field| field.parse::<IpAddr>().map_err(|_| field))
        .collect()
}

pub fn compare(pairs: usize) {
    let python = Command::new("python3")
        .arg("-c")
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = match python {
        Ok(python) => python,
        Err(error) => return skip(&format!("addresses against Python: no python3 ({error})")),
    };
    let mut generator = Generator::of_seed(pairs as u64);
    let asked: Vec<(String, String)> = (0..pairs)
        .map(|_| {
            let network = generator.network_text();
            let address = generator.address_text(&network);
            (network, address)
        })
        .collect();
    let text: String = asked
        .iter()
        .map(|(network, address)| format!("{network}\t{address}\n"))
        .collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), asked.len());
    let (mut networks, mut addresses, mut inside) = (0, 0, 0);
    for ((network, address), answer) in asked.iter().zip(answers) {
        let own = line(network, address);
        assert_eq!(read(&own), read(answer), "network {network:?}, address {address:?}");
        networks += usize::from(!own.starts_with('-'));
        addresses += usize::from(!own.contains("\t-\t"));
        inside += usize::from(own.ends_with('1'));
    }
    println!(
        "{pairs} pairs: {networks} networks and {addresses} addresses are well-formed, {inside} times one has the other"
    );
    assert!(
        networks * 4 > pairs && addresses * 4 > pairs && inside * 50 > pairs,
        "the texts no longer meet"
    );
}
