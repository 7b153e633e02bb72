use std::collections::BTreeMap;

use proptest::prelude::*;
use proxy_common::{
    address::{Address4, TCP, UDP, address4},
    conntrack::{
        ENDPOINT_HOST, FLOW_ASSURED, FLOW_HAIRPIN, FLOW_MASQUERADED, FLOW_REPLIED, FLOW_RST_0,
        FLOW_RST_1, FLOW_SOURCE_TRANSLATED, FLOW_STACK, Flow, Head, Tuple,
    },
    v1,
};

use super::{Entry, Node, down, key, up};

const NOW: u32 = 1000;

const fn ip(last: u8) -> Address4 {
    address4([10, 0, 0, last])
}

const CLIENT: Address4 = ip(1);
const SERVER: Address4 = ip(2);
const NODE: Address4 = ip(3);
const OUTSIDE: Address4 = ip(4);
const ELSEWHERE: Address4 = ip(5);
const VIP: Address4 = ip(10);

/// Two pods, the node itself, and the way packets go.
struct Here {
    forwards: bool,
}

impl Node<Address4> for Here {
    fn forwards(&self) -> bool {
        self.forwards
    }

    fn endpoint(&self, address: Address4) -> u16 {
        match address {
            CLIENT => 7,
            SERVER => 8,
            NODE => ENDPOINT_HOST,
            _ => 0,
        }
    }
}

fn tuple(source: Address4, source_port: u16, destination: Address4, port: u16) -> Tuple<Address4> {
    Tuple {
        source,
        destination,
        source_port: source_port.to_be(),
        destination_port: port.to_be(),
    }
}

/// A flow that came as one tuple and goes on as another.
fn flow(
    came: Tuple<Address4>,
    goes: Tuple<Address4>,
    endpoint: [u16; 2],
    flags: u16,
) -> Flow<Address4> {
    let translated = came != goes;
    let known = |side: usize, value: u32| {
        let pod = endpoint[side] != 0 && endpoint[side] != ENDPOINT_HOST;
        if pod { value } else { 0 }
    };
    Flow {
        head: Head {
            flags,
            protocol: TCP,
            ..Head::default()
        }
        .pack(),
        expires: NOW + 100,
        epoch: [known(0, 11), known(1, 12)],
        endpoint,
        cookie: [known(0, 21), known(1, 22)],
        service: if translated { 31 } else { 0 },
        backend: if translated { 41 } else { 0 },
        target: [goes, came.reversed()],
    }
}

/// Every kind of flow that both schemas have, with the number of its entries in schema 1.
fn kinds() -> Vec<(&'static str, bool, Flow<Address4>, usize)> {
    let plain = |tuple, endpoint, flags| flow(tuple, tuple, endpoint, flags);
    let to_vip = tuple(CLIENT, 4000, VIP, 80);
    vec![
        (
            "pod to pod",
            true,
            plain(tuple(CLIENT, 1, SERVER, 2), [7, 8], 0),
            2,
        ),
        (
            "pod to world",
            true,
            plain(tuple(CLIENT, 1, OUTSIDE, 2), [7, 0], FLOW_STACK),
            1,
        ),
        (
            "pod to pod elsewhere",
            true,
            plain(tuple(CLIENT, 1, ELSEWHERE, 2), [7, 0], 0),
            1,
        ),
        (
            "pod to node",
            true,
            plain(tuple(CLIENT, 1, NODE, 2), [7, ENDPOINT_HOST], FLOW_STACK),
            1,
        ),
        (
            "world to pod",
            true,
            plain(tuple(OUTSIDE, 1, SERVER, 2), [0, 8], 0),
            1,
        ),
        (
            "host to pod",
            true,
            plain(tuple(NODE, 1, SERVER, 2), [ENDPOINT_HOST, 8], 0),
            1,
        ),
        (
            "pod to pod by the stack",
            false,
            plain(tuple(CLIENT, 1, SERVER, 2), [7, 8], FLOW_STACK),
            2,
        ),
        (
            "Service here",
            true,
            flow(to_vip, tuple(CLIENT, 4000, SERVER, 8080), [7, 8], 0),
            2,
        ),
        (
            "Service here, another port",
            true,
            flow(to_vip, tuple(CLIENT, 4001, SERVER, 8080), [7, 8], 0),
            2,
        ),
        (
            "Service elsewhere",
            true,
            flow(to_vip, tuple(CLIENT, 4000, ELSEWHERE, 8080), [7, 0], 0),
            2,
        ),
        (
            "Service here by the stack",
            false,
            flow(
                to_vip,
                tuple(CLIENT, 4000, SERVER, 8080),
                [7, 8],
                FLOW_STACK,
            ),
            3,
        ),
        (
            "hairpin",
            true,
            flow(to_vip, tuple(VIP, 4000, CLIENT, 8080), [7, 7], FLOW_HAIRPIN),
            2,
        ),
        (
            "NodePort here",
            true,
            flow(
                tuple(OUTSIDE, 5, NODE, 30080),
                tuple(OUTSIDE, 5, SERVER, 8080),
                [0, 8],
                0,
            ),
            2,
        ),
        (
            "NodePort elsewhere",
            true,
            flow(
                tuple(OUTSIDE, 5, NODE, 30080),
                tuple(NODE, 20005, ELSEWHERE, 8080),
                [0, 0],
                FLOW_SOURCE_TRANSLATED,
            ),
            2,
        ),
        (
            "host to Service here",
            true,
            flow(
                tuple(NODE, 5, VIP, 80),
                tuple(NODE, 5, SERVER, 8080),
                [ENDPOINT_HOST, 8],
                0,
            ),
            3,
        ),
    ]
}

