//! Loading, pinning, restarting: what an agent finds and leaves in the kernel.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proxy_agent::datapath::{
    Capacities, Datapath, DatapathError, KernelTable, Pins, Reader, Table as _, TableError,
    Words as _,
    bpfsys::{link, map, object},
    declarations,
    object::programs,
};
use proxy_common::{
    backends::SlotKey,
    conntrack::Flow4,
    counters::{Counter, NO_BACKEND, REASONS},
    layout::SCHEMA,
    policy::peers::{CidrKey4, Peer},
};
use weir_tests::{
    datapath,
    world::{Node, World},
};

const SOCKET_PROGRAMS: [&str; 4] = ["connect4", "connect6", "getpeername4", "getpeername6"];

fn node(name: &str) -> Node {
    World::new(name).unwrap().node("a").unwrap()
}

fn refusal(node: &Node) -> DatapathError {
    Datapath::open(&datapath::config(node)).unwrap_err()
}

#[test]
fn the_verifier_accepts_every_program() {
    let node = node("verifier");
    let mut datapath = Datapath::open(&datapath::config(&node)).unwrap();
    let loaded: Vec<String> = datapath
        .programs_mut()
        .unwrap()
        .programs()
        .map(|(name, program)| {
            program.fd().unwrap();
            name.to_owned()
        })
        .collect();
    let declared = programs().unwrap();
    assert_eq!(loaded.len(), declared.len());
    for name in SOCKET_PROGRAMS {
        assert!(declared.iter().any(|p| p == name), "{name}");
    }
}

#[test]
fn a_restart_keeps_maps_and_links_and_replaces_programs() {
    let node = node("restart");
    let (before, usage, attached) = {
        let datapath = datapath::open(&node).unwrap();
        let mut slots = datapath.maps().backend_slots.clone();
        slots.set(&SlotKey { set: 7, index: 1 }, &42).unwrap();
        let reader = Reader::open(datapath.pins().clone()).unwrap();
        (
            reader.maps().backend_slots.entries().unwrap(),
            datapath.maps().usage().unwrap(),
            datapath.attachments().unwrap(),
        )
    };
    assert_eq!(before, [(SlotKey { set: 7, index: 1 }, 42)]);
    assert_eq!(attached.len(), SOCKET_PROGRAMS.len());

    let datapath = datapath::open(&node).unwrap();
    assert_eq!(datapath.maps().backend_slots.entries().unwrap(), before);
    let ids = |usage: Vec<proxy_agent::datapath::MapUsage>| -> Vec<(String, u32)> {
        usage.into_iter().map(|m| (m.name, m.id)).collect()
    };
    assert_eq!(ids(datapath.maps().usage().unwrap()), ids(usage));
    for (now, then) in datapath.attachments().unwrap().iter().zip(&attached) {
        assert_eq!((&now.name, now.link), (&then.name, then.link));
        assert_ne!(now.program, then.program, "{} has our program", now.name);
    }
}

