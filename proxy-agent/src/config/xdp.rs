//! Whether frames are sent on before the kernel has made packets of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the XDP program of links runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// In the drivers of network cards that let it; never where it could do harm, as on a `veth` whose other end must have XDP
    /// too. Elsewhere there is none, which `proxyctl status` says link by link.
    #[default]
    Auto,
    /// In the driver of every link that lets it, `veth`s too.
    Native,
    /// Nowhere.
    Off,
}
