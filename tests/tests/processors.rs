//! What processors get of what there is: every one as much as the only one would, however many there are. Run on this
//! machine's, and on 64 (`cargo xtask kernels`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{Write as _, stdout},
    ops::Range,
};

use aya::EbpfLoader;
use aya_obj::Object;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use proxy_agent::datapath::{Capacities, object::OBJECT};
use proxy_common::address::UDP;
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, REDIRECT, V4, fragments, udp};

/// As many as the largest machines that we reckon with have.
const MANY: u32 = 64;
/// Free entries that a processor of an evicting map sets aside for itself, in kernels before 6.16
/// (`LOCAL_FREE_TARGET`, <https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/bpf_lru_list.c#L11>).
const SET_ASIDE: u32 = 128;
/// Memory that maps with a value per processor may take on such a machine.
const MEMORY: u64 = 16 << 20;
/// `BPF_MAP_TYPE_PERCPU_ARRAY`.
const PER_CPU_ARRAY: u32 = 6;
/// `BPF_MAP_TYPE_LRU_HASH`.
const LRU_HASH: u32 = 9;

/// This thread's processors, each of which it is moved to in turn.
fn processors() -> impl Iterator<Item = usize> {
    let this = Pid::from_raw(0);
    let ours = sched_getaffinity(this).unwrap();
    let all = (0..CpuSet::count()).filter(move |number| ours.is_set(*number).unwrap());
    all.inspect(move |number| {
        let mut one = CpuSet::new();
        one.set(*number).unwrap();
        sched_setaffinity(this, &one).unwrap();
    })
}

/// A bench with maps as an agent makes them small: `conntrack` flows of each family.
fn bench(conntrack: u32) -> Bench {
    let capacities = Capacities {
        conntrack,
        ..Capacities::default()
    };
    let mut loader = EbpfLoader::new();
    for (map, entries) in capacities.by_map() {
        if map.starts_with("FLOW") || map.starts_with("FRAGMENTS") {
            loader.map_max_entries(map, entries);
        }
    }
    loader.override_global("FLOW_SLOTS", &capacities.conntrack, true);
    let mut bench = Bench::of(OBJECT, &mut loader).unwrap();
    // Loads the program: a packet of nobody's.
    let other = udp(V4.outside(1), V4.remote_pod(1), b"?");
    assert_eq!(bench.run(Hook::FromNet, &other).unwrap().action, NEXT);
    bench
}

/// Begins flows of datagrams from outside to the pod, from these ports on; the ports.
fn begin(bench: &Bench, first: u16, count: u16) -> Range<u16> {
    let ports = first..first + count;
    for plan in FAMILIES {
        for port in ports.clone() {
            let datagram = udp(plan.outside(port), plan.pod(53), b"?");
            let (action, _) = bench.put(Hook::FromNet, &datagram).unwrap();
            assert_eq!(action, REDIRECT, "{port}");
        }
    }
    ports
}

/// How many of these flows are there.
fn standing(bench: &mut Bench, ports: &Range<u16>) -> usize {
    let mut standing = 0;
    for plan in FAMILIES {
        for port in ports.clone() {
            let flow = bench.flow(plan.outside(port), plan.pod(53), UDP).unwrap();
            standing += usize::from(flow.is_some());
        }
    }
    standing
}

#[test]
fn one_processor_has_the_whole_table_of_flows() {
    let mut bench = bench(1024);
    processors().next().unwrap();
    let ports = begin(&bench, 1000, 1024);
    assert_eq!(standing(&mut bench, &ports), 2 * 1024);
}

#[test]
fn all_processors_fill_one_table_of_flows() {
    let mut bench = bench(8192);
    let mut next = 1000;
    let mut begun = 0;
    for _ in processors() {
        // Half of the table if there are 64 of them.
        next = begin(&bench, next, 64).end;
        begun += 2 * 64;
    }
    let standing = standing(&mut bench, &(1000..next));
    writeln!(
        stdout(),
        "\nflows of {} processors: {standing} of {begun}",
        begun / 128
    )
    .unwrap();
    assert!(standing * 100 >= begun * 95, "{standing} of {begun} flows");
}

#[test]
fn fragments_are_known_whichever_processor_had_the_first() {
    let bench = bench(1024);
    let mut pieces = Vec::new();
    let mut number = 0;
    for _ in processors() {
        for plan in FAMILIES {
            for _ in 0..16 {
                number += 1;
                let datagram = udp(plan.outside(4000), plan.pod(53), &[7; 64]);
                let [first, second] = fragments(&datagram, number);
                assert_eq!(bench.put(Hook::FromNet, &first).unwrap().0, REDIRECT);
                pieces.push(second);
            }
        }
    }
    let known = pieces
        .iter()
        .filter(|piece| bench.put(Hook::FromNet, piece).unwrap().0 == REDIRECT);
    assert_eq!(known.count(), pieces.len());
}

#[test]
fn maps_are_large_enough_for_many_processors() {
    let object = Object::parse(OBJECT).unwrap();
    let capacities: BTreeMap<_, _> = Capacities::default().by_map().into();
    let mut memory = 0;
    let mut out = stdout();
    writeln!(out).unwrap();
    for (name, map) in &object.maps {
        let sized = capacities.get(name.as_str()).copied();
        let entries = sized.unwrap_or(map.max_entries());
        if map.map_type() == PER_CPU_ARRAY {
            let value = map.value_size().next_multiple_of(8);
            let bytes = u64::from(value) * u64::from(entries) * u64::from(MANY);
            memory += bytes;
            writeln!(
                out,
                "{name}: {entries} of each of {MANY} processors, {bytes} bytes"
            )
            .unwrap();
        } else if map.map_type() == LRU_HASH {
            let aside = SET_ASIDE * MANY;
            writeln!(
                out,
                "{name}: {entries}, of which {MANY} processors set {aside} aside"
            )
            .unwrap();
            // Those that are private to a load of the programs: long/processors_private.rs.
            assert!(
                sized.is_none() || entries >= aside,
                "{name} has too few entries"
            );
        }
    }
    assert!(memory <= MEMORY, "{memory} bytes of values per processor");
}
