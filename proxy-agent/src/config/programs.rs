//! How programs are attached, and how packets leave them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::datapath::TcPreference;

/// How packets leave our programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// By redirects, past the host's stack and netfilter.
    #[default]
    Bpf,
    /// Through the host's stack, for hosts that rely on netfilter or shaping.
    Stack,
}

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TcAttach {
    /// By TCX links where the kernel has them (6.6), else by filters of clsact.
    #[default]
    Auto,
    /// By TCX links; without them nothing is attached to links of the node, which the status says.
    Tcx,
    /// By filters of clsact, as on older kernels.
    Clsact,
}

impl TcAttach {
    /// As the datapath has it.
    pub const fn preference(self) -> TcPreference {
        match self {
            Self::Auto => TcPreference::Auto,
            Self::Tcx => TcPreference::Tcx,
            Self::Clsact => TcPreference::Clsact,
        }
    }
}