#[test]
fn each_kind_of_flow_goes_down_and_comes_up_as_it_was() {
    for (kind, forwards, flow, entries) in kinds() {
        let here = Here { forwards };
        let made = down(&flow, &here);
        assert_eq!(made.len(), entries, "{kind}: {made:#?}");
        let mut back = up(made.clone(), &here, NOW);
        assert_eq!(back.len(), 1, "{kind}");
        let back = back.remove(0);
        assert_eq!(back, flow, "{kind}");
    }
}

#[test]
fn what_is_over_stays_behind() {
    let (_, forwards, flow, _) = kinds().remove(0);
    let here = Here { forwards };
    assert_eq!(up(down(&flow, &here), &here, NOW + 101), []);
}

#[test]
fn a_twin_alone_is_enough() {
    for (kind, forwards, flow, _) in kinds() {
        let here = Here { forwards };
        for entry in down(&flow, &here) {
            let plain =
                entry.1.flags & (v1::FLOW_REWRITE_FROM_LOCAL | v1::FLOW_REWRITE_TO_LOCAL) == 0;
            let translated = flow.target[0] != flow.target[1].reversed();
            if plain && translated {
                // The serving pod's own entry, where the node translates.
                continue;
            }
            let back = up([entry], &here, NOW);
            assert_eq!(back[0].target, flow.target, "{kind}: {entry:?}");
            assert_eq!(key(&back[0]), key(&flow), "{kind}");
        }
    }
}

proptest! {
    #[test]
    fn states_are_kept(bits in 0_u16..64, number in 0_usize..15) {
        let (_, forwards, mut flow, _) = kinds().remove(number);
        let states = [FLOW_REPLIED | FLOW_ASSURED, FLOW_RST_0 | FLOW_RST_1];
        let mut head = Head::unpack(flow.head);
        for direction in 0..2 {
            if bits >> (direction + 2) & 1 != 0 {
                head = head.ended(direction);
            }
        }
        for (bit, state) in states.into_iter().enumerate() {
            if bits >> bit & 1 != 0 {
                head.flags |= state;
            }
        }
        head.protocol = if bits >> 5 != 0 { UDP } else { TCP };
        flow.head = head.pack();
        let here = Here { forwards };
        let entries: BTreeMap<_, _> = down(&flow, &here).into_iter().collect();
        let back = up(entries.into_iter().collect::<Vec<Entry<Address4>>>(), &here, NOW);
        prop_assert_eq!(Head::unpack(back[0].head), head);
    }
}

#[test]
fn what_is_masqueraded_has_no_entry_in_schema_1() {
    let came = tuple(CLIENT, 1, OUTSIDE, 80);
    let flow = flow(
        came,
        tuple(NODE, 40000, OUTSIDE, 80),
        [7, 0],
        FLOW_MASQUERADED,
    );
    for forwards in [true, false] {
        assert_eq!(down(&flow, &Here { forwards }), []);
    }
}
