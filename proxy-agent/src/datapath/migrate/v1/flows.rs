//! Flows: two or three entries of schema 1 for one of ours, and back.
//!
//! Each entry of a flow says into what both of its directions are turned, so that those of one flow are known by that. An
//! entry whose local side began the flow knows the beginner's egress policy, one whose remote side did the receiver's ingress.

use std::collections::HashMap;

use proxy_common::{
    conntrack::{
        ENDPOINT_HOST, FLOW_ASSURED, FLOW_FIN_0, FLOW_FIN_1, FLOW_HAIRPIN, FLOW_MASQUERADED,
        FLOW_REPLIED, FLOW_RST_0, FLOW_RST_1, FLOW_SOURCE_TRANSLATED, FLOW_STACK, Flow, FlowKey,
        Head, Tuple,
    },
    v1,
};

use super::super::flows::{Address, Record, key, lives};
use crate::datapath::flows::is_pod;

/// What of the node the entries do not say.
pub(super) trait Node<A> {
    /// Whether packets pass the host's stack by.
    fn forwards(&self) -> bool;
    /// Endpoint id of who has an address, `ENDPOINT_HOST` for the node, 0 for others.
    fn endpoint(&self, address: A) -> u16;
}

/// An entry of schema 1.
pub(super) type Entry<A> = (v1::FlowKey<A>, v1::Flow<A>);

/// The flows that these entries are about and that live, `now` seconds after boot.
pub(super) fn up<A: Address>(
    entries: impl IntoIterator<Item = Entry<A>>,
    node: &impl Node<A>,
    now: u32,
) -> Vec<Record<A>> {
    let mut flows: HashMap<FlowKey<A>, Record<A>> = HashMap::new();
    for entry in entries {
        let part = part(&entry);
        if !lives(&part, now) {
            continue;
        }
        let known = flows.get(&key(&part));
        let whole = match known {
            Some(known) if known.target == part.target => unite(known, &part),
            // Two flows cannot have one tuple: the one that was used last.
            Some(known) if known.expires > part.expires => *known,
            _ => part,
        };
        flows.insert(key(&whole), whole);
    }
    absorb(&mut flows);
    flows
        .into_values()
        .map(|flow| complete(flow, node))
        .collect()
}

/// Where the node translates and the stack delivers, the receiver's own entry is a plain one: of a flow that ends like a
/// translated one, and so is that.
fn absorb<A: Address>(flows: &mut HashMap<FlowKey<A>, Record<A>>) {
    let is_plain = |flow: &Record<A>| flow.target[0] == flow.target[1].reversed();
    let answers = |flow: &Record<A>| FlowKey {
        tuple: flow.tuple(1),
        ..key(flow)
    };
    let translated = flows.values().filter(|flow| !is_plain(flow));
    let translated: HashMap<FlowKey<A>, FlowKey<A>> =
        translated.map(|flow| (answers(flow), key(flow))).collect();
    let plain = flows.values().filter(|flow| is_plain(flow));
    let pairs: Vec<_> = plain
        .filter_map(|flow| Some((key(flow), *translated.get(&answers(flow))?)))
        .collect();
    for (plain, whole) in pairs {
        if let Some(part) = flows.remove(&plain)
            && let Some(flow) = flows.get(&whole)
        {
            let united = unite(flow, &part);
            flows.insert(whole, united);
        }
    }
}

/// What an entry alone says of its flow.
fn part<A: Address>((key, entry): &Entry<A>) -> Record<A> {
    let has = |flag: u32| entry.flags & flag != 0;
    let from_remote = has(v1::FLOW_FROM_REMOTE);
    let local = Tuple {
        source: key.local,
        destination: key.remote,
        source_port: key.local_port,
        destination_port: key.remote_port,
    };
    let target = if has(v1::FLOW_REWRITE_FROM_LOCAL) && from_remote {
        [local.reversed(), entry.rewrite]
    } else if has(v1::FLOW_REWRITE_FROM_LOCAL) {
        [entry.rewrite, local.reversed()]
    } else if has(v1::FLOW_REWRITE_TO_LOCAL) {
        [local, entry.rewrite]
    } else if from_remote {
        [local.reversed(), local]
    } else {
        [local, local.reversed()]
    };
    let side = usize::from(from_remote);
    let mut flow = Flow {
        head: ended(Head {
            flags: flags(entry.flags),
            protocol: key.protocol as u8,
            ..Head::default()
        })
        .pack(),
        expires: entry.expires,
        service: entry.service,
        backend: entry.backend,
        target,
        epoch: [0; 2],
        endpoint: [0; 2],
        cookie: [0; 2],
    };
    // The node's entries know of no policy, and not who the ends are.
    if key.scope != 0 {
        flow.epoch[side] = entry.epoch;
        flow.cookie[side] = entry.cookie;
        flow.endpoint[side] = key.scope as u16;
    }
    flow
}

