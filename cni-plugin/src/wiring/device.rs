//! Kinds of pairs of interfaces that a pod can have, and the making of either.

use std::{fmt, io};

use netlink_packet_route::link::{InfoKind, LinkInfo};
use serde::{Deserialize, Serialize};

use super::{
    netkit,
    netlink::Netlink,
    netns::Netns,
    veth::{self, Pair},
};

/// What a pair is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Two ends of a cable, on every kernel.
    #[default]
    Veth,
    /// Two ends that the host's side rules (Linux 6.7).
    Netkit,
}

impl Device {
    /// As `ip link` says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Netkit => "netkit",
        }
    }

    /// Why there can be none on a kernel that does not know it, and what helps.
    pub const fn lacking(self) -> &'static str {
        match self {
            Self::Veth => "this kernel has no veth; hint: load the module `veth`",
            Self::Netkit => {
                "this kernel has no netkit; hint: set cni.device of the agent to auto or veth, or boot Linux 6.7 or newer with \
                 CONFIG_NETKIT"
            }
        }
    }

    /// As netlink says it.
    pub const fn kind(self) -> InfoKind {
        match self {
            Self::Veth => InfoKind::Veth,
            Self::Netkit => InfoKind::Netkit,
        }
    }

    /// Of a link; none if it is another kind of device.
    pub fn of(infos: &[LinkInfo]) -> Option<Self> {
        let is = |device: &Self| infos.contains(&LinkInfo::Kind(device.kind()));
        [Self::Veth, Self::Netkit].into_iter().find(is)
    }

    /// Makes a pair. `pod` and `host` are sockets in `netns`, the namespaces of the pod and ours.
    pub fn create(
        self,
        [pod, host]: [&mut Netlink; 2],
        pair: &Pair<'_>,
        netns: [&Netns; 2],
    ) -> io::Result<()> {
        let [pod_netns, host_netns] = netns;
        match self {
            Self::Veth => veth::create(pod, pair, host_netns),
            Self::Netkit => netkit::create(host, pair, pod_netns),
        }
    }

    /// Lets packets through a pair whose programs are attached.
    pub fn open(self, host: &mut Netlink, index: u32) -> io::Result<()> {
        match self {
            Self::Veth => Ok(()),
            Self::Netkit => netkit::set_shut(host, index, false),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
