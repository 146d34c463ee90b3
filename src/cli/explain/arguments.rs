//! The arguments of `keyfence explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::token::is_token;

use crate::{Format, timestamp};

/// Show how a policy decides on a request: each step, and the exact headers that the client and the upstream would get
///
/// It needs no gateway, and runs the filter's own code. The request is the first one within its rate limit, and the upstream's response
/// has only the headers that --response-header sets. With --origin, it also shows whether a browser sends the request and lets the page
/// read the response, or else the message in the browser's console. The API key is never shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A policy as JSON or YAML, or a configuration of Envoy, Istio or Envoy Gateway that contains one; - for standard input
    pub file: PathBuf,

    /// The request's method
    #[arg(long, default_value = "GET")]
    pub method: String,

    /// The request's path, with its query
    #[arg(long, default_value = "/")]
    pub path: String,

    /// The scheme and host of the API, such as https://api.example.com; needed for origin_check required_or_same_origin
    #[arg(long, value_name = "SCHEME://HOST", value_parser = host)]
    pub host: Option<(String, String)>,

    /// The origin of the page that sends the request, such as https://app.example.com
    #[arg(long)]
    pub origin: Option<String>,

    /// The client's address, as Envoy determines it
    #[arg(long)]
    pub ip: Option<IpAddr>,

    /// The id of a key in the policy; it is sent as the first entry of the policy's key_sources defines
    #[arg(long, value_name = "ID")]
    pub key_id: Option<String>,

    /// A file with the API key; - for standard input, where a key that you type is not shown
    #[arg(long, value_name = "FILE", conflicts_with = "key_id")]
    pub key_file: Option<PathBuf>,

    /// The API key itself; your shell keeps it in its history, and other users can see it, so prefer the two above
    #[arg(long, conflicts_with_all = ["key_id", "key_file"])]
    pub key: Option<String>,

    /// The page uses fetch with credentials: "include"
    #[arg(long, requires = "origin")]
    pub credentials: bool,

    /// A header that the client or page sets; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,

    /// Explain the preflight that a browser would send before the request
    #[arg(long)]
    pub preflight: bool,

    /// A header of the upstream's response; may be repeated
    #[arg(long = "response-header", value_name = "NAME: VALUE", value_parser = header)]
    pub response_headers: Vec<(String, String)>,

    /// The time of the request, such as 2027-01-01T00:00:00Z [default: now]
    #[arg(long, value_parser = timestamp)]
    pub now: Option<Timestamp>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence explain policy.json --key-id frontend --origin https://app.example.com --path /v1/indexes/products/search
  keyfence explain policy.json --origin http://localhost:3000 --method PATCH -H 'Baggage: a=b' --preflight
  keyfence explain policy.json --key-file -    (then type the key)
  keyfence explain policy.json --key-id backend --ip 192.0.2.7 -H 'X-Request-Id: 1'
  keyfence explain policy.json --format json | jq .decision";

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    if !is_token(name) {
        return Err("the part before the colon is not a valid header name".into());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn host(text: &str) -> Result<(String, String), String> {
    let (scheme, authority) = text.split_once("://").ok_or("write it as https://api.example.com")?;
    Ok((scheme.to_owned(), authority.to_owned()))
}
