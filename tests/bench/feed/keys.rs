//! The keys of the feed: each with two sites, as a control plane would give them.

use keyfence_control::fed_key::FedKey;
use sha2::{Digest, Sha256};

/// A change of a key: each version has another API key.
#[derive(Clone, Copy)]
pub struct Version(pub usize);

pub fn raw_key(index: usize, Version(version): Version) -> String {
    format!("ak_live_{index:08}_{version:08}_0123456789abcdef")
}

pub fn key(index: usize, version: Version) -> FedKey {
    let digest = Sha256::digest(raw_key(index, version).as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = format!("ak_live_{index:08}");
    let json = format!(
        r#"{{"id":"{id}","api_key":"sha256:{hex}","allowed_origins":["https://shop-{index}.example","https://www.shop-{index}.example"],"origin_check":"if_present","rate_limit_per_minute":100000}}"#
    );
    FedKey::unchecked(&id, &json)
}
