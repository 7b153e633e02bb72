//! All that Weir puts on a node besides the contents of its maps: who makes it, who looks after it, and within what
//! time it is back if somebody breaks it. A test breaks each.

use std::time::Duration;

use crate::node::this_node::PERIOD;

/// Something on a node that is Weir's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owned {
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
    /// `weir_vxlan`, where nodes are reached by the tunnel: there, up, with its port, MTU and hardware address.
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
    /// Host sides of pods' interfaces are up.
    PodInterfaces,
    /// Token buckets of pods with limits of bandwidth.
    PodLimits,
    /// The pairs through which pods with a limit send.
    PodQueues,
    /// Programs at the ends of these.
    QueuePrograms,
    /// The node's addresses, links and settings in maps.
    NodeMaps,
    /// `node.json`, by which the plugin wires pods.
    NodeFile,
    /// The plugin's binary.
    Plugin,
    /// The conflist.
    Conflist,
}

/// Who sees to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Care {
    /// The thing.
    pub what: Owned,
    /// Module that makes it.
    pub made_by: &'static str,
    /// Module that looks whether it is as it should be.
    pub checked_by: &'static str,
    /// Within what time it is back.
    pub within: Duration,
}

/// Two looks: the first may have begun before the harm was done.
const LIMIT: Duration = PERIOD.saturating_mul(2);

const fn care(what: Owned, made_by: &'static str, checked_by: &'static str) -> Care {
    Care {
        what,
        made_by,
        checked_by,
        within: LIMIT,
    }
}

/// All of it.
pub const OWNED: [Care; 29] = [
    care(Owned::NodeRoutes, "node::routes", "node::routes"),
    care(
        Owned::ServiceRoutes,
        "node::host_device",
        "node::host_device",
    ),
    care(
        Owned::HostDevice,
        "node::host_device::link",
        "node::host_device::link",
    ),
    care(
        Owned::HostDeviceAddress,
        "node::host_device::link",
        "node::host_device::link",
    ),
    care(
        Owned::HostDeviceSettings,
        "node::host_device::link",
        "node::host_device::link",
    ),
    care(Owned::Forwarding, "node::sysctls", "node::sysctls"),
    care(Owned::Advertisements, "node::sysctls", "node::sysctls"),
    care(
        Owned::TunnelDevice,
        "node::tunnel::link",
        "node::tunnel::link",
    ),
    care(
        Owned::TunnelSettings,
        "node::tunnel::link",
        "node::tunnel::link",
    ),
    care(
        Owned::TunnelPrograms,
        "node::tunnel::program",
        "node::tunnel::program",
    ),
    care(
        Owned::EncryptionDevice,
        "node::encryption::keeper",
        "node::encryption::keeper",
    ),
    care(
        Owned::EncryptionSettings,
        "node::encryption::link",
        "node::encryption::link",
    ),
    care(
        Owned::EncryptionPrograms,
        "node::encryption::program",
        "node::encryption::program",
    ),
    care(
        Owned::LinkPrograms,
        "node::links::programs",
        "node::links::programs",
    ),
    care(Owned::XdpPrograms, "node::links::xdp", "node::links::xdp"),
    care(
        Owned::HostDeviceProgram,
        "node::host_device::program",
        "node::host_device::program",
    ),
    care(Owned::PodPrograms, "pod::admit", "pod::upkeep"),
    care(
        Owned::SocketPrograms,
        "datapath::programs::cgroup",
        "node::this_node",
    ),
    care(Owned::PodRoutes, "cni_plugin::attach", "node::wires"),
    care(Owned::PodNeighbours, "cni_plugin::attach", "node::wires"),
    care(Owned::PodGateways, "cni_plugin::attach", "node::wires"),
    care(Owned::PodInterfaces, "cni_plugin::attach", "node::wires"),
    care(Owned::PodLimits, "pod::limits", "pod::limits"),
    care(Owned::PodQueues, "pod::limits", "pod::limits"),
    care(Owned::QueuePrograms, "pod::limits", "pod::limits"),
    care(Owned::NodeMaps, "node::maps", "node::maps"),
    care(Owned::NodeFile, "node::keeper", "node::keeper"),
    care(Owned::Plugin, "node::install", "node::keeper"),
    care(Owned::Conflist, "node::conflist", "node::conflist"),
];