/// Whoever starts on a machine looks at all its links, and others attach theirs meanwhile.
#[test]
fn links_that_others_make_meanwhile_hinder_nobody() {
    /// `BPF_CGROUP_INET4_CONNECT`.
    const CONNECT4: u32 = 10;
    let node = node("others");
    let config = datapath::config(&node);
    let mut datapath = Datapath::open(&config).unwrap();
    let programs = datapath.programs_mut().unwrap();
    let program = programs.programs().find(|(name, _)| *name == "connect4");
    let program = program.unwrap().1.fd().unwrap().as_fd();
    let cgroup = fs::File::open(&config.cgroup_root).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    link::create(program, cgroup.as_raw_fd().cast_unsigned(), CONNECT4, 0).unwrap();
                }
            });
        }
        for _ in 0..2000 {
            let found = link::find(|_| false);
            if !matches!(found, Ok(None)) {
                over.store(true, Ordering::Relaxed);
            }
            assert!(found.unwrap().is_none());
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_is_private_to_the_programs_is_not_pinned_and_flows_are() {
    let node = node("private");
    let datapath = datapath::open(&node).unwrap();
    let pinned = |name: &str| datapath.pins().map(name).exists();
    for name in [
        "SCRATCH",
        "NEXT_HOPS",
        "NEXT_HOP_ASKED",
        "NODE_RANGE_KEY",
        "FLOW_CURSOR",
        "ANSWERED",
    ] {
        assert!(!pinned(name), "{name}");
    }
    let flows = object::open_map(&datapath.pins().map("FLOWS4")).unwrap();
    let mut flow: Flow4 = map::zeroed();
    (flow.expires, flow.service) = (1, 4711);
    map::update(flows.as_fd(), &8191_u32, &flow).unwrap();
    drop(datapath);
    let again = datapath::open(&node).unwrap();
    let found = again.maps().flows4.get(8191).unwrap();
    assert_eq!(found.service, 4711);
}

#[test]
fn nothing_is_left_after_removal() {
    let node = node("removal");
    let datapath = datapath::open(&node).unwrap();
    let pins = datapath.pins().clone();
    drop(datapath);
    let errors = pins.remove();
    assert!(errors.is_empty(), "{errors:?}");
    let folder = node.file("/sys/fs/bpf/weir");
    assert!(!folder.exists(), "{}", folder.display());
}

#[test]
fn maps_of_a_version_that_declared_less_or_more_are_taken_over() {
    let node = node("declared");
    let pins = datapath::open(&node).unwrap().pins().clone();
    let path = pins.declarations();
    let mut declared = KernelTable::<u64, u64>::open(&path).unwrap();
    let ours = declared.entries().unwrap();
    let (fewer, more) = (ours.iter().step_by(2), 0x0dd);
    for (name, _) in fewer {
        declared.remove(name).unwrap();
    }
    declared.set(&more, &1).unwrap();
    fs::remove_file(pins.map("VIPS4")).unwrap();
    let again = datapath::open(&node).unwrap();
    assert!(again.maps().vips4.entries().unwrap().is_empty());
    let now = declared.entries().unwrap();
    let kept = now.iter().filter(|(name, _)| *name != more);
    assert!(kept.eq(&ours), "what this version declares is noted");
    assert_eq!(now.len(), ours.len() + 1);
}

/// A map like this, with its types.
fn map_of<K: aya::Pod + std::fmt::Debug + Ord>(
    node: &Node,
    (kind, flags, max_entries): (u32, u32, u32),
) -> KernelTable<K, u32> {
    let path = node.file(&format!("/sys/fs/bpf/kind{kind}"));
    let info = object::MapInfo {
        kind,
        key_size: size_of::<K>() as u32,
        value_size: 4,
        max_entries,
        flags,
        ..object::MapInfo::default()
    };
    object::pin(map::create(&info).unwrap(), &path).unwrap();
    KernelTable::open(&path).unwrap()
}

/// `BPF_F_NO_PREALLOC`.
const GROWS: u32 = 1;
/// `BPF_MAP_TYPE_HASH`, `_ARRAY`, `_LPM_TRIE`, and `_DEVMAP`, for which kernels have no batches.
const HASH: u32 = 1;
const ARRAY: u32 = 2;
const PREFIXES: u32 = 11;
const DEVICES: u32 = 14;

#[test]
fn many_entries_are_written_in_order_until_one_is_refused() {
    let node = node("batches");
    let entries: Vec<(u32, u32)> = (0..12_000).map(|n| (n, n + 1)).collect();
    let mut hash = map_of::<u32>(&node, (HASH, GROWS, 10_000));
    let (written, result) = hash.set_all(&entries);
    assert_eq!(written, 10_000);
    let refused = result.unwrap_err();
    assert!(matches!(refused, TableError::Full { .. }), "{refused}");
    let alone = hash.set(&11_000, &1).unwrap_err();
    assert_eq!(refused.to_string(), alone.to_string());
    let mut found = hash.entries().unwrap();
    found.sort_unstable();
    assert_eq!(found, entries[..10_000]);
    // What is there already is written anew, and of two the last holds.
    let again: Vec<(u32, u32)> = (0..5000).chain(0..5000).zip(7..).collect();
    let (written, result) = hash.set_all(&again);
    assert_eq!((written, result.is_ok()), (10_000, true));
    assert_eq!(hash.get(&4999).unwrap(), Some(7 + 9999));

    let mut array = map_of::<u32>(&node, (ARRAY, 0, 16));
    let (written, result) = array.set_all(&[(3, 1), (4, 2), (99, 3), (5, 4)]);
    assert_eq!((written, result.is_err()), (2, true));
    assert_eq!(array.entries().unwrap(), [(3, 1), (4, 2)]);

    let mut prefixes = map_of::<u64>(&node, (PREFIXES, GROWS, 100));
    let host = |n: u64| (32 | n << 32, n as u32);
    let hosts: Vec<(u64, u32)> = (0..100).map(host).collect();
    let (written, result) = prefixes.set_all(&hosts);
    assert_eq!((written, result.is_ok()), (100, true));
    let (written, result) = prefixes.set_all(&[host(5), host(100), host(6)]);
    assert_eq!(written, 1);
    assert!(matches!(result, Err(TableError::Full { .. })), "{result:?}");
    assert_eq!(prefixes.entries().unwrap().len(), 100);
}

#[test]
fn where_the_kernel_has_no_batches_entries_are_written_one_by_one() {
    let node = node("nobatches");
    let mut devices = map_of::<u32>(&node, (DEVICES, 0, 8));
    // The loopback; there is no interface of the other number.
    let (lo, none) = (1, 999_999);
    for _ in 0..2 {
        let (written, result) = devices.set_all(&[(1, lo), (2, lo), (3, none), (4, lo)]);
        assert_eq!(written, 2);
        let refused = result.unwrap_err();
        let alone = devices.set(&3, &none).unwrap_err();
        assert_eq!(refused.to_string(), alone.to_string());
        let held = [1, 2, 4].map(|key| devices.get(&key).unwrap());
        assert_eq!(held, [Some(lo), Some(lo), None]);
    }
}

#[test]
fn maps_that_hold_something_else_are_refused_by_name_and_left_alone() {
    let node = node("changed");
    let pins = datapath::open(&node).unwrap().pins().clone();
    let path = pins.declarations();
    let mut declared = KernelTable::<u64, u64>::open(&path).unwrap();
    for name in ["Frontend", "FLOW_ASSURED"] {
        declared.set(&declarations::number(name), &0xbad).unwrap();
    }
    let before = declared.entries().unwrap();
    let error = refusal(&node).to_string();
    assert!(
        error.ends_with("declares otherwise what they hold: FLOW_ASSURED, Frontend"),
        "{error}"
    );
    let error = Reader::open(pins).unwrap_err();
    assert!(
        matches!(error, DatapathError::ChangedLayout { .. }),
        "{error}"
    );
    assert_eq!(declared.entries().unwrap(), before);
}

#[test]
fn a_foreign_layout_is_refused_and_left_alone() {
    let node = node("foreign");
    let pins = datapath::open(&node).unwrap().pins().clone();
    let meta = object::open_map(&pins.meta()).unwrap();
    let foreign = [u64::from(SCHEMA), 0xbad];
    map::update(meta.as_fd(), &0_u32, &foreign).unwrap();
    fs::remove_file(pins.declarations()).unwrap();
    let error = refusal(&node);
    assert!(error.to_string().contains("0x0000000000000bad"), "{error}");
    let error = Reader::open(pins).unwrap_err();
    assert!(
        matches!(error, DatapathError::ForeignLayout { .. }),
        "{error}"
    );
    let kept: Option<[u64; 2]> = map::lookup(meta.as_fd(), &0_u32).unwrap();
    assert_eq!(kept, Some(foreign));
}

#[test]
fn maps_without_a_layout_are_foreign() {
    let node = node("nameless");
    let pins = datapath::open(&node).unwrap().pins().clone();
    fs::remove_file(pins.meta()).unwrap();
    fs::remove_file(pins.declarations()).unwrap();
    let error = refusal(&node).to_string();
    assert!(error.contains("another layout (none)"), "{error}");
}

#[test]
fn other_schemas_are_refused_and_left_alone() {
    let node = node("schema");
    let pins = Pins::new(&node.file("/sys/fs/bpf"), node.name()).unwrap();
    fs::create_dir_all(pins.schema(SCHEMA + 1)).unwrap();
    let error = refusal(&node);
    let (text, hint) = (error.to_string(), error.hint());
    assert!(
        text.contains("newer Weir made them") && hint.contains("`proxy-agent cleanup`"),
        "{text}: {hint}"
    );
    assert!(pins.schema(SCHEMA + 1).is_dir() && !pins.schema(SCHEMA).exists());

    fs::remove_dir(pins.schema(SCHEMA + 1)).unwrap();
    fs::create_dir_all(pins.schema(0)).unwrap();
    let error = refusal(&node);
    assert!(
        matches!(error, DatapathError::OlderSchema { .. }),
        "{error}"
    );
}

#[test]
fn pins_that_are_not_our_maps_are_refused() {
    let node = node("corrupt");
    let pins = datapath::open(&node).unwrap().pins().clone();

    fs::remove_file(pins.map("AFFINITY")).unwrap();
    let array = map::create_array(64, 2).unwrap();
    object::pin(&array, &pins.map("AFFINITY")).unwrap();
    let error = refusal(&node);
    assert!(
        matches!(&error, DatapathError::PinMismatch { what: "type", .. }),
        "{error}"
    );

    fs::remove_file(pins.map("AFFINITY")).unwrap();
    let link = object::open_link(&pins.link("connect4")).unwrap();
    object::pin(&link, &pins.map("AFFINITY")).unwrap();
    let error = refusal(&node);
    assert!(
        matches!(&error, DatapathError::CorruptPin { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("not a map"), "{error}");

    fs::remove_file(pins.map("AFFINITY")).unwrap();
    datapath::open(&node).unwrap();
}

#[test]
fn a_full_map_says_so_and_keeps_what_it_has() {
    let node = node("full");
    let mut config = datapath::config(&node);
    config.capacities = Capacities {
        backend_slots: 3,
        ..Capacities::small()
    };
    let datapath = Datapath::open(&config).unwrap();
    let mut slots = datapath.maps().backend_slots.clone();
    let key = |index| SlotKey { set: 1, index };
    for index in 0..3 {
        slots.set(&key(index), &index).unwrap();
    }
    let error = slots.set(&key(3), &3).unwrap_err();
    assert!(
        matches!(&error, TableError::Full { capacity: 3, map, .. } if map == "BACKEND_SLOTS"),
        "{error}"
    );
    slots.set(&key(0), &9).unwrap();
    assert_eq!(slots.entries().unwrap().len(), 3);
    assert_eq!(slots.get(&key(0)).unwrap(), Some(9));
    slots.remove(&key(1)).unwrap();
    slots.remove(&key(1)).unwrap();
    slots.set(&key(3), &3).unwrap();
}

#[test]
fn every_kind_of_map_is_read_as_it_was_written() {
    let node = node("kinds");
    let datapath = Datapath::open(&datapath::config(&node)).unwrap();
    let mut maps = datapath.maps().clone();

    // More than one batch.
    for index in 0..6000 {
        maps.backend_slots
            .set(&SlotKey { set: 1, index }, &index)
            .unwrap();
    }
    let slots = maps.backend_slots.entries().unwrap();
    assert_eq!(slots.len(), 6000);
    assert!(slots.iter().all(|(key, value)| key.index == *value));

    // Prefixes: exact ones by `get`, the longest by `lookup`.
    let prefix = |length: u32, last| proxy_agent::datapath::Prefix {
        length: 32 + length,
        data: CidrKey4 {
            side: 1,
            address: u32::from_ne_bytes([10, 1, 0, last]),
        },
    };
    let peer = |class| Peer { class, flags: 0 };
    maps.cidrs4.set(&prefix(16, 0), &peer(1)).unwrap();
    maps.cidrs4.set(&prefix(30, 4), &peer(2)).unwrap();
    assert_eq!(maps.cidrs4.get(&prefix(24, 0)).unwrap(), None);
    assert_eq!(maps.cidrs4.lookup(&prefix(32, 5)).unwrap(), Some(peer(2)));
    assert_eq!(maps.cidrs4.lookup(&prefix(32, 9)).unwrap(), Some(peer(1)));
    assert_eq!(maps.cidrs4.entries().unwrap().len(), 2);
    maps.cidrs4.remove(&prefix(30, 4)).unwrap();
    assert_eq!(maps.cidrs4.lookup(&prefix(32, 5)).unwrap(), Some(peer(1)));

    // Words are seen through another mapping, and by the kernel.
    maps.policy_words.set(4000, 0x1234_5678_9abc_def0);
    let reader = Reader::open(datapath.pins().clone()).unwrap();
    assert_eq!(reader.maps().policy_words.get(4000), 0x1234_5678_9abc_def0);
    let usage = reader.maps().usage().unwrap();
    let of = |name: &str| usage.iter().find(|m| m.name == name).unwrap().clone();
    assert_eq!(of("POLICY_WORDS").entries, Some(1));
    assert_eq!(of("BACKEND_SLOTS").entries, Some(6000));
    assert_eq!(
        (of("CIDRS4").kind, of("CIDRS4").max_entries),
        ("lpm_trie", 4096)
    );
    assert_eq!(maps.drops.get(NO_BACKEND).unwrap(), Counter::default());
    assert_eq!(maps.drops.all().unwrap().len(), REASONS.len());
}

#[test]
fn a_missing_datapath_is_named() {
    let node = node("absent");
    let pins = Pins::new(&node.file("/sys/fs/bpf"), "absent").unwrap();
    let error = Reader::open(pins).unwrap_err();
    assert!(matches!(&error, DatapathError::NotLoaded { .. }), "{error}");
}

#[test]
fn dead_links_are_swept() {
    let node = node("sweep");
    let datapath = datapath::open(&node).unwrap();
    assert!(datapath.sweep().unwrap().is_empty());
    let gone = node.cgroup_root().child("gone").unwrap();
    let mut config = datapath::config(&node);
    config.instance = "other".to_owned();
    config.cgroup_root = gone.path().to_owned();
    let other = Datapath::open(&config).unwrap();
    other.attach_sockets().unwrap();
    gone.remove().unwrap();
    // They die one after the other.
    let mut swept = Vec::new();
    let died = weir_tests::world::until(
        "the links to die",
        std::time::Duration::from_secs(5),
        || {
            swept.extend(other.sweep()?);
            Ok((swept.len() >= SOCKET_PROGRAMS.len()).then_some(()))
        },
    );
    died.unwrap();
    assert_eq!(swept.len(), SOCKET_PROGRAMS.len());
    assert_eq!(datapath.attachments().unwrap().len(), SOCKET_PROGRAMS.len());
}
