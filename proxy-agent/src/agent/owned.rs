//! All that Weir puts on a node: who makes it, who looks after it, and within what
//! time it is back if somebody breaks it. A test breaks each.

use std::time::Duration;

pub use crate::model::Owned;
use crate::node::this_node::PERIOD;

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

/// All of it. Entries of maps are compared so often for as long as that costs next to nothing: `agent::comparison`.
pub const OWNED: [Care; 39] = [
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
    care(Owned::PodMtus, "cni_plugin::attach", "node::wires"),
    care(Owned::PodLimits, "pod::limits", "pod::limits"),
    care(Owned::PodQueues, "pod::limits", "pod::limits"),
    care(Owned::QueuePrograms, "pod::limits", "pod::limits"),
    care(Owned::NodeMaps, "node::maps", "node::maps"),
    care(Owned::RunFolder, "agent::lock", "agent::run_folder"),
    care(Owned::PodRecords, "cni_plugin::ledger", "pod::records"),
    care(Owned::PodAddresses, "cni_plugin::ledger", "pod::records"),
    care(Owned::NodeFile, "node::keeper", "node::keeper"),
    care(Owned::Plugin, "node::install", "node::keeper"),
    care(Owned::Conflist, "node::conflist", "node::conflist"),
    care(Owned::PluginSocket, "pod::pods", "api::unix"),
    care(Owned::AgentSocket, "agent::servers", "api::unix"),
    care(
        Owned::ServersFile,
        "observe::kubernetes::known",
        "observe::kubernetes::servers",
    ),
    care(Owned::MapPins, "datapath::load", "datapath::mend"),
    care(
        Owned::Conntrack,
        "node::sysctls::conntrack",
        "node::sysctls::conntrack",
    ),
    care(
        Owned::MapEntries,
        "service, policy, pod",
        "agent::comparison",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_its_row() {
        let mut rows = OWNED.map(|care| care.what);
        rows.sort_unstable();
        assert_eq!(rows, Owned::ALL);
    }
}
