//! Maps that take no write from user space any more: whichever it is, the node is unhealthy, and told why.
#![expect(unsafe_code, reason = "map operations that no library has")]

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use weir_tests::world::{Manifests, Node, Process, World, until};

use super::{
    fixture::ready,
    unhealthy::{CHECK, CONFIGURATION, HEALTHZ, LOAD_BALANCER, answers},
    vanished,
};

const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_FREEZE: libc::c_long = 22;

const ARRAY: u32 = 2;
const LPM_TRIE: u32 = 11;

/// Maps that the agent writes and compares, and what it says whose they are.
const MAPS: [(&str, &str); 34] = [
    ("FRONTENDS4", "Services"),
    ("FRONTENDS6", "Services"),
    ("BACKENDS4", "Services"),
    ("BACKENDS6", "Services"),
    ("BACKEND_SLOTS", "Services"),
    ("BACKEND_MEMBERS", "Services"),
    ("MAGLEV", "Services"),
    ("SOURCES4", "Services"),
    ("SOURCES6", "Services"),
    ("VIPS4", "Services"),
    ("VIPS6", "Services"),
    ("NODE_CONFIG", "node"),
    ("NODE_ADDRESSES4", "node"),
    ("NODE_ADDRESSES6", "node"),
    ("NODE_RANGES4", "node"),
    ("NODE_RANGES6", "node"),
    ("ROUTE_MTUS4", "node"),
    ("ROUTE_MTUS6", "node"),
    ("LINKS", "node"),
    ("INSIDE4", "node"),
    ("INSIDE6", "node"),
    ("ROUTE_SOURCES4", "node"),
    ("ROUTE_SOURCES6", "node"),
    ("TUNNELS4", "node"),
    ("TUNNELS6", "node"),
    ("ENDPOINTS", "pods"),
    ("INTERFACES", "pods"),
    ("CLIENTS", "pods"),
    ("LOCAL_PODS4", "pods"),
    ("LOCAL_PODS6", "pods"),
    ("PEERS4", "policy"),
    ("PEERS6", "policy"),
    ("CIDRS4", "policy"),
    ("CIDRS6", "policy"),
];

/// The others, and why no test freezes them.
const OTHERS: [(&str, &str); 16] = [
    ("AFFINITY", "programs write it"),
    ("DROPS", "programs write it"),
    ("FLOWS4", "programs write it"),
    ("FLOWS6", "programs write it"),
    ("FLOW_INDEX4", "programs write it"),
    ("FLOW_INDEX6", "programs write it"),
    ("FRAGMENTS4", "programs write it"),
    ("FRAGMENTS6", "programs write it"),
    ("RELAYS", "programs write it"),
    ("SOCKET_PEER", "programs write it"),
    (
        "INTERVALS",
        "cells lead to its entries: what none leads to is not compared",
    ),
    (
        "NODE_PORTS",
        "it is mapped into memory, and cannot be frozen",
    ),
    ("PACES", "programs write it"),
    (
        "POLICY_CELLS",
        "it is mapped into memory, and cannot be frozen",
    ),
    (
        "POLICY_WORDS",
        "it is mapped into memory, and cannot be frozen",
    ),
    (
        "SERVICE_EPOCH",
        "a number that only grows: what somebody else wrote is as good",
    ),
];

fn bpf(call: libc::c_long, attributes: &[u64; 16]) -> io::Result<libc::c_long> {
    let size = size_of_val(attributes);
    // SAFETY: the callers' attributes hold descriptors, and addresses of what outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, call, attributes.as_ptr(), size) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done)
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_encoded_bytes())?;
    let mut attributes = [0_u64; 16];
    attributes[0] = path.as_ptr() as u64;
    let fd = bpf(BPF_OBJ_GET, &attributes)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the call made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(map: &OwnedFd) -> u64 {
    u64::from(map.as_raw_fd().unsigned_abs())
}

/// From now on the kernel takes no write to the map from user space.
fn freeze(map: &OwnedFd) -> io::Result<()> {
    let mut attributes = [0_u64; 16];
    attributes[0] = number(map);
    bpf(BPF_MAP_FREEZE, &attributes).map(drop)
}

