//! Asks a listener for a second, and reads what CPU time that cost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::contender::Contender;
use crate::harness::gateway::Gateway;
use crate::scenario::Scenario;

/// Reads the cost of requests to one gateway.
pub struct Meter<'g> {
    gateway: &'g Gateway,
    /// How many requests each listener has had.
    sent: RefCell<HashMap<String, usize>>,
}

const GATEWAY_CORE: &str = "0";
const CLIENT_CORE: &str = "1";

impl<'g> Meter<'g> {
    /// Holds the gateway to a core of its own.
    pub fn of(gateway: &'g Gateway) -> Self {
        let pid = gateway.pid().to_string();
        let output = Command::new("taskset")
            .args(["-a", "-p", "-c", GATEWAY_CORE, &pid])
            .output();
        assert!(
            output.is_ok_and(|output| output.status.success()),
            "taskset (Debian: util-linux) fails"
        );
        Meter {
            gateway,
            sent: RefCell::default(),
        }
    }

    /// CPU time of the whole process, µs a request.
    pub fn cost(&self, scenario: &Scenario, contender: &Contender) -> f64 {
        let listener = scenario.listener_name(contender);
        scenario.check(self.gateway, contender);
        let script = self.script(scenario, contender);
        let mut sent = self.sent.borrow_mut();
        let sent = sent.entry(listener.clone()).or_default();
        let before = self.cpu_time();
        let output = Command::new("taskset")
            .args([
                "-c",
                CLIENT_CORE,
                "wrk",
                "--threads",
                "1",
                "--connections",
                "64",
                "--duration",
                "1s",
                "--script",
            ])
            .arg(script)
            .arg(format!("http://{}/v1/items", self.gateway.address(&listener)))
            // Where to go on, so that what is to be new is.
            .args(["--", &sent.to_string()])
            .output()
            .expect("wrk is installed (Debian: apt-get install wrk)");
        let nanoseconds = self.cpu_time() - before;
        let report = String::from_utf8_lossy(&output.stdout);
        let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests: usize = requests
            .and_then(|(count, _)| count.parse().ok())
            .unwrap_or_else(|| panic!("{report}"));
        *sent += requests;
        nanoseconds as f64 / 1_000.0 / requests as f64
    }

    fn script(&self, scenario: &Scenario, contender: &Contender) -> PathBuf {
        let path = self
            .gateway
            .directory()
            .join(format!("{}.lua", scenario.listener_name(contender)));
        if path.exists() {
            return path;
        }
        let requests: Vec<String> = scenario
            .requests(contender)
            .map(|headers| {
                let headers: Vec<String> = headers
                    .iter()
                    .map(|(name, value)| format!("[ [==[{name}]==] ]=[==[{value}]==]"))
                    .collect();
                format!("wrk.format({:?}, nil, {{{}}}),\n", scenario.method, headers.join(","))
            })
            .collect();
        // In parts, for a function of Lua has no more than 65,536 constants.
        let parts: Vec<String> = requests
            .chunks(500)
            .map(|part| format!("add(function() return {{{}}} end)\n", part.concat()))
            .collect();
        let script = format!(
            "local requests, at = {{}}, 0\n\
             local function add(part) for _, request in ipairs(part()) do requests[#requests + 1] = request end end\n\
             function init(arguments)\n{}at = tonumber(arguments[1]) or 0\nend\n\
             function request() at = at % #requests + 1; return requests[at] end\n",
            parts.concat()
        );
        fs::write(&path, script).unwrap();
        path
    }

    /// Nanoseconds that all threads of the process have run.
    fn cpu_time(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.gateway.pid())).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}
