//! Records of flows, written straight into their slots.

use std::os::fd::AsFd as _;

use proxy_agent::datapath::{
    Pins,
    bpfsys::{map, object},
    clock,
};
use proxy_common::{
    address::TCP,
    conntrack::{Flow, Head, Tuple},
};
use weir_tests::world::Node;

/// A flow of TCP that lives on for a while, of no pods and no Service.
pub(super) fn flow<A: Copy>(flags: u16, nowhere: A) -> Flow<A> {
    let head = Head {
        flags,
        protocol: TCP,
        generation: 1,
        seen: 0,
    };
    let tuple = Tuple {
        source: nowhere,
        destination: nowhere,
        source_port: 1,
        destination_port: 80,
    };
    Flow {
        head: head.pack(),
        expires: clock::seconds() + 1000,
        epoch: [0; 2],
        endpoint: [0; 2],
        cookie: [0; 2],
        service: 0,
        backend: 0,
        target: [tuple; 2],
    }
}

/// Puts a flow into a slot of `FLOWS4` or `FLOWS6`.
pub(super) fn put<V: aya::Pod>(node: &Node, name: &str, slot: u32, flow: &V) {
    let pins = Pins::new(&node.file("/sys/fs/bpf"), "default").unwrap();
    let flows = object::open_map(&pins.map(name)).unwrap();
    map::update(flows.as_fd(), &slot, flow).unwrap();
}
