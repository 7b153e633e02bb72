//! An endpoint as the agent knows it.

use std::sync::Arc;

use cni_plugin::{attachment::Attachment, rpc::Add, wiring::name::is_stand_in};
use tokio::time::Instant;

use super::{cut_off::Fault, entries::Entry, hands::Side, limits::Limiting};
use crate::{datapath::TcMode, model::Pod};

/// No pod has this UID.
const NOBODY: &str = "another pod has the name";

/// How well it is known whose an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The runtime has told, or the API server knows a pod of this name with these addresses.
    Known,
    /// What told it is lost: the interface names a pod, if any.
    Unsure,
    /// The pod of this name has other addresses.
    Stranger,
}

/// One endpoint.
pub(super) struct Local {
    pub(super) id: u32,
    pub(super) add: Add,
    /// Its record as it was when it was whole; none until the plugin has written it.
    pub(super) record: Option<Attachment>,
    pub(super) identity: Identity,
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
    /// Why they are not.
    pub(super) fault: Option<Fault>,
    /// Whether that was ever tried: until then nobody need hear that they are missing.
    pub(super) tried: bool,
}

impl Local {
    pub(super) fn new(id: u32, add: Add, since: u64) -> Self {
        Self {
            id,
            add,
            record: None,
            identity: Identity::Known,
            since,
            added: None,
            fetched: None,
            by_packet: false,
            limiting: Limiting::default(),
            mode: None,
            fault: None,
            tried: false,
        }
    }

    /// One that was wired before: as its record says, or, if that is `lost`, its interface.
    pub(super) fn of(id: u32, record: Attachment, lost: bool) -> Self {
        let Attachment { add, since, .. } = &record;
        let lost = lost || is_stand_in(&add.key);
        let identity = if lost && add.pod.uid.is_empty() {
            Identity::Unsure
        } else {
            Identity::Known
        };
        Self {
            identity,
            ..Self::new(id, add.clone(), *since)
        }
        .recorded(record)
    }

    fn recorded(mut self, record: Attachment) -> Self {
        self.record = Some(record);
        self
    }

    /// How its programs are attached by now.
    pub(super) fn hang(&mut self, outcome: Result<TcMode, Fault>) {
        self.tried = true;
        let (mode, fault) = match outcome {
            Ok(mode) => (Some(mode), None),
            Err(fault) => (None, Some(fault)),
        };
        if let Some(fault) = fault.as_ref().filter(|_| fault != self.fault) {
            let Add {
                pod, host_ifname, ..
            } = &self.add;
            tracing::warn!(%pod, interface = host_ifname, %fault, "pod's programs not attached");
        }
        (self.mode, self.fault) = (mode, fault);
    }

    /// UID of its pod as policy is to go by; empty for whichever pod has the name.
    pub(super) fn uid(&self) -> &str {
        match self.identity {
            Identity::Stranger => NOBODY,
            Identity::Known | Identity::Unsure => &self.add.pod.uid,
        }
    }

    /// Its interface.
    pub(super) fn side(&self) -> Side {
        Side {
            key: self.add.key.clone(),
            id: self.id,
            ifindex: self.add.host_ifindex,
        }
    }

    /// MTU that the plugin gave both sides, as its record tells; 0 if unknown.
    pub(super) fn mtu(&self) -> u32 {
        self.record.as_ref().map_or(0, |record| record.mtu)
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
