//! A case runs twice: as the gateway answers, where it must hold, and with one header of the answer
//! changed on the way, where it must not. So each is seen to be about the header that it names.

use crate::sites::Sites;

/// What is changed on the way between gateway and browser.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Remove(&'static str),
    Set(&'static str, &'static str),
    /// A header of the request, before it reaches the gateway.
    Ask(&'static str, &'static str),
}

pub struct Case {
    pub name: String,
    pub gateway: &'static str,
    pub changes: Vec<Change>,
    pub over: Scheme,
    pub check: Check,
}

/// Gets the base URL of the gateway. The error says what was different.
pub type Check = Box<dyn Fn(&Sites, &str) -> Result<(), String> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        changes: &[Change],
        check: impl Fn(&Sites, &str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            gateway: "main",
            changes: changes.to_vec(),
            over: Scheme::Https,
            check: Box::new(check),
        }
    }

    /// The gateway with this policy instead of `main`'s.
    pub fn at(mut self, gateway: &'static str) -> Self {
        self.gateway = gateway;
        self
    }

    pub fn over(mut self, scheme: Scheme) -> Self {
        self.over = scheme;
        self
    }
}
