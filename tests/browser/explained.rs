//! What `keyfence explain` says that a browser would do, beside what this one does and says in its console.

use serde_json::Value;

use crate::case::Scheme;
use crate::harness::command_line::keyfence;
use crate::page::{Ask, from};
use crate::sites::{Sites, gateway_url};

pub struct Explained {
    pub name: &'static str,
    gateway: &'static str,
    ask: fn() -> Ask,
    /// The same request for `explain`.
    arguments: &'static str,
}

const SITE: &str = "https://yourapp.com";

#[rustfmt::skip]
pub const EXPLAINED: &[Explained] = &[
    Explained { name: "read", gateway: "main", ask: || from(SITE).key("ak_web"), arguments: "--key ak_web" },
    Explained { name: "PUT with a header", gateway: "main", ask: || from(SITE).key("ak_web").method("PUT").header("X-Request-Id", "1"), arguments: "--key ak_web --method PUT -H X-Request-Id:1" },
    Explained { name: "PATCH", gateway: "main", ask: || from(SITE).key("ak_web").method("PATCH"), arguments: "--key ak_web --method PATCH" },
    Explained { name: "a header", gateway: "main", ask: || from(SITE).key("ak_web").header("Baggage", "a=b"), arguments: "--key ak_web -H Baggage:a=b" },
    Explained { name: "a method in small letters", gateway: "main", ask: || from(SITE).key("ak_web").method("put"), arguments: "--key ak_web --method put" },
    Explained { name: "with credentials", gateway: "main", ask: || from(SITE).key("ak_web").with_credentials(), arguments: "--key ak_web --credentials" },
    Explained { name: "another origin", gateway: "main", ask: || from("https://forbidden.example").key("ak_web"), arguments: "--key ak_web --origin https://forbidden.example" },
    Explained { name: "another origin, without a preflight", gateway: "main", ask: || from("https://forbidden.example").query_key("ak_web"), arguments: "--path /?api_key=ak_web --origin https://forbidden.example" },
    Explained { name: "*", gateway: "star", ask: || from(SITE).key("ak_star"), arguments: "--key ak_star" },
    Explained { name: "*, with credentials", gateway: "star", ask: || from(SITE).query_key("ak_star").with_credentials(), arguments: "--path /?api_key=ak_star --credentials" },
    Explained { name: "*, with credentials and a preflight", gateway: "star", ask: || from(SITE).key("ak_star").with_credentials(), arguments: "--key ak_star --credentials" },
    Explained { name: "credentials that are not allowed", gateway: "no-credentials", ask: || from(SITE).query_key("ak_web").with_credentials(), arguments: "--path /?api_key=ak_web --credentials" },
];

impl Explained {
    pub fn gateway(&self) -> &'static str {
        self.gateway
    }

    pub fn check(&self, sites: &Sites, policy: &Value) -> Result<(), String> {
        let seen = (self.ask)()
            .path_for(self.name)
            .send(sites, &gateway_url(self.gateway, Scheme::Https))?;
        let mut arguments = vec!["explain", "-", "--format", "json"];
        if !self.arguments.contains("--origin") {
            arguments.extend(["--origin", SITE]);
        }
        arguments.extend(self.arguments.split(' '));
        let output = keyfence(&arguments, &policy.to_string());
        let explained: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))?;
        let failed = explained["browser"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["passed"] == false);
        let Some(failed) = failed else {
            return if seen.read.is_some() {
                Ok(())
            } else {
                Err(format!("explain sees nothing wrong: {seen:#?}"))
            };
        };
        let compared = failed["compared"].as_str().unwrap();
        let console = compared.split_once("console: ").ok_or(compared)?.1;
        if seen.read.is_some() || !seen.console.iter().any(|line| line.contains(console)) {
            return Err(format!("the console has no {console:?}: {seen:#?}"));
        }
        Ok(())
    }
}
