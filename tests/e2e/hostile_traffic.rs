//! Much traffic, a fifth of it hostile: every legitimate request has its exact answer throughout, every answer the properties that all
//! have, nothing refused comes to the upstream, and the memory stays as it is. `make hostile` makes it two million requests.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::memory::Memory;
use crate::harness::{Gateway, Witness};
use crate::traffic::{IDS, Traffic, listener};

/// So many of a hundred, for a fifth of what is sent: HTTP/2 has no way to say some of it.
const HOSTILE: u32 = 22;

/// Where the memory must have come to rest.
const WARM: u64 = 100_000;

fn requests() -> u64 {
    std::env::var("KEYFENCE_REQUESTS").map_or(20_000, |text| text.parse().expect("KEYFENCE_REQUESTS is a number"))
}

#[test]
fn hostile_traffic_changes_nothing_for_the_rest() {
    let total = requests();
    let witness = Witness::start(&IDS);
    let gateway = Gateway::before(witness.address())
        .listener(listener("main"))
        .workers(2)
        .amend(with_room_for_more)
        .start();
    let traffic = Traffic::new(gateway.address("main"), &witness, total, HOSTILE);
    let curve = traffic.run(|traffic| {
        let begin = Instant::now();
        let mut curve = vec![];
        let step = (total / 20).clamp(1, WARM);
        while traffic.wait_for((curve.len() as u64 + 1) * step) {
            let memory = Memory::of(gateway.pid());
            let (sent, seconds) = (traffic.finished(), begin.elapsed().as_secs());
            println!(
                "{sent:>8} requests {seconds:>5} s  resident {:>6} kB  wasm {:>6} kB",
                memory.resident, memory.wasm
            );
            curve.push((sent, memory));
            if sent >= total {
                break;
            }
        }
        curve
    });
    // What nobody waited for is counted here, too.
    let own: u64 = [400, 413, 426, 431, 501]
        .map(|status| traffic.outcomes(&format!("hostile: {status} of Envoy")))
        .iter()
        .sum();
    println!(
        "{own} requests were refused by Envoy itself, {} came to the upstream",
        witness.count()
    );
    assert_eq!(
        server_errors(&gateway),
        traffic.outcomes("hostile: 501 of Envoy"),
        "answers of 5xx"
    );
    is_flat(&curve);
}

/// More header lines and longer ones come to the filter than Envoy lets through of itself.
fn with_room_for_more(bootstrap: &mut Value) {
    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["max_request_headers_kb"] = json!(96);
    manager["common_http_protocol_options"] = json!({"max_headers_count": 150});
    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    // Clients whose connection is to end are told soon.
    manager["delayed_close_timeout"] = json!("0.02s");
    // The machine may be stopped for a while.
    manager["route_config"]["virtual_hosts"][0]["routes"][3]["route"]["timeout"] = json!("0s");
    manager["access_log"] = json!([]);
}

fn server_errors(gateway: &Gateway) -> u64 {
    let stats = gateway.admin("/stats?filter=http.main.downstream_rq_5xx");
    stats.trim().rsplit_once(": ").unwrap().1.parse().unwrap()
}

fn is_flat(curve: &[(u64, Memory)]) {
    let warm = curve.iter().find(|(sent, _)| *sent >= WARM);
    if let (Some((_, warm)), Some((_, last))) = (warm, curve.last()) {
        // The fullest moment, with the most and longest requests at once, may come late: a page of memory. Where each request left a
        // byte behind it would be 29 pages in 2,000,000.
        assert!(
            last.wasm <= warm.wasm + 64,
            "wasm memory grew from {} to {} kB",
            warm.wasm,
            last.wasm
        );
        assert!(
            last.resident < warm.resident + 10_000,
            "resident memory grew from {} to {} kB",
            warm.resident,
            last.resident
        );
    }
}
