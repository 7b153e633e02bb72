//! Two processors begin the same flows, and such as clash, at the same time: each tuple has one owner afterwards, and no
//! key is left that leads nowhere. Whoever is second goes where the first one goes, and remembers nothing else.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "flow_race/pair.rs"]
mod pair;
#[path = "flow_race/scenario.rs"]
mod scenario;

use std::net::IpAddr;

use proxy_common::{
    address::{address4, address6, mapped},
    affinity::{Affinity, AffinityKey},
};
use weir_tests::{flow_table::consistent, length, packets::Bench};

use pair::{ROUNDS, Round};
use scenario::{SCENARIOS, Scenario};

/// For all flows of all scenarios.
const ROOM: u32 = 1 << 15;
/// So few that most flows begin where another one was.
const FEW: u32 = 256;

#[test]
fn two_processors_agree_on_a_flow() {
    let mut judged = 0;
    race(ROOM, |bench, scenario, rounds| {
        for round in rounds.iter().filter(|round| !round.was_stopped) {
            judged += 1;
            if let Err(wrong) = (scenario.holds)(&round.seen) {
                let drops = bench.dropped().unwrap();
                let (name, seen) = (scenario.name, &round.seen);
                panic!("{name}: {wrong}: {seen:?}, dropped {drops:?}");
            }
        }
    });
    assert!(judged > 0, "no processor had a moment for itself");
}

#[test]
fn two_processors_share_no_tuple_where_slots_are_few() {
    race(FEW, |_, _, _| {});
}

fn race(slots: u32, mut check: impl FnMut(&Bench, &Scenario, &[Round])) {
    let mut bench = scenario::bench(slots).unwrap();
    let laps = length::steps(20_000, 1_000_000) / (ROUNDS * SCENARIOS.len() as u64);
    for lap in 0..laps {
        for scenario in &SCENARIOS {
            let rounds = pair::run(&bench, scenario, lap).unwrap();
            check(&bench, scenario, &rounds);
        }
        look(&mut bench, lap);
    }
}

fn look(bench: &mut Bench, lap: u64) {
    for dump in bench.dump().unwrap() {
        if let Err(wrong) = consistent(&dump) {
            panic!("lap {lap}: {wrong}");
        }
        for flow in &dump.records {
            let (client, had) = (flow.arrives[0].from.ip(), flow.backend);
            if let Some(kept) = keeps(bench, client, flow.service) {
                assert_eq!(kept, had, "lap {lap}: {client} is kept elsewhere: {flow:?}");
            }
        }
    }
}

/// The backend that a Service with affinity keeps for a client.
fn keeps(bench: &mut Bench, client: IpAddr, service: u32) -> Option<u32> {
    let client = match client {
        IpAddr::V4(ip) => mapped(address4(ip.octets())),
        IpAddr::V6(ip) => address6(ip.octets()),
    };
    let clients = bench.hash::<AffinityKey, Affinity>("AFFINITY").unwrap();
    let kept = clients.get(&AffinityKey { client, service }, 0).ok()?;
    Some(kept.backend)
}