/// The former schema does not say of a FIN whether it was acknowledged.
fn ended(mut head: Head) -> Head {
    for (direction, fin) in [(0, FLOW_FIN_0), (1, FLOW_FIN_1)] {
        if head.flags & fin != 0 {
            head = head.ended(direction);
        }
    }
    head
}

fn flags(entry: u32) -> u16 {
    let from_remote = entry & v1::FLOW_FROM_REMOTE != 0;
    let [local, remote] = if from_remote {
        [FLOW_FIN_1, FLOW_FIN_0]
    } else {
        [FLOW_FIN_0, FLOW_FIN_1]
    };
    let mut flags = 0;
    for (theirs, ours) in [
        (v1::FLOW_REPLIED, FLOW_REPLIED | FLOW_ASSURED),
        (v1::FLOW_FIN_LOCAL, local),
        (v1::FLOW_FIN_REMOTE, remote),
        (v1::FLOW_RST, FLOW_RST_0 | FLOW_RST_1),
        (v1::FLOW_HAIRPIN, FLOW_HAIRPIN),
        (v1::FLOW_SOURCE_TRANSLATED, FLOW_SOURCE_TRANSLATED),
        // Not a flag of ours: see `complete`.
        (v1::FLOW_REMOTE_POD, REMOTE_POD),
    ] {
        if entry & theirs != 0 {
            flags |= ours;
        }
    }
    flags
}

/// Stands in a part for `v1::FLOW_REMOTE_POD`, where ours has the bit by which a flow is begun.
const REMOTE_POD: u16 = proxy_common::conntrack::FLOW_BUSY;

/// What two entries of a flow say together.
fn unite<A: Address>(one: &Record<A>, other: &Record<A>) -> Record<A> {
    let (first, second) = (Head::unpack(one.head), Head::unpack(other.head));
    let head = ended(Head {
        flags: first.flags | second.flags,
        ..first
    });
    let either32 = |one: u32, other: u32| if one == 0 { other } else { one };
    let either16 = |one: u16, other: u16| if one == 0 { other } else { one };
    Flow {
        head: head.pack(),
        expires: one.expires.max(other.expires),
        epoch: [0, 1].map(|side| either32(one.epoch[side], other.epoch[side])),
        cookie: [0, 1].map(|side| either32(one.cookie[side], other.cookie[side])),
        endpoint: [0, 1].map(|side| either16(one.endpoint[side], other.endpoint[side])),
        service: either32(one.service, other.service),
        backend: either32(one.backend, other.backend),
        target: one.target,
    }
}

/// Adds what no entry says.
fn complete<A: Address>(mut flow: Record<A>, node: &impl Node<A>) -> Record<A> {
    let mut head = Head::unpack(flow.head);
    let ends = [flow.target[1].destination, flow.target[0].destination];
    for (end, address) in flow.endpoint.iter_mut().zip(ends) {
        if *end == 0 {
            *end = node.endpoint(address);
        }
    }
    let [sender, receiver] = flow.endpoint;
    let hairpin = head.flags & FLOW_HAIRPIN != 0;
    if hairpin {
        flow.endpoint[1] = sender;
    }
    let to_pod_elsewhere = head.flags & REMOTE_POD != 0;
    let past =
        hairpin || is_pod(receiver) || receiver == 0 && (to_pod_elsewhere || !is_pod(sender));
    let translated = flow.target[0] != flow.target[1].reversed();
    let by_host = sender == ENDPOINT_HOST && translated;
    if !node.forwards() && !hairpin || !past && !by_host {
        head.flags |= FLOW_STACK;
    }
    head.flags &= !REMOTE_POD;
    flow.head = head.pack();
    flow
}

