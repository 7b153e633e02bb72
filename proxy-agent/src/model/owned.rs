//! What Weir puts on a node.

use std::sync::{Arc, Mutex, PoisonError};

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Something on a node that is Weir's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Owned {
            $($(#[$doc])* $name,)+
        }

        impl Owned {
            /// All of it.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

declare! {
    /// Routes to other nodes' pods (protocol 87).
    NodeRoutes,
    /// Routes of Services' ranges to `weir_host` (protocol 89).
    ServiceRoutes,
    /// `weir_host` and `weir_net`: there, up, with their MTU and hardware addresses.
    HostDevice,
    /// The address of `weir_host`.
    HostDeviceAddress,
    /// Kernel settings of both.
    HostDeviceSettings,
    /// `ip_forward`, forwarding of links, loose `rp_filter`, `accept_local` of the loopback.
    Forwarding,
    /// `accept_ra` of links that heard router advertisements before the node forwarded.
    Advertisements,
    /// `weir_vxlan`, by which nodes are reached, or may reach this one: there, up, with its port, MTU and hardware address.
    TunnelDevice,
    /// Kernel settings of it.
    TunnelSettings,
    /// Programs on it.
    TunnelPrograms,
    /// `weir_wg`, where nodes encrypt: there, up, with its key, port, MTU and peers.
    EncryptionDevice,
    /// Kernel settings of it.
    EncryptionSettings,
    /// Programs on it.
    EncryptionPrograms,
    /// Programs on links that carry node traffic, and on the loopback.
    LinkPrograms,
    /// XDP programs on links that carry node traffic.
    XdpPrograms,
    /// The program on `weir_host`.
    HostDeviceProgram,
    /// Programs on pods' interfaces.
    PodPrograms,
    /// Programs on the cgroup.
    SocketPrograms,
    /// Routes to local pods (protocol 88).
    PodRoutes,
    /// Permanent neighbours of local pods.
    PodNeighbours,
    /// `fe80::1` on the host's sides of pods' interfaces, and answers there for 169.254.1.1.
    PodGateways,
    /// Host sides of pods' interfaces are up, with their hardware address and kernel settings.
    PodInterfaces,
    /// MTU of the host sides of pods' interfaces.
    PodMtus,
    /// What keeps pods to limits of bandwidth: queues for departure times, or token buckets.
    PodLimits,
    /// The pairs through which pods with a limit send.
    PodQueues,
    /// Programs at the ends of these, and at their entries.
    QueuePrograms,
    /// The node's addresses, links and settings in maps.
    NodeMaps,
    /// The folder that plugin and agent share (`runDir`), with `agent.lock`.
    RunFolder,
    /// Records of pods' interfaces, which the plugin wrote (`att`).
    PodRecords,
    /// Who has which addresses (`ipam.json`), as the plugin wrote it.
    PodAddresses,
    /// `node.json`, by which the plugin wires pods.
    NodeFile,
    /// The plugin's binary.
    Plugin,
    /// The conflist.
    Conflist,
    /// `cni.sock`, on which the plugin asks.
    PluginSocket,
    /// `agent.sock`, on which `proxyctl` asks.
    AgentSocket,
    /// What of the cluster is remembered: `api-servers.json`, the API servers as it names them, and `nodes.json`, its Nodes.
    ServersFile,
    /// Pins of maps, and what says which layout they have.
    MapPins,
    /// Netfilter's connection tracking (`conntrack`), where its module is loaded.
    Conntrack,
    /// Entries of the maps of Services, policy and pods, which are compared with what was written.
    MapEntries,
}

impl Owned {
    /// Its name, in `CamelCase`.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

/// What tasks beside the main loop have put back, until it tells that. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Mended(Arc<Mutex<Vec<(Owned, &'static str)>>>);

impl Mended {
    /// A thing was put back.
    pub fn note(&self, what: Owned, thing: &'static str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((what, thing));
    }

    /// All that was, once.
    pub fn take(&self) -> Vec<(Owned, &'static str)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
