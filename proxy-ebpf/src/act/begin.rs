//! Flows that begin: Service translation, policy, then the record. The packet is left as it is.

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::conntrack::{
    ENDPOINT_HOST, FLOW_DIRECT, FLOW_HAIRPIN, FLOW_LOOPBACK, FLOW_RELAYED, FLOW_STACK,
};
use proxy_common::counters::{
    BACKEND_GONE, FLOW_CLASH, NO_FLOW, NO_SOURCE_PORT, RELAY_ASTRAY, SETTLING, UNKNOWN_ENDPOINT,
};
use proxy_common::frontends::FLAG_DIRECT;

use super::course::hook;
use super::draft::{Draft, LATER, MASQUERADED, PLAIN, RELAYED, TO_HOST, TRANSLATED};
use super::{judge, masquerade, own_socket, port};
use crate::know::service::{self, Choice};
use crate::know::{endpoint, node, relay as know, vip};
use crate::machine::frame::Buffer;
use crate::machine::global::global;
use crate::machine::verdict::{CONTINUE, ECHO, NEXT};
use crate::machine::words::{copy, same, to_stack};
use crate::maps::Family;
use crate::packet::description::{ERROR, Packet};
use crate::track::affinity;
use crate::track::start::{self, Start};

/// Backends that are tried when the translated flow clashes with another one; then as often with other source ports.
const ATTEMPTS: u32 = 4;

global! {
    /// Begins the flow of a packet at a hook (`course::hook`), sent by the endpoint `sender` (0: none of the node's).
    /// `CONTINUE`: `draft.start` is it. `NEXT`: it is nothing of ours; at a hook of XDP, it goes to no frontend.
    pub fn begin(buffer, packet: Packet, draft: Draft; at, sender) = run
}

#[inline(always)]
fn run<B: Buffer, F: Family>(
    buffer: B,
    packet: &mut Packet<F>,
    draft: &mut Draft<F>,
    at: u32,
    sender: u32,
) -> Verdict {
    let verdict = decide(buffer, packet, draft, at, sender);
    start::abandon(&mut draft.start);
    verdict
}

global! {
    /// No flow may begin: [`node::settles`]. `CONTINUE`: the packet can be of none that is not in these maps yet. The host's own
    /// sockets, for which most of its packets are, wait for nothing.
    pub fn wait(packet: Packet; at, sender) = must_wait
}

#[inline(always)]
fn must_wait<F: Family>(packet: &mut Packet<F>, at: u32, sender: u32) -> Verdict {
    let to = &packet.tuple;
    let waits = at == hook::FROM_POD
        || at == hook::TO_POD
        // A pod's packet that the stack forwards: it may be masqueraded.
        || judge::is_pod(sender as u16)
        || node::port_matters(to.destination_port)
        || node::port_serves(to.source_port)
        || endpoint::of_address::<F>(&to_stack(&packet.destination)) != 0;
    if waits { dropped(SETTLING) } else { CONTINUE }
}

#[inline(always)]
fn decide<B: Buffer, F: Family>(
    buffer: B,
    packet: &mut Packet<F>,
    draft: &mut Draft<F>,
    at: u32,
    sender: u32,
) -> Verdict {
    start::plain(&mut draft.start, packet);
    draft.start.flow.endpoint[0] = sender as u16;
    draft.way = PLAIN;
    if at == hook::TO_POD {
        // Whatever address it is for, this interface's pod is given it.
        let Some(receiver) = endpoint::of_interface(buffer.ifindex()) else {
            return dropped(UNKNOWN_ENDPOINT);
        };
        draft.start.flow.endpoint[1] = receiver as u16;
    }
    if at != hook::TO_POD && vip::answers_ping(packet) {
        return ECHO;
    }
    let mut verdict = NEXT;
    // What a pod sends was a Service's when it left the pod, if ever.
    let leaves_pod = at == hook::FORWARDED && judge::is_pod(sender as u16);
    if packet.shape != ERROR && at != hook::TO_POD && !leaves_pod {
        verdict = service::find(packet, &mut draft.choice, hook::is_outside(at));
    }
    let opens = !packet.must_open() || packet.opens();
    if at == hook::FROM_NET && !opens && verdict != CONTINUE && verdict != NEXT {
        // It is somebody else's, unless its flow is relayed.
        return NEXT;
    }
    if verdict == CONTINUE {
        if !opens && (at != hook::FROM_NET || draft.choice.relay == 0) {
            // Somebody else's, such as an answer to a socket of the host that has this port.
            return if at == hook::FROM_POD {
                dropped(NO_FLOW)
            } else {
                NEXT
            };
        }
        if own_socket::is_hosts(buffer, packet, at) != CONTINUE {
            return NEXT;
        }
        verdict = to_service(buffer, packet, draft, at);
    } else if verdict == NEXT && !B::XDP {
        verdict = untranslated(packet, draft, at);
        if verdict == CONTINUE {
            verdict = judge::ends(packet, &mut draft.start);
        }
        if verdict == CONTINUE {
            verdict = masquerade::consider(buffer, packet, draft, at);
        }
        if verdict == CONTINUE {
            verdict = record(buffer, packet, draft, leaves_pod);
        }
    }
    verdict
}

