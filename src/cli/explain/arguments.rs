//! The arguments of `keyfence explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::token::is_token;

use crate::Format;

/// Try a request on a policy without a gateway: each step of the decision, and the exact headers that client and upstream would get
///
/// The decision is the filter's own. The rate limit is as fresh as if no request had come before, and the upstream answers with
/// nothing but what --response-header gives it. With --origin also what a browser does: whether it sends the request, and whether the
/// page may read the answer, else what its console says. The API key is never shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The policy as JSON or YAML, or configuration of Envoy, Istio or Envoy Gateway with the policy in it; - for standard input
    pub file: PathBuf,

    /// The request's method
    #[arg(long, default_value = "GET")]
    pub method: String,

    /// The request's path, with its query
    #[arg(long, default_value = "/")]
    pub path: String,

    /// Whom it is sent to, as https://api.example.com; of use where origin_check is required_or_same_origin
    #[arg(long, value_name = "SCHEME://HOST", value_parser = host)]
    pub host: Option<(String, String)>,

    /// The web origin of the page that sends it
    #[arg(long)]
    pub origin: Option<String>,

    /// The client's address, as Envoy determines it
    #[arg(long)]
    pub ip: Option<IpAddr>,

    /// The API key, presented as the first of the policy's key_sources says
    #[arg(long, conflicts_with = "key_id")]
    pub key: Option<String>,

    /// In place of the API key, the id of its entry in keys
    #[arg(long, value_name = "ID")]
    pub key_id: Option<String>,

    /// The page asks with credentials: "include"
    #[arg(long, requires = "origin")]
    pub credentials: bool,

    /// A further header of the request, which the page sets; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,

    /// Try the preflight that a browser sends before the request
    #[arg(long)]
    pub preflight: bool,

    /// A header of the upstream's response; may be repeated
    #[arg(long = "response-header", value_name = "NAME: VALUE", value_parser = header)]
    pub response_headers: Vec<(String, String)>,

    /// The time of the request, as 2027-01-01T00:00:00Z
    #[arg(long, value_parser = timestamp)]
    pub now: Option<Timestamp>,

    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence explain policy.json --key-id frontend --origin https://app.example.com --path /v1/indexes/products/search
  keyfence explain policy.json --origin http://localhost:3000 --method PATCH -H 'Baggage: a=b' --preflight
  keyfence explain policy.json --key-id backend --ip 192.0.2.7 -H 'X-Request-Id: 1'
  keyfence explain policy.json --format json | jq .decision";

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    if !is_token(name) {
        return Err("this is no header's name".into());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn host(text: &str) -> Result<(String, String), String> {
    let (scheme, authority) = text.split_once("://").ok_or("write it as https://api.example.com")?;
    Ok((scheme.to_owned(), authority.to_owned()))
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it as 2027-01-01T00:00:00Z".into())
}
