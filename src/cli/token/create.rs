//! `keyfence token create`: makes a scoped token.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use keyfence_core::config::DiagnosticKind;
use keyfence_core::config::network::Network;
use keyfence_core::config::origin::OriginPattern;
use keyfence_core::config::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use super::Examination;
use super::signing_key::SigningKey;
use crate::report::Report;
use crate::style::Style;
use crate::written::{WrittenPolicy, key_of_id};
use crate::{DENIED, Failure, now, print, timestamp};
use keyfence_files::source::Source;

/// Make a scoped token for one user
///
/// Signs with the first of the key's secrets in the policy, or with --private-key, and prints the token. The policy is asked whether it
/// would take the token, so what is printed works.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A policy as JSON or YAML, or a configuration of Envoy, Istio or Envoy Gateway that contains one; - for standard input
    file: PathBuf,

    /// The id of the key that the token is narrowed from
    #[arg(long, value_name = "ID")]
    key_id: String,

    /// An Ed25519 private key as PEM (PKCS #8) or JSON Web Key; the policy has its public key
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,

    /// The user: visible ASCII, at most 256 characters
    #[arg(long)]
    sub: Option<String>,

    /// What the upstream is to filter by: visible ASCII, at most 1,024 characters
    #[arg(long)]
    filter: Option<String>,

    /// An origin from which it may be used, as in allowed_origins; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN", value_parser = origin)]
    origins: Vec<String>,

    /// A network from which it may be used, as in allowed_ips; may be repeated
    #[arg(long = "ip", value_name = "NETWORK", value_parser = network)]
    ips: Vec<String>,

    /// The name of a scope; may be repeated
    #[arg(long = "scope", value_name = "NAME")]
    scopes: Vec<String>,

    /// An index, as in indexes; may be repeated
    #[arg(long = "index", value_name = "INDEX")]
    indexes: Vec<String>,

    /// For how many seconds from now it is valid [default: an hour, or what the key allows if that is less]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    expires_in: Option<u32>,

    /// The time from which it is valid, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    not_before: Option<Timestamp>,
}

const EXAMPLES: &str = "Examples:
  keyfence token create policy.json --key-id frontend --sub alice --filter user=alice
  keyfence token create policy.json --key-id frontend --private-key key.pem --index products --expires-in 600
  curl -H \"Authorization: Bearer $(keyfence token create policy.json --key-id frontend --sub alice)\" http://127.0.0.1:10000/";

/// Without --expires-in.
const DEFAULT_LIFETIME: u32 = 3_600;

fn origin(text: &str) -> Result<String, String> {
    let parsed = OriginPattern::parse(text).map_err(|error| error.message());
    let parsed = parsed.map_err(|message| format!("{}; {}", message.reason, message.help));
    parsed.map(|_| text.to_owned())
}

fn network(text: &str) -> Result<String, String> {
    let parsed = Network::parse(text).map_err(|error| error.message());
    let parsed = parsed.map_err(|message| format!("{}; {}", message.reason, message.help));
    parsed.map(|_| text.to_owned())
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let is_stdin = |path: &Path| path == Path::new("-");
    if is_stdin(&arguments.file) && arguments.private_key.as_deref().is_some_and(is_stdin) {
        return Err(Failure::new(
            "standard input cannot be both the policy and the private key",
        ));
    }
    let source = Source::read(&arguments.file)?;
    let (report, policy) = Report::of_policy(&source)?;
    let json = policy.map(|policy| policy.json).unwrap_or_default();
    let (false, Some(written)) = (report.has_errors(), WrittenPolicy::read(&json)) else {
        eprint!("{}", report.to_text(Style::of_stderr()));
        return Ok(ExitCode::from(DENIED));
    };
    let token = arguments.token(&written)?;
    // A token that begins later is examined then.
    let begin = arguments.not_before.map_or(now(), |begin| begin.max(now()));
    let examination = Examination::of(&written.policy, &token, begin);
    if let Err(refusal) = examination.result {
        eprintln!("keyfence: the policy refuses such a token: {refusal}");
        return Ok(ExitCode::from(DENIED));
    }
    print(&format!("{token}\n"))?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn token(&self, written: &WrittenPolicy<'_>) -> Result<String, Failure> {
        let id = self.key_id.as_str();
        let key = key_of_id(&written.config, &written.keys, id)?;
        let Some(tokens) = &key.scoped_tokens else {
            return Err(Failure(format!("--key-id: the key {id:?} has no scoped_tokens")));
        };
        let signing_key = match (&self.private_key, tokens.secrets.first()) {
            (Some(path), _) => SigningKey::read(path)?,
            (None, Some(secret)) => SigningKey::Secret(secret),
            (None, None) => {
                return Err(Failure(format!(
                    "the key {id:?} has public keys only; give the private key of one with --private-key"
                )));
            }
        };
        let lifetime = DEFAULT_LIFETIME.min(tokens.max_lifetime_seconds);
        let lifetime = self.expires_in.unwrap_or(lifetime);
        let header = json!({"alg": signing_key.algorithm(), "typ": "JWT", "kid": id});
        signing_key.sign(&header, &self.claims(lifetime))
    }

    fn claims(&self, lifetime: u32) -> Value {
        let issued = now().0;
        let list = |items: &[String]| (!items.is_empty()).then(|| json!(items));
        let claims = [
            ("iat", Some(json!(issued))),
            ("exp", Some(json!(issued + i64::from(lifetime)))),
            ("nbf", self.not_before.map(|time| json!(time.0))),
            ("sub", self.sub.as_ref().map(|sub| json!(sub))),
            ("filter", self.filter.as_ref().map(|filter| json!(filter))),
            ("origins", list(&self.origins)),
            ("ips", list(&self.ips)),
            ("scopes", list(&self.scopes)),
            ("indexes", list(&self.indexes)),
        ];
        let claims = claims
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(claims.collect::<Map<String, Value>>())
    }
}
