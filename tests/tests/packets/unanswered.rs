//! Where flows begin: in the map that does not evict while few are unanswered, else in the one that does.

use std::time::Instant;

use proxy_common::{
    address::TCP,
    conntrack::{Flow4, Flow6, FlowKey4, FlowKey6, UNANSWERED_WINDOW},
};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, REDIRECT, Tcp, tcp};

fn count(bench: &mut Bench, plan: &Plan) -> usize {
    if plan.is_ipv6() {
        let map = bench.hash::<FlowKey6, Flow6>("CONNTRACK6").unwrap();
        map.keys().count()
    } else {
        let map = bench.hash::<FlowKey4, Flow4>("CONNTRACK4").unwrap();
        map.keys().count()
    }
}

#[test]
fn a_flood_neither_fills_the_map_of_live_flows_nor_evicts_one() {
    const LIMIT: u32 = 8;
    const FLOOD: u16 = 3000;
    for plan in FAMILIES {
        let mut bench = Bench::new().unwrap();
        bench.allow_unanswered(LIMIT).unwrap();
        let began = Instant::now();
        let (a, b) = (plan.pod(4000), plan.neighbour(80));
        let ways = [
            (Hook::FromPod, tcp(a, b, Tcp::Syn, b"")),
            (Hook::FromNeighbour, tcp(b, a, Tcp::SynAck, b"")),
        ];
        for (hook, packet) in &ways {
            assert_eq!(bench.run(*hook, packet).unwrap().action, REDIRECT);
        }
        for port in (5000..).take(FLOOD.into()) {
            let syn = tcp(plan.pod(port), plan.remote_pod(80), Tcp::Syn, b"");
            let outcome = bench.run(Hook::FromPod, &syn).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        }
        let windows = began.elapsed().as_secs() as usize / UNANSWERED_WINDOW as usize + 2;
        let cpus = aya::util::nr_cpus().unwrap();
        let held = count(&mut bench, &plan);
        assert!(held > 2, "some of the flood is taken: {held}");
        assert!(held <= 2 + LIMIT as usize * cpus * windows, "{held}");
        for (scope, local, remote) in [(1, a, b), (2, b, a)] {
            let live = bench.flow(scope, local, remote, TCP).unwrap().unwrap();
            assert!(!live.new, "{live:?}");
        }
        let last = plan.pod(5000 + FLOOD - 1);
        let last = bench.flow(1, last, plan.remote_pod(80), TCP).unwrap();
        assert!(last.unwrap().new, "beyond the limit a flow may be evicted");
    }
}

#[test]
fn answered_flows_make_room_for_others() {
    let mut bench = Bench::new().unwrap();
    bench.allow_unanswered(50).unwrap();
    for plan in FAMILIES {
        for port in 4000..4200 {
            let (a, b) = (plan.pod(port), plan.neighbour(80));
            bench.run(Hook::FromPod, &tcp(a, b, Tcp::Syn, b"")).unwrap();
            for (scope, local, remote) in [(1, a, b), (2, b, a)] {
                let begun = bench.flow(scope, local, remote, TCP).unwrap().unwrap();
                assert!(!begun.new, "{a} to {b}: {begun:?}");
            }
            let answer = tcp(b, a, Tcp::SynAck, b"");
            bench.run(Hook::FromNeighbour, &answer).unwrap();
        }
    }
}

#[test]
fn both_entries_of_a_translated_flow_begin_there() {
    let mut bench = Bench::new().unwrap();
    bench.allow_unanswered(50).unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(80), plan.remote_pod(8080));
        bench.service(id, vip, TCP, &[backend], 0).unwrap();
        let syn = tcp(client, vip, Tcp::Syn, b"");
        bench.run(Hook::FromPod, &syn).unwrap();
        for remote in [vip, backend] {
            let entry = bench.flow(1, client, remote, TCP).unwrap().unwrap();
            assert!(!entry.new, "{remote}: {entry:?}");
        }
    }
}
