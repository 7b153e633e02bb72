//! Connection tracking on `proxy_common::conntrack`'s maps: finding, refreshing, beginning and ending flows.

use proxy_common::address::{TCP, UDP};
use proxy_common::conntrack::{
    FLOW_FIN_LOCAL, FLOW_FIN_REMOTE, FLOW_FROM_REMOTE, FLOW_HAIRPIN, FLOW_NO_TWIN, FLOW_REPLIED,
    FLOW_REWRITE_FROM_LOCAL, FLOW_REWRITE_TO_LOCAL, FLOW_RST, FlowState, REUSE_SECONDS,
    SHORT_SECONDS as SHORT,
};

use proxy_common::counters::{FLOW_CLASH, FLOWS_FULL};

use super::address::same;
use super::packet::{
    ERROR, FIN, LATER_FRAGMENT, MARK_EGRESS, MARK_FROM_NET, Packet, RST, reversed,
};
use super::skb::Skb;
use super::unanswered::{answered, begun};
use super::verdict::{CONTINUE, Verdict, dropped};
use super::wire::Wire;
use super::{new_flows, scratch};
use crate::maps::{Family, FlowTuple};

/// Seconds that an established TCP connection lives: longer than Linux' keep-alive of 7200.
const ESTABLISHED: u32 = 8000;
/// Seconds that a closing TCP connection lives.
const CLOSING: u32 = 10;

const NO_EXIST: u64 = 1;

/// The node's scope.
pub const NODE: u32 = 0;

/// A live entry.
#[derive(Clone, Copy)]
pub struct Found<F: Family> {
    /// The entry.
    pub entry: *mut F::Flow,
    /// It stands in `NEW_FLOWS`.
    pub new: bool,
}

impl<F: Family> Found<F> {
    /// What is known of the flow.
    #[inline(always)]
    pub fn state(&self) -> &FlowState {
        // SAFETY: an entry of a map, valid for this run of the program.
        F::state(unsafe { &*self.entry })
    }

    /// Into what its packets are rewritten.
    #[inline(always)]
    pub fn rewrite(&self) -> FlowTuple<F::Address> {
        // SAFETY: as above.
        F::rewrite(unsafe { &*self.entry })
    }

    /// Notes that the policy of this epoch allows the flow.
    #[inline(always)]
    pub fn allow(&self, epoch: u32) {
        // SAFETY: as above; one aligned store.
        unsafe { (*F::state_ptr(self.entry)).epoch = epoch };
    }
}

/// The live entry of a flow.
#[inline(always)]
pub fn find<F: Family>(key: &F::FlowKey, now: u32) -> Option<Found<F>> {
    if let Some(entry) = F::conntrack().get_ptr_mut(key) {
        let found = Found { entry, new: false };
        if found.state().expires >= now {
            return Some(found);
        }
    }
    if let Some(entry) = new_flows::get::<F>(key, now) {
        let found = Found { entry, new: true };
        if found.state().expires >= now {
            return Some(found);
        }
    }
    None
}

/// A new TCP connection on the ports of one that is over.
#[inline(always)]
pub fn reopens<F: Family>(packet: &Packet<F>, state: &FlowState) -> bool {
    let both = FLOW_FIN_LOCAL | FLOW_FIN_REMOTE;
    packet.opens() && (state.flags & FLOW_RST != 0 || state.flags & both == both)
}

/// How long a flow in this state lives, in seconds.
#[inline(always)]
fn lifetime(protocol: u8, flags: u32) -> u32 {
    let both = FLOW_FIN_LOCAL | FLOW_FIN_REMOTE;
    if protocol != TCP {
        SHORT
    } else if flags & FLOW_RST != 0 || flags & both == both {
        CLOSING
    } else if flags & FLOW_REPLIED != 0 {
        ESTABLISHED
    } else {
        SHORT
    }
}

