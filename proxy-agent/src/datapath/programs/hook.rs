//! Hooks of interfaces, and the programs for them.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::{Ebpf, programs::Program};

use crate::datapath::{bpfsys, error::DatapathError};

/// A hook of an interface and the program that hangs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// What a pod sends: ingress of its host-side interface.
    FromPod,
    /// What a pod is to receive: egress of its host-side interface.
    ToPod,
    /// What comes from outside: ingress of a link that carries node traffic.
    FromNet,
    /// As `FromNet`, where frames have no Ethernet header.
    FromNetBare,
    /// What leaves the node: egress of a link that carries node traffic.
    ToNet,
    /// As `ToNet`, where frames have no Ethernet header.
    ToNetBare,
    /// What comes by the tunnel from other nodes: ingress of its device.
    FromTunnel,
    /// What the host's stack sends by the tunnel: egress of its device.
    ToTunnel,
    /// What the host sends to Services: egress of `weir_host`.
    FromHost,
    /// What the host sends to Services at its own addresses: egress of the loopback.
    FromLo,
    /// What a pod sends whose bandwidth is limited, by times of departure: egress of the entry of its queue.
    ToQueue,
}

impl Hook {
    /// All hooks; those that undo translations come before those that make them.
    pub const ALL: [Self; 11] = [
        Self::ToPod,
        Self::ToNet,
        Self::ToNetBare,
        Self::ToTunnel,
        Self::FromPod,
        Self::FromNet,
        Self::FromNetBare,
        Self::FromTunnel,
        Self::FromHost,
        Self::FromLo,
        Self::ToQueue,
    ];

    /// Name of the program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
            Self::FromNet => "from_net",
            Self::FromNetBare => "from_net_bare",
            Self::ToNet => "to_net",
            Self::ToNetBare => "to_net_bare",
            Self::FromTunnel => "from_tunnel",
            Self::ToTunnel => "to_tunnel",
            Self::FromHost => "from_host",
            Self::FromLo => "from_lo",
            Self::ToQueue => "to_queue",
        }
    }

    /// Whether it sees what the interface receives.
    pub const fn is_ingress(self) -> bool {
        matches!(
            self,
            Self::FromPod | Self::FromNet | Self::FromNetBare | Self::FromTunnel
        )
    }

    /// Name of the pinned link.
    pub(super) fn link(self, ifindex: u32) -> String {
        format!("{}-{ifindex}", self.program())
    }
}

/// An interface as errors name it.
pub(super) fn describe(ifindex: u32) -> String {
    match bpfsys::interface_name(ifindex) {
        Ok(name) => format!("interface {name} ({ifindex})"),
        Err(_) => format!("interface {ifindex}"),
    }
}

/// The descriptor of a loaded program.
pub(super) fn program_fd<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, DatapathError> {
    let program = ebpf.program(name).map(Program::fd);
    match program {
        Some(Ok(fd)) => Ok(fd.as_fd()),
        _ => Err(DatapathError::NoProgram(name.to_owned())),
    }
}