/// Records a flow that was judged and goes to no frontend.
#[inline(always)]
fn record<B: Buffer, F: Family>(
    buffer: B,
    packet: &Packet<F>,
    draft: &mut Draft<F>,
    leaves_pod: bool,
) -> Verdict {
    match draft.way {
        MASQUERADED => port::allocate(buffer, draft),
        // Only what is masqueraded begins where it leaves.
        _ if leaves_pod => NEXT,
        LATER => CONTINUE,
        _ if packet.shape == ERROR => CONTINUE,
        _ => track(&mut draft.start),
    }
}

/// Who asks, for affinity: the client's address; of the host, whichever of its addresses it uses, the node's.
#[inline(always)]
fn client<F: Family>(packet: &Packet<F>, at: u32) -> [u32; 4] {
    if at == hook::FROM_HOST || at == hook::LOOPBACK {
        F::as_ipv6(node::own::<F>())
    } else {
        F::as_ipv6(packet.tuple.source)
    }
}

/// A flow to a frontend: tries backends and source ports until nobody else has the tuple of its answers. A backend for which all
/// of the node's ports are in use is left for another one.
#[inline(always)]
fn to_service<B: Buffer, F: Family>(
    buffer: B,
    packet: &mut Packet<F>,
    draft: &mut Draft<F>,
    at: u32,
) -> Verdict {
    let mut verdict = dropped(FLOW_CLASH);
    let mut tried = 0;
    for _ in 0..2 * ATTEMPTS {
        verdict = prepare(packet, draft, at, tried);
        if verdict == CONTINUE && draft.way != RELAYED && packet.must_open() && !packet.opens() {
            // Of a flow that other nodes may have had before only the backend's node can know.
            return NEXT;
        }
        if verdict == CONTINUE {
            verdict = judge::ends(packet, &mut draft.start);
        }
        if verdict == CONTINUE && !B::XDP {
            verdict = masquerade::consider(buffer, packet, draft, at);
        }
        if verdict != CONTINUE {
            break;
        }
        // Later, the link begins another one.
        verdict = if matches!(draft.way, PLAIN | LATER | RELAYED) {
            start::commit(&mut draft.start)
        } else {
            port::allocate(buffer, draft)
        };
        if verdict == dropped(NO_SOURCE_PORT) {
            // Of this backend: another one, to which the client's own port is free.
            draft.choice.passed += 1;
            tried = 0;
        } else if verdict == dropped(FLOW_CLASH) {
            tried += 1;
        } else {
            break;
        }
    }
    // Of two processors that begin the same flow, one has chosen.
    if verdict == CONTINUE && !draft.start.joined() {
        affinity::record(&draft.choice, packet.now);
    }
    verdict
}

global! {
    /// One backend, and one source port if the client's address stays. `tried` counts the attempts before this one that clashed.
    fn prepare(packet: Packet, draft: Draft; at, tried) = aim
}

