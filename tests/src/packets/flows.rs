//! Reading the flows.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use proxy_common::conntrack::FlowState;

use super::bench::Bench;
use crate::family::{Family, Four, Six};

/// A flow's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is known of it.
    pub state: FlowState,
    /// Source and destination into which packets are rewritten.
    pub rewrite: (SocketAddr, SocketAddr),
    /// It is in `NEW_FLOWS`.
    pub new: bool,
}

impl Bench {
    /// The entry of a flow in a scope (0 is the node), from its local side.
    pub fn flow(
        &mut self,
        scope: u32,
        local: SocketAddr,
        remote: SocketAddr,
        protocol: u8,
    ) -> Result<Option<Entry>> {
        for (map, new) in [("CONNTRACK", false), ("NEW_FLOWS", true)] {
            let known = self
                .state::<Four>(map, Four::flow(scope, local, remote, protocol))?
                .or(self.state::<Six>(map, Six::flow(scope, local, remote, protocol))?);
            if let Some((state, rewrite)) = known {
                return Ok(Some(Entry {
                    state,
                    rewrite,
                    new,
                }));
            }
        }
        Ok(None)
    }

    /// Takes an entry away.
    pub fn lose(&mut self, scope: u32, ends: [SocketAddr; 2], protocol: u8) -> Result<()> {
        self.change(scope, ends, protocol, None)
    }

    /// Makes an entry expire a second earlier, as if a second had gone by since its last packet.
    pub fn age(&mut self, scope: u32, ends: [SocketAddr; 2], protocol: u8) -> Result<()> {
        self.change(scope, ends, protocol, Some(1))
    }

    /// Takes seconds off an entry's life, or the entry away; its ends are the local and the remote one.
    fn change(
        &mut self,
        scope: u32,
        [local, remote]: [SocketAddr; 2],
        protocol: u8,
        seconds: Option<u32>,
    ) -> Result<()> {
        self.change_of::<Four>(Four::flow(scope, local, remote, protocol), seconds)?;
        self.change_of::<Six>(Six::flow(scope, local, remote, protocol), seconds)
    }

    fn change_of<F: Family>(
        &mut self,
        key: Option<F::FlowKey>,
        seconds: Option<u32>,
    ) -> Result<()> {
        let Some(key) = key else { return Ok(()) };
        let mut map = self.hash::<F::FlowKey, F::Flow>(&F::map("CONNTRACK"))?;
        let Some(seconds) = seconds else {
            return map.remove(&key).context("the flow is there");
        };
        let mut flow = map.get(&key, 0).context("the flow is there")?;
        F::state_mut(&mut flow).expires -= seconds;
        map.insert(key, flow, 0).context("write the flow")
    }

    fn state<F: Family>(
        &mut self,
        map: &str,
        key: Option<F::FlowKey>,
    ) -> Result<Option<(FlowState, (SocketAddr, SocketAddr))>> {
        let Some(key) = key else { return Ok(None) };
        let map = self.hash::<F::FlowKey, F::Flow>(&F::map(map))?;
        Ok(map.get(&key, 0).ok().as_ref().map(F::state))
    }
}
