//! What memory a process has, as Linux tells it.

use std::fs;

/// In kB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All that is resident.
    pub resident: u64,
    /// What WebAssembly VMs of V8 have of linear memory, over all threads. V8 reserves a whole address space for each, and makes as
    /// much of its beginning accessible as the VM has asked for: so these are the accessible parts of such reservations.
    pub wasm: u64,
}

/// V8 reserves at least so much behind a memory, so that no 32-bit index leads out of it; nothing else has so much.
const RESERVED: u64 = 3 << 30;

impl Memory {
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mappings: Vec<_> = maps.lines().filter_map(Mapping::parse).collect();
        let is_linear = |pair: &&[Mapping]| {
            pair[0].end == pair[1].start
                && pair[0].is_accessible
                && !pair[1].is_accessible
                && pair[1].length() > RESERVED
        };
        Self {
            resident: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            wasm: mappings
                .windows(2)
                .filter(is_linear)
                .map(|pair| pair[0].length() / 1024)
                .sum(),
        }
    }
}

struct Mapping {
    start: u64,
    end: u64,
    is_accessible: bool,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            is_accessible: !rest.starts_with("---"),
        })
    }

    fn length(&self) -> u64 {
        self.end - self.start
    }
}