#[inline(always)]
fn aim<F: Family>(packet: &mut Packet<F>, draft: &mut Draft<F>, at: u32, tried: u32) -> Verdict {
    draft.choice.client.client = client(packet, at);
    let verdict = service::choose(&mut draft.choice, packet.now);
    if verdict != CONTINUE {
        return verdict;
    }
    let (start, choice) = (&mut draft.start, &draft.choice);
    start.flow.service = choice.client.service;
    start.flow.backend = choice.backend;
    start.flags = 0;
    let to = &mut start.flow.target[0];
    // SAFETY: two pairs of values made of words.
    unsafe {
        copy(&raw const packet.tuple.source, &raw mut to.source);
        copy(&raw const choice.address, &raw mut to.destination);
    }
    to.source_port = source_port(packet, choice, tried);
    to.destination_port = choice.port;
    let receiver = receiver::<F>(&choice.address);
    start.flow.endpoint[1] = receiver;
    if at == hook::RELAYED {
        return by_relay(draft, receiver);
    }
    if receiver == 0 && choice.relay != 0 && relay::<F>(start, packet, choice) {
        draft.way = RELAYED;
        return CONTINUE;
    }
    let Some(way) = way(start, packet, receiver, at) else {
        return dropped(BACKEND_GONE);
    };
    draft.way = way;
    CONTINUE
}

/// What another node relayed: its backend is here.
#[inline(always)]
fn by_relay<F: Family>(draft: &mut Draft<F>, receiver: u16) -> Verdict {
    if receiver == 0 {
        return dropped(RELAY_ASTRAY);
    }
    let start = &mut draft.start;
    start.flags |= FLOW_RELAYED;
    if receiver == ENDPOINT_HOST {
        start.flags |= FLOW_STACK;
    }
    start.flow.cookie = [draft.entry, 0];
    draft.way = PLAIN;
    CONTINUE
}

/// Relays a flow to its backend's node, if that takes it and the client is from outside of the cluster.
#[inline(always)]
fn relay<F: Family>(start: &mut Start<F>, packet: &Packet<F>, choice: &Choice<F>) -> bool {
    if !know::is_on() || know::is_peers::<F>(&packet.tuple.source) {
        return false;
    }
    let Some(to) = know::to::<F>(&choice.address) else {
        return false;
    };
    start.flow.relay_to(to);
    start.flags |= FLOW_RELAYED;
    if choice.relay & FLAG_DIRECT != 0 {
        start.flags |= FLOW_DIRECT;
    }
    // SAFETY: two values made of words.
    unsafe { copy(&raw const packet.tuple, &raw mut start.flow.target[0]) };
    true
}

/// The client's own port; where other flows of its to these backends have that, any other, as netfilter does. Affinity
/// and tables lead to the same backend again, and so does the turn of one that others are full for.
#[inline(always)]
fn source_port<F: Family>(packet: &Packet<F>, choice: &Choice<F>, tried: u32) -> u16 {
    let other_backend = choice.affinity | choice.table | choice.passed == 0 && tried < ATTEMPTS;
    if tried == 0 || other_backend {
        packet.tuple.source_port
    } else {
        port::any()
    }
}

/// Who has an address.
#[inline(always)]
fn receiver<F: Family>(address: &F::Address) -> u16 {
    let address = &to_stack(address);
    let pod = endpoint::of_address::<F>(address);
    if pod != 0 {
        return pod as u16;
    }
    if node::any_address::<F>(address) != 0 {
        ENDPOINT_HOST
    } else {
        0
    }
}

/// The way of a flow to a Service, and the flags that go with it; none if its answers cannot come back.
#[inline(always)]
fn way<F: Family>(start: &mut Start<F>, packet: &Packet<F>, receiver: u16, at: u32) -> Option<u32> {
    match at {
        hook::FROM_POD => {
            from_pod(start, packet, receiver);
            Some(PLAIN)
        }
        hook::FROM_NET => Some(from_net(start, receiver)),
        hook::LOOPBACK => Some(loopback(start, packet, receiver)),
        _ => from_host(receiver, at),
    }
}

#[inline(always)]
fn from_pod<F: Family>(start: &mut Start<F>, packet: &Packet<F>, receiver: u16) {
    if receiver == start.flow.endpoint[0] {
        // The pod itself: in the Service's name, else it would take the answer for its own packet.
        start.flags |= FLOW_HAIRPIN;
        let source = &raw mut start.flow.target[0].source;
        // SAFETY: two values made of words.
        unsafe { copy(&raw const packet.tuple.destination, source) };
    } else if !node::forwards() {
        start.flags |= FLOW_STACK;
    }
}