/// Takes a packet of the flow, whose key is the packet's `key`, into its state. Writes once a second at most, or when the state changes.
#[inline(always)]
pub fn touch<F: Wire>(packet: &Packet<F>, scope: u32, found: &Found<F>, from_local: bool) {
    if packet.shape == ERROR {
        return;
    }
    let old = found.state().flags;
    let mut flags = old;
    if from_local == (old & FLOW_FROM_REMOTE != 0) {
        flags |= FLOW_REPLIED;
    }
    if packet.protocol == TCP && packet.shape != LATER_FRAGMENT {
        if packet.tcp & RST != 0 {
            flags |= FLOW_RST;
        }
        if packet.tcp & FIN != 0 {
            flags |= if from_local {
                FLOW_FIN_LOCAL
            } else {
                FLOW_FIN_REMOTE
            };
        }
    }
    let expires = packet.now + lifetime(packet.protocol, flags);
    if flags == old && expires == found.state().expires {
        return;
    }
    // SAFETY: an entry of a map; aligned stores, a lost update is repaired by the next packet.
    unsafe {
        let state = F::state_ptr(found.entry);
        (*state).flags = flags;
        (*state).expires = expires;
    }
    if found.new {
        new_flows::lives_until(expires);
    }
    if flags & !old & FLOW_REPLIED != 0 {
        answered();
    }
    let promote = found.new && flags & FLOW_REPLIED != 0;
    if promote || has_twin(flags) {
        F::refresh(packet, found.entry, scope, promote);
    }
}

/// Whether another entry is to be kept in step.
#[inline(always)]
const fn has_twin(flags: u32) -> bool {
    flags & (FLOW_REWRITE_FROM_LOCAL | FLOW_REWRITE_TO_LOCAL) != 0 && flags & FLOW_NO_TWIN == 0
}

/// Key and scope of the entry for the other tuple of a translated flow.
#[inline(always)]
fn twin<F: Family>(entry: &F::Flow, scope: u32, protocol: u8) -> F::FlowKey {
    let flags = F::state(entry).flags;
    let to = F::rewrite(entry);
    if scope == NODE || flags & (FLOW_HAIRPIN | FLOW_REWRITE_TO_LOCAL) != 0 {
        return F::flow_key(scope, protocol, &reversed(&to));
    }
    if flags & FLOW_FROM_REMOTE != 0 {
        // It came by a frontend from outside: the node remembers the choice.
        return F::flow_key(NODE, protocol, &reversed(&to));
    }
    F::flow_key(scope, protocol, &to)
}

/// The slow half of [`touch`]: moves answered flows to `CONNTRACK` and keeps the twin entry in step.
#[inline(always)]
pub fn refresh<F: Family>(packet: &Packet<F>, flow: &mut F::Flow, scope: u32, promote_this: bool) {
    let Some(key) = scratch::key::<F>() else {
        return;
    };
    let mut flow: F::Flow = *flow;
    if promote_this {
        promote::<F>(key, &flow);
    }
    if !has_twin(F::state(&flow).flags) {
        return;
    }
    let other_key = twin::<F>(&flow, scope, packet.protocol);
    // A live one: an expired entry of an earlier flow on these ports may still stand in `CONNTRACK`.
    let Some(other) = find::<F>(&other_key, packet.now) else {
        restore::<F>(packet, &other_key, &mut flow, scope);
        return;
    };
    let state = F::state(&flow);
    let theirs = other.state().flags;
    let mut flags = theirs | state.flags & (FLOW_REPLIED | FLOW_RST);
    let turned = (theirs ^ state.flags) & FLOW_FROM_REMOTE != 0;
    if state.flags & FLOW_FIN_LOCAL != 0 {
        flags |= if turned {
            FLOW_FIN_REMOTE
        } else {
            FLOW_FIN_LOCAL
        };
    }
    if state.flags & FLOW_FIN_REMOTE != 0 {
        flags |= if turned {
            FLOW_FIN_LOCAL
        } else {
            FLOW_FIN_REMOTE
        };
    }
    if flags & !theirs & FLOW_REPLIED != 0 {
        answered();
    }
    // SAFETY: an entry of a map; aligned stores.
    unsafe {
        let state_of_twin = F::state_ptr(other.entry);
        (*state_of_twin).flags = flags;
        (*state_of_twin).expires = state.expires;
    }
    if other.new {
        new_flows::lives_until(state.expires);
    }
    if other.new && flags & FLOW_REPLIED != 0 {
        // Not copied: the stack of Linux 6.1 has no room for it.
        // SAFETY: an entry of a map.
        promote::<F>(&other_key, unsafe { &*other.entry });
    }
}

/// Makes the lost twin of a pod's flow anew, out of the flow's own entry: without it one direction would not be
/// translated until the flow ends.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "BPF: by value it is copied, and the stack of Linux 6.1 has no room for that"
)]
fn restore<F: Family>(packet: &Packet<F>, key: &F::FlowKey, flow: &mut F::Flow, scope: u32) {
    let both = FLOW_REWRITE_FROM_LOCAL | FLOW_REWRITE_TO_LOCAL;
    let flags = F::state(flow).flags;
    let forth = flags & FLOW_REWRITE_FROM_LOCAL != 0;
    // Only `from_pod` sets no mark that says whence: the packet must travel the way in which its entry translates.
    let from_pod = packet.marks & (MARK_FROM_NET | MARK_EGRESS) == 0;
    let other_kind = FLOW_HAIRPIN | FLOW_FROM_REMOTE | FLOW_RST;
    if scope == NODE || forth != from_pod || flags & other_kind != 0 {
        return;
    }
    F::turn(flow, flags ^ both, &packet.flow);
    // Without room for it the next second's first packet tries again.
    F::conntrack().insert(key, &*flow, 0).ok();
}