/// The entries of schema 1 for flows. It does not masquerade, so that it could not turn such flows: it has none of them.
pub(super) fn down<A: Address>(flow: &Record<A>, node: &impl Node<A>) -> Vec<Entry<A>> {
    let head = Head::unpack(flow.head);
    if head.flags & FLOW_MASQUERADED != 0 {
        return Vec::new();
    }
    let [sender, receiver] = flow
        .endpoint
        .map(|end| if is_pod(end) { u32::from(end) } else { 0 });
    let [forth, back] = flow.target;
    // As the packet that began it arrived.
    let came = back.reversed();
    let make = |scope: u32, local: Tuple<A>, more: u32, rewrite: Tuple<A>| {
        entry(flow, scope, local, more, rewrite)
    };
    let none = Tuple::default();
    let from_remote = v1::FLOW_FROM_REMOTE;
    let from_local = v1::FLOW_REWRITE_FROM_LOCAL;
    let at_receiver =
        || (receiver != 0).then(|| make(receiver, forth.reversed(), from_remote, none));
    if came == forth {
        let at_sender = (sender != 0).then(|| make(sender, forth, 0, none));
        return at_sender.into_iter().chain(at_receiver()).collect();
    }
    let answers = |scope: u32, more: u32| {
        make(
            scope,
            forth.reversed(),
            from_remote | from_local | more,
            back,
        )
    };
    if head.flags & FLOW_HAIRPIN != 0 {
        let hairpin = v1::FLOW_HAIRPIN;
        return vec![
            make(sender, came, from_local | hairpin, forth),
            answers(sender, hairpin),
        ];
    }
    let beside = receiver != 0 && node.forwards() && flow.endpoint[0] != ENDPOINT_HOST;
    match (sender != 0, beside) {
        (true, true) => vec![
            make(sender, came, from_local | v1::FLOW_NO_TWIN, forth),
            answers(receiver, v1::FLOW_NO_TWIN),
        ],
        (true, false) => {
            let twin = make(sender, forth, v1::FLOW_REWRITE_TO_LOCAL, back);
            let forth = make(sender, came, from_local, forth);
            [forth, twin].into_iter().chain(at_receiver()).collect()
        }
        (false, true) => vec![make(0, came, from_local, forth), answers(receiver, 0)],
        (false, false) => {
            let both = [make(0, came, from_local, forth), answers(0, 0)];
            both.into_iter().chain(at_receiver()).collect()
        }
    }
}

/// An entry of a scope whose `local` side sends by this tuple.
fn entry<A: Address>(
    flow: &Record<A>,
    scope: u32,
    local: Tuple<A>,
    more: u32,
    rewrite: Tuple<A>,
) -> Entry<A> {
    let head = Head::unpack(flow.head);
    let has = |flag: u16| head.flags & flag != 0;
    let from_remote = more & v1::FLOW_FROM_REMOTE != 0;
    let [local_end, remote_end] = if from_remote { [1, 0] } else { [0, 1] };
    let other = flow.endpoint[usize::from(!from_remote)];
    let node_to_node = scope == 0;
    let mut flags = more;
    for (ours, theirs) in [
        (has(FLOW_REPLIED), v1::FLOW_REPLIED),
        (head.has_ended(local_end), v1::FLOW_FIN_LOCAL),
        (head.has_ended(remote_end), v1::FLOW_FIN_REMOTE),
        (has(FLOW_RST_0 | FLOW_RST_1), v1::FLOW_RST),
        (
            has(FLOW_SOURCE_TRANSLATED) && from_remote && node_to_node,
            v1::FLOW_SOURCE_TRANSLATED,
        ),
        (
            other == 0 && !has(FLOW_STACK) && !node_to_node,
            v1::FLOW_REMOTE_POD,
        ),
    ] {
        if ours {
            flags |= theirs;
        }
    }
    let side = usize::from(from_remote);
    let key = v1::FlowKey {
        scope,
        local: local.source,
        remote: local.destination,
        local_port: local.source_port,
        remote_port: local.destination_port,
        protocol: u32::from(head.protocol),
    };
    let value = v1::Flow {
        expires: flow.expires,
        flags,
        epoch: if scope == 0 { 0 } else { flow.epoch[side] },
        cookie: if scope == 0 { 0 } else { flow.cookie[side] },
        service: flow.service,
        backend: flow.backend,
        rewrite,
    };
    (key, value)
}

#[cfg(test)]
mod tests;
