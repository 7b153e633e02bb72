//! Source ports of the node that translated flows take: each backend has the whole range to itself.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use proxy_common::conntrack::{FLOW_MASQUERADED, FLOW_SOURCE_TRANSLATED, Flow, Head};

use super::{FlowState, FlowUsage, Flows};

/// How many source ports one backend takes of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortsTaken {
    /// How many.
    pub count: u32,
    /// The backend.
    pub backend: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// The address that clients have there.
    pub source: IpAddr,
    /// Those that pods take, for what is masqueraded.
    pub masqueraded: bool,
}

impl Flows {
    /// What [`Self::usage`] tells, and which source ports are taken, by backend and source, the fullest first.
    pub fn survey(&self, now: u32) -> (FlowUsage, Vec<PortsTaken>) {
        let (records, mut usage) = (self.records(), FlowUsage::default());
        let mut counts: HashMap<_, u32> = HashMap::new();
        for slot in records.slots() {
            let (head, expires) = records.brief(slot);
            usage.add(head, expires, now);
            if holds_port(head, expires, now)
                && let Some(flow) = records.get(slot)
            {
                *counts.entry(key(&flow)).or_default() += 1;
            }
        }
        let counts = counts.into_iter();
        let mut taken: Vec<_> = counts
            .map(
                |((backend, protocol, source, masqueraded), count)| PortsTaken {
                    count,
                    backend,
                    protocol,
                    source,
                    masqueraded,
                },
            )
            .collect();
        taken.sort_unstable_by(|a, b| b.cmp(a));
        (usage, taken)
    }
}

/// Whether a flow holds a source port; one that is closed has given it back.
fn holds_port(head: Head, expires: u32, now: u32) -> bool {
    let state = FlowState::of_parts(head, expires, now);
    let over = matches!(
        state,
        FlowState::Closed | FlowState::Reset | FlowState::Expired
    );
    head.flags & FLOW_SOURCE_TRANSLATED != 0 && !over
}

fn key(flow: &Flow<IpAddr>) -> (SocketAddr, u8, IpAddr, bool) {
    let to = flow.target[0];
    let backend = SocketAddr::new(to.destination, u16::from_be(to.destination_port));
    let head = Head::unpack(flow.head);
    let masqueraded = head.flags & FLOW_MASQUERADED != 0;
    (backend, head.protocol, to.source, masqueraded)
}