/// Writes what the agent has not.
fn damage(map: &OwnedFd, of_policy: bool) -> io::Result<()> {
    let mut info = [0_u32; 64];
    let mut attributes = [0_u64; 16];
    // Descriptor and size of the info, and its address.
    attributes[0] = number(map) | (size_of_val(&info) as u64) << 32;
    attributes[1] = info.as_mut_ptr() as u64;
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes)?;
    let [kind, _, key_size, value_size, ..] = info;
    let value = vec![1_u8; value_size as usize];
    for key in keys(kind, key_size as usize, of_policy) {
        let mut attributes = [0_u64; 16];
        attributes[0] = number(map);
        attributes[1] = key.as_ptr() as u64;
        attributes[2] = value.as_ptr() as u64;
        bpf(BPF_MAP_UPDATE_ELEM, &attributes)?;
    }
    Ok(())
}

/// Keys that nobody uses. Those of policy begin with the side to which they belong, and only one of two is in force.
fn keys(kind: u32, size: usize, of_policy: bool) -> Vec<Vec<u8>> {
    let key = vec![0x11; size];
    let at = if kind == LPM_TRIE { 4 } else { 0 };
    let sides = if of_policy { 0..2_u32 } else { 0..1 };
    let keys = sides.map(|side| {
        let mut key = key.clone();
        if kind == LPM_TRIE {
            let length: u32 = if of_policy { 40 } else { 8 };
            key[..4].copy_from_slice(&length.to_ne_bytes());
        }
        if of_policy {
            key[at..at + 4].copy_from_slice(&side.to_ne_bytes());
        }
        if kind == ARRAY {
            key.fill(0);
        }
        key
    });
    keys.collect()
}

fn pin(node: &Node, map: &str) -> PathBuf {
    let found = node
        .run(&["find", "/sys/fs/bpf/weir", "-name", map])
        .unwrap();
    node.file(found.trim())
}

pub(super) fn freeze_map(node: &Node, map: &str) {
    freeze(&open(&pin(node, map)).unwrap()).unwrap();
}

/// All maps of the agent's.
fn maps(node: &Node) -> Vec<String> {
    let folder = pin(node, "FRONTENDS4");
    let folder = folder.parent().unwrap().read_dir().unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A node whose agent compares its maps, with a check of a load balancer's. The agent ends before its node.
struct Stage {
    _agent: Process,
    node: Node,
    _manifests: Manifests,
}

impl Stage {
    fn start(world: &World, name: &str, configuration: &str) -> Self {
        let node = world.node(name).unwrap();
        let manifests = Manifests::new().unwrap();
        manifests.node(&node).unwrap();
        let local = LOAD_BALANCER.replace("nodeName: a", &format!("nodeName: {name}"));
        manifests.apply("lb.yaml", &local).unwrap();
        Self {
            // What is left in its maps is nobody's to miss.
            _agent: vanished::start(&node, &manifests, &["--config", configuration]),
            _manifests: manifests,
            node,
        }
    }
}

#[test]
fn whichever_map_takes_no_write_the_node_is_unhealthy_and_says_so() {
    let world = World::new("agent-none-written").unwrap();
    let configuration = tempfile::NamedTempFile::new().unwrap();
    fs::write(configuration.path(), CONFIGURATION).unwrap();
    let path = configuration.path().to_str().unwrap();
    let mut known: Vec<&str> = MAPS.map(|(map, _)| map).into();
    known.extend(OTHERS.map(|(map, _)| map));
    known.sort_unstable();
    // Some at a time: each waits for time-outs.
    for some in MAPS.chunks(7) {
        let stages = some.iter().map(|(map, subject)| {
            let name = map.to_lowercase().replace('_', "-");
            (*map, *subject, Stage::start(&world, &name, path))
        });
        let stages: Vec<_> = stages.collect();
        for (map, subject, Stage { node, .. }) in &stages {
            // So many start at once.
            until("the agent to be ready", Duration::from_mins(1), || {
                ready(node).map(Some)
            })
            .unwrap();
            answers(node, CHECK, 200, "\"serviceProxyHealthy\":true");
            assert_eq!(maps(node), known, "each is frozen, or it is said why not");
            let held = open(&pin(node, map)).unwrap();
            damage(&held, *subject == "policy").unwrap_or_else(|error| panic!("{map}: {error}"));
            freeze(&held).unwrap_or_else(|error| panic!("{map}: {error}"));
        }
        for (map, subject, Stage { node, .. }) in &stages {
            let named = format!("{subject}: changes not applied for");
            for at in [HEALTHZ, CHECK] {
                let text = answers(node, at, 503, &named);
                assert!(text.contains(map), "{text}");
            }
        }
    }
}
