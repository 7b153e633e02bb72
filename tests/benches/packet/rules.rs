//! Policy rules in force while packets are measured.

use std::net::Ipv4Addr;

use anyhow::Result;
use proxy_common::{
    address::{TCP, UDP},
    policy::{
        cells::DENY_ALL,
        intervals::Interval,
        peers::PEER_POD,
        words::{ROW_ALLOW_ALL, ROW_FIRST},
    },
};
use weir_tests::packets::{Bench, FAMILIES, list};

use crate::way::{LISTENED, SERVED};

/// Rules in force, by pass: half of them for each direction.
pub(crate) const RULES: [u16; 2] = [0, 1000];
/// The pods' rows, far enough apart for all their classes.
const ROWS: [u32; 2] = [ROW_FIRST, ROW_FIRST + 16];

/// Isolates both pods in both directions by so many rules, each about another peer, as the compiler would lay them
/// out: a class for each peer, a cell for each class. The last of each direction lets the connections pass.
pub(crate) fn prepare(bench: &mut Bench, rules: u16) -> Result<()> {
    let strangers = rules / 2 - 1;
    let allow = |(protocol, port)| Interval::allow(protocol, port, port, 0);
    let ports = [
        (TCP, LISTENED),
        (TCP, SERVED),
        (UDP, LISTENED),
        (UDP, SERVED),
    ];
    bench.intervals(1, &ports.map(allow), 0)?;
    let mut cells = vec![DENY_ALL];
    for number in 0..strangers {
        let [high, low] = number.to_be_bytes();
        let stranger = Ipv4Addr::new(198, 18, high, low);
        bench.peer(stranger.into(), 1 + u32::from(number), 0)?;
        let block = 2 + u32::from(number);
        bench.intervals(block, &[allow((TCP, 1024 + number))], 0)?;
        cells.push(list(block));
    }
    let friends = 1 + u32::from(strangers);
    for plan in FAMILIES {
        for pod in [plan.pod, plan.neighbour, plan.remote_pod] {
            bench.peer(pod, friends, PEER_POD)?;
        }
        bench.peer(plan.outside, friends, 0)?;
    }
    cells.push(list(1));
    ROWS.iter().try_for_each(|row| bench.row(*row, &cells))
}

/// Puts the rules in force, or all of them out of it.
pub(crate) fn enforce(bench: &mut Bench, rules: u16) -> Result<()> {
    let [ingress, egress] = if rules == 0 { [ROW_ALLOW_ALL; 2] } else { ROWS };
    (1..=2).try_for_each(|pod| bench.policy(pod, ingress, egress))
}
