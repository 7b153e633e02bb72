//! Source ports of the node that translated flows take: each backend has the whole range to itself.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use proxy_common::conntrack::{FLOW_MASQUERADED, FLOW_SOURCE_TRANSLATED, Flow, Head};

use super::{FlowState, Flows};

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
    /// By backend and source, the fullest first.
    pub fn ports_taken(&self, now: u32) -> Vec<PortsTaken> {
        let mut counts: HashMap<_, u32> = HashMap::new();
        let live = (0..self.capacity()).filter(|slot| self.is_translated(*slot, now));
        for flow in live.filter_map(|slot| self.get(slot)) {
            *counts.entry(key(&flow)).or_default() += 1;
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
        taken
    }

    /// Whether a slot's flow holds a source port; one that is closed has given it back.
    fn is_translated(&self, slot: u32, now: u32) -> bool {
        let (head, expires) = self.brief(slot);
        let head = Head::unpack(head);
        let state = FlowState::of_parts(head, expires, now);
        let over = matches!(
            state,
            FlowState::Closed | FlowState::Reset | FlowState::Expired
        );
        head.flags & FLOW_SOURCE_TRANSLATED != 0 && !over
    }
}

fn key(flow: &Flow<IpAddr>) -> (SocketAddr, u8, IpAddr, bool) {
    let to = flow.target[0];
    let backend = SocketAddr::new(to.destination, u16::from_be(to.destination_port));
    let head = Head::unpack(flow.head);
    let masqueraded = head.flags & FLOW_MASQUERADED != 0;
    (backend, head.protocol, to.source, masqueraded)
}
