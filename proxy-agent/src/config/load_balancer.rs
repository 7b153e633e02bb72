//! What comes from outside: how backends are chosen for it, and by which addresses it comes.

use proxy_common::maglev::is_prime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AddressPool;
use crate::model::ForwardingMode;

/// What comes from outside: how backends are chosen for it, and by which addresses it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancerSettings {
    /// By what a backend is chosen.
    #[schemars(extend("x-flag" = "load-balancer-algorithm"))]
    pub algorithm: Algorithm,
    /// How what comes from outside reaches a backend on another node: the same on all nodes. A Service may say otherwise by its
    /// annotation `weir.dev/forwarding-mode`. What is relayed needs Maglev, the tunnel's port between nodes, and no `encryption`;
    /// where it cannot be, or the client is a node or a pod of the cluster, it is `snat`.
    #[schemars(extend("x-flag" = "load-balancer-mode"))]
    pub mode: ForwardingMode,
    /// Maglev's tables. All nodes must have the same: with others they choose other backends.
    pub maglev: MaglevSettings,
    /// Addresses for Services of `type: LoadBalancer` whose `loadBalancerClass` is `weir.dev/load-balancer`, where no cloud gives
    /// any; told in the file, the same on all nodes. Each address is announced by one node, by ARP or neighbour discovery, on
    /// its links. Empty: Weir gives and announces none.
    pub pools: Vec<AddressPool>,
    /// Give addresses of the pools also to Services without `loadBalancerClass`, where no cloud's controller does.
    pub default_class: bool,
    /// Links on which addresses of the pools are announced, by names with `*` and `?`. Empty: those that have an address in a
    /// network with them.
    pub announce_on: Vec<String>,
}

/// By what a backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// By a hash of the flow, of which all nodes make the same choice.
    #[default]
    Maglev,
    /// At random. Takes no memory.
    Random,
}

/// Maglev's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MaglevSettings {
    /// Places of a table: a prime from 251 to 65521, 100 times as many as a Service has backends at most. A table takes
    /// 2.3 bytes of kernel memory for each; a Service port that is reached from outside has one for each family in which it has
    /// two backends or more.
    pub table_size: u16,
    /// What flows are hashed with. A number that nobody outside knows keeps clients from choosing their backend.
    pub seed: u32,
}

impl Default for MaglevSettings {
    fn default() -> Self {
        Self {
            table_size: 16_381,
            seed: 0,
        }
    }
}

impl LoadBalancerSettings {
    /// Places of a table; 0 is no tables.
    pub const fn table_size(&self) -> u16 {
        match self.algorithm {
            Algorithm::Maglev => self.maglev.table_size,
            Algorithm::Random => 0,
        }
    }

    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        self.check_pools()
            .map_err(|why| ("loadBalancer.pools", why))?;
        let size = self.maglev.table_size;
        if (251..=65_521).contains(&size) && is_prime(size) {
            return Ok(());
        }
        let message = format!("{size} is no prime from 251 to 65521, such as 4093, 16381 or 65521");
        Err(("loadBalancer.maglev.tableSize", message))
    }
}
