//! Ids that flows and affinity still name. A former agent may have given them back; until the last such entry is
//! gone they must not be somebody else's.

use std::collections::BTreeSet;

use proxy_common::conntrack::FlowState;

use crate::datapath::{Maps, Table as _, TableError};

/// What is named.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedIds {
    /// Highest id of a Service port.
    pub service: u32,
    /// Highest id of a backend.
    pub backend: u32,
    /// Ids of endpoints: those of flows' scopes, and those that interfaces have.
    pub endpoints: BTreeSet<u32>,
}

impl NamedIds {
    /// Reads them. Sockets' own memory (`SOCKET_PEER`) cannot be listed; it names ids for people only.
    pub fn read(maps: &Maps) -> Result<Self, TableError> {
        let mut named = Self::default();
        for flows in [&maps.conntrack4, &maps.new_flows4] {
            flows.visit(|key, flow| named.flow(key.scope, &flow.state))?;
        }
        for flows in [&maps.conntrack6, &maps.new_flows6] {
            flows.visit(|key, flow| named.flow(key.scope, &flow.state))?;
        }
        maps.affinity.visit(|key, affinity| {
            named.service = named.service.max(key.service);
            named.backend = named.backend.max(affinity.backend);
        })?;
        let endpoints = maps.endpoints.entries()?.into_iter();
        named.endpoints.extend(endpoints.map(|(_, e)| e.id));
        Ok(named)
    }

    /// The cookies of the rules that allowed the flows.
    pub fn cookies(maps: &Maps) -> Result<BTreeSet<u32>, TableError> {
        let mut cookies = BTreeSet::new();
        for flows in [&maps.conntrack4, &maps.new_flows4] {
            flows.visit(|_, flow| cookies.extend([flow.state.cookie]))?;
        }
        for flows in [&maps.conntrack6, &maps.new_flows6] {
            flows.visit(|_, flow| cookies.extend([flow.state.cookie]))?;
        }
        Ok(cookies)
    }

    /// Scope 0 is the node.
    fn flow(&mut self, scope: u32, state: &FlowState) {
        self.service = self.service.max(state.service);
        self.backend = self.backend.max(state.backend);
        if scope != 0 {
            self.endpoints.insert(scope);
        }
    }
}