/// Moves an entry to the map that does not evict. If that is full, the entry stays where it is.
#[inline(always)]
fn promote<F: Family>(key: &F::FlowKey, flow: &F::Flow) {
    if F::conntrack().insert(key, flow, 0).is_ok() {
        // Should it be gone already, so much the better.
        F::new_flows().remove(key).ok();
    }
}

/// Forgets the twin of a flow that is to begin anew; [`begin`] writes over the flow's own entry.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "BPF: by value it is copied, and the stack of Linux 6.1 has no room for that"
)]
pub fn forget<F: Family>(packet: &Packet<F>, flow: &mut F::Flow, scope: u32) {
    let flow: F::Flow = *flow;
    if !has_twin(F::state(&flow).flags) {
        return;
    }
    let key = twin::<F>(&flow, scope, packet.protocol);
    // Absent is as good as removed.
    F::conntrack().remove(&key).ok();
    F::new_flows().remove(&key).ok();
}

/// Begins an entry: the packet's `key`, `state` and `back`. One that stands in `CONNTRACK`, at its end or just
/// expired, is begun anew in place: clients that use their ports again soon cost no allocation.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "BPF: by value it is copied, and the stack of Linux 6.1 has no room for that"
)]
pub fn begin<F: Family>(_skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let Some(key) = scratch::key::<F>() else {
        return dropped(FLOWS_FULL);
    };
    let flow = F::flow(packet.state, &packet.back);
    let few = begun(packet.now);
    if few && F::conntrack().insert(key, &flow, NO_EXIST).is_ok() {
        return CONTINUE;
    }
    if let Some(entry) = F::conntrack().get_ptr_mut(key) {
        let entry: *mut F::Flow = entry;
        // SAFETY: an entry of a map, valid for this run of the program.
        let entry = unsafe { &mut *entry };
        if F::state(entry).expires + REUSE_SECONDS > packet.now {
            *entry = flow;
            return CONTINUE;
        }
    }
    if few && F::conntrack().insert(key, &flow, 0).is_ok() || new_flows::insert::<F>(key, &flow, 0)
    {
        CONTINUE
    } else {
        dropped(FLOWS_FULL)
    }
}

/// Begins an entry unless a live one stands there.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "BPF: by value it is copied, and the stack of Linux 6.1 has no room for that"
)]
pub fn claim<F: Family>(_skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let Some(key) = scratch::key::<F>() else {
        return dropped(FLOWS_FULL);
    };
    let flow = F::flow(packet.state, &packet.back);
    if let Some(found) = find::<F>(key, packet.now) {
        if !same(&found.rewrite(), &packet.back) {
            return dropped(FLOW_CLASH);
        }
        // An earlier flow between the same two, whose other entry is gone.
        // SAFETY: an entry of a map, valid for this run of the program.
        unsafe { *found.entry = flow };
        if found.new {
            new_flows::lives_until(packet.state.expires);
        }
        return CONTINUE;
    }
    if begun(packet.now) {
        if F::conntrack().insert(key, &flow, NO_EXIST).is_ok() {
            return CONTINUE;
        }
        if find::<F>(key, packet.now).is_some() {
            // Another CPU took it just now.
            return dropped(FLOW_CLASH);
        }
    }
    if new_flows::insert::<F>(key, &flow, NO_EXIST) {
        return CONTINUE;
    }
    // Another CPU took it just now, or it is an expired one.
    if find::<F>(key, packet.now).is_none() && new_flows::insert::<F>(key, &flow, 0) {
        return CONTINUE;
    }
    dropped(FLOW_CLASH)
}

/// The state of a flow that begins.
#[inline(always)]
pub fn beginning<F: Family>(packet: &Packet<F>, flags: u32) -> FlowState {
    FlowState {
        expires: packet.now + SHORT,
        flags,
        ..FlowState::default()
    }
}

/// Whether the flow is one of datagrams, which follow their Service to another backend.
#[inline(always)]
pub fn is_datagram(protocol: u8) -> bool {
    protocol == UDP
}
