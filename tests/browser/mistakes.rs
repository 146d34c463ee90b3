//! The three errors that people report most: provoked by the set-up that causes them, seen in the
//! browser's console, and gone with the right one.

use crate::case::Scheme;
use crate::page::{Ask, from};
use crate::sites::{Sites, gateway_url};

pub struct Mistake {
    pub name: &'static str,
    ask: fn() -> Ask,
    wrong_gateway: fn() -> String,
    /// What the console says, word for word.
    says: &'static str,
}

#[rustfmt::skip]
pub const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "the origin was forgotten",
        ask: || from("https://yourapp.com").query_key("ak_web"),
        wrong_gateway: || gateway_url("forgotten-origin", Scheme::Https),
        says: "No 'Access-Control-Allow-Origin' header is present on the requested resource.",
    },
    Mistake {
        name: "preflights are asked for a key",
        ask: || from("https://yourapp.com").key("ak_web"),
        wrong_gateway: || "https://asks-preflights-for-a-key.changed.test".to_owned(),
        says: "Response to preflight request doesn't pass access control check: It does not have HTTP ok status.",
    },
    Mistake {
        name: "credentials were not allowed",
        ask: || from("https://yourapp.com").query_key("ak_web").with_credentials(),
        wrong_gateway: || gateway_url("no-credentials", Scheme::Https),
        says: "The value of the 'Access-Control-Allow-Credentials' header in the response is '' which must be 'true' when the request's credentials mode is 'include'.",
    },
];

impl Mistake {
    pub fn check(&self, sites: &Sites) -> Result<(), String> {
        let wrong = (self.ask)().send(sites, &(self.wrong_gateway)())?;
        if wrong.read.is_some() || !wrong.console.iter().any(|line| line.contains(self.says)) {
            return Err(format!("the wrong set-up does not show {:?}: {wrong:#?}", self.says));
        }
        let right = (self.ask)().send(sites, &gateway_url("main", Scheme::Https))?;
        if right.read.as_ref().is_none_or(|read| read.status != 200) || !right.console.is_empty() {
            return Err(format!("the right set-up is not silent: {right:#?}"));
        }
        Ok(())
    }
}
