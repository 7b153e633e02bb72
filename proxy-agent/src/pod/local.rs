//! An endpoint as the agent knows it.

use std::sync::Arc;

use cni_plugin::rpc::Add;
use tokio::time::Instant;

use super::{entries::Entry, hands::Side, limits::Limiting};
use crate::{datapath::TcMode, model::Pod};

/// One endpoint.
pub(super) struct Local {
    pub(super) id: u32,
    pub(super) add: Add,
    /// When it was wired, seconds since boot.
    pub(super) since: u64,
    /// When this agent was asked to take it in.
    pub(super) added: Option<Instant>,
    pub(super) fetched: Option<Arc<Pod>>,
    /// Its connections are translated packet by packet.
    pub(super) by_packet: bool,
    /// Its limits of bandwidth.
    pub(super) limiting: Limiting,
    /// How its programs are attached; none: not at all, which the next sweep mends.
    pub(super) mode: Option<TcMode>,
    /// Whether that was ever tried: until then nobody need hear that they are missing.
    pub(super) tried: bool,
}

impl Local {
    pub(super) fn new(id: u32, add: Add, since: u64) -> Self {
        Self {
            id,
            add,
            since,
            added: None,
            fetched: None,
            by_packet: false,
            limiting: Limiting::default(),
            mode: None,
            tried: false,
        }
    }

    /// How its programs are attached by now.
    pub(super) const fn hang(&mut self, mode: Option<TcMode>) {
        self.mode = mode;
        self.tried = true;
    }

    /// Its interface.
    pub(super) fn side(&self) -> Side {
        Side {
            key: self.add.key.clone(),
            id: self.id,
            ifindex: self.add.host_ifindex,
        }
    }

    /// As [`Entries::of`](super::entries::Entries::of) takes it.
    pub(super) const fn entry(&self) -> Entry<'_> {
        Entry {
            id: self.id,
            add: &self.add,
            by_packet: self.by_packet,
            flags: self.limiting.flags,
        }
    }
}
