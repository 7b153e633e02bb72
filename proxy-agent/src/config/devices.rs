//! What pods' interfaces are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of pair that a pod's interface is a side of. Pods keep theirs, whatever is chosen later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodDevice {
    /// Netkit where the kernel can make it (Linux 6.7), which is tried, else veth.
    #[default]
    Auto,
    /// Veth, as every kernel has it.
    Veth,
    /// Netkit; where the kernel has none, new pods are refused, and the status says why.
    Netkit,
}
