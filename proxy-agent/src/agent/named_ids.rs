//! Quarantine: ids that flows and affinity still name. A former agent may have given them back; until the last such entry is
//! gone they must not be somebody else's.

use std::{collections::BTreeSet, net::IpAddr};

use proxy_common::conntrack::Flow;

use crate::datapath::{FlowState, Flows, Maps, Table as _, TableError, clock, flows::is_pod};

/// What is named.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedIds {
    /// Highest id of a Service port.
    pub service: u32,
    /// Highest id of a backend.
    pub backend: u32,
    /// Ids of endpoints: those of flows that live, and those that interfaces have.
    pub endpoints: BTreeSet<u32>,
}

impl NamedIds {
    /// Reads them. Sockets' own memory (`SOCKET_PEER`) cannot be listed; it names ids for people only.
    pub fn read(maps: &Maps) -> Result<Self, TableError> {
        let mut named = Self::default();
        let now = clock::seconds();
        for (_, flow) in maps.flows().into_iter().flat_map(Flows::iter) {
            named.flow(&flow, now);
        }
        maps.affinity.visit(|key, affinity| {
            named.service = named.service.max(key.service);
            named.backend = named.backend.max(affinity.backend);
        })?;
        let endpoints = maps.endpoints.entries()?.into_iter();
        named.endpoints.extend(endpoints.map(|(id, _)| id));
        Ok(named)
    }

    fn flow(&mut self, flow: &Flow<IpAddr>, now: u32) {
        self.service = self.service.max(flow.service);
        self.backend = self.backend.max(flow.backend);
        if FlowState::of(flow, now) == FlowState::Expired {
            return;
        }
        let pods = flow.endpoint.iter().filter(|id| is_pod(**id));
        self.endpoints.extend(pods.map(|id| u32::from(*id)));
    }
}