#[inline(always)]
fn from_net<F: Family>(start: &mut Start<F>, receiver: u16) -> u32 {
    if receiver == 0 {
        return TRANSLATED;
    }
    if receiver == ENDPOINT_HOST || !node::forwards() {
        start.flags |= FLOW_STACK;
    }
    PLAIN
}

/// What the host sends by `weir_host` or a link. Its own servers would answer past us, and the stack takes no packet from
/// itself: to them it goes in the name of an address that is routed to `weir_host`.
#[inline(always)]
fn from_host(receiver: u16, at: u32) -> Option<u32> {
    if receiver == ENDPOINT_HOST {
        return (node::host_device() != 0).then_some(TO_HOST);
    }
    if receiver == 0 || at == hook::FORWARDED {
        Some(TRANSLATED)
    } else {
        Some(PLAIN)
    }
}

/// What the host sends to itself.
#[inline(always)]
fn loopback<F: Family>(start: &mut Start<F>, packet: &Packet<F>, receiver: u16) -> u32 {
    start.flags |= FLOW_LOOPBACK;
    if receiver == ENDPOINT_HOST {
        start.flags |= FLOW_STACK;
        return PLAIN;
    }
    if receiver == 0 || F::is_loopback(packet.tuple.source) {
        TRANSLATED
    } else {
        PLAIN
    }
}

global! {
    /// A flow to no frontend.
    fn untranslated(packet: Packet, draft: Draft; at) = leave
}

#[inline(always)]
fn leave<F: Family>(packet: &mut Packet<F>, draft: &mut Draft<F>, at: u32) -> Verdict {
    let start = &mut draft.start;
    let to = if packet.shape == ERROR {
        &packet.destination
    } else {
        &packet.tuple.destination
    };
    match at {
        hook::TO_POD => {}
        hook::FROM_POD => start.flow.endpoint[1] = receiver::<F>(to),
        // Only what is for a Service is relayed.
        hook::RELAYED => return NEXT,
        hook::FROM_NET => {
            let receiver = receiver::<F>(to);
            if receiver == 0 || receiver == ENDPOINT_HOST {
                return NEXT;
            }
            start.flow.endpoint[1] = receiver;
        }
        hook::FORWARDED if judge::is_pod(start.flow.endpoint[0]) => {
            start.flow.endpoint[1] = receiver::<F>(to);
        }
        _ => return own(packet, start),
    }
    if !node::forwards() || at == hook::TO_POD && start.flow.endpoint[0] != ENDPOINT_HOST {
        start.flags |= FLOW_STACK;
    }
    CONTINUE
}

/// What the host itself sends from a port that matters is tracked, so that its answers are not taken for a Service's,
/// and nobody else is given its tuple.
#[inline(always)]
fn own<F: Family>(packet: &Packet<F>, start: &mut Start<F>) -> Verdict {
    let from = &packet.tuple;
    let begins = match packet.protocol {
        TCP => packet.opens(),
        UDP | SCTP => packet.shape != ERROR,
        _ => packet.asks(),
    };
    if !begins || !node::port_matters(from.source_port) {
        return NEXT;
    }
    if node::any_address::<F>(&to_stack(&from.source)) == 0 {
        return NEXT;
    }
    start.flow.endpoint = [ENDPOINT_HOST, 0];
    start.flags |= FLOW_STACK;
    CONTINUE
}

/// Tracks a flow as it is; where another one has the tuple of its answers, with another source port.
#[inline(always)]
fn track<F: Family>(start: &mut Start<F>) -> Verdict {
    let [forth, back] = &start.flow.target;
    if same(forth, back) {
        // From an address and port to the very same: nobody could tell its answers.
        return dropped(FLOW_CLASH);
    }
    let mut verdict = start::commit(start);
    for _ in 0..ATTEMPTS {
        if verdict != dropped(FLOW_CLASH) || !has_free_port::<F>(start.protocol) {
            break;
        }
        let port = if start.flow.endpoint[0] == ENDPOINT_HOST {
            port::of_node()
        } else {
            port::any()
        };
        port::take(start, port);
        verdict = start::commit(start);
    }
    verdict
}

#[inline(always)]
const fn has_free_port<F: Family>(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP) || protocol == F::ICMP
}

use crate::machine::verdict::{Verdict, dropped};
