//! What the API leaves open about policies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the API leaves open about policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Pods may always reach the addresses of their own node, whatever isolates them for egress: for DNS caches and
    /// the like that run there. Otherwise policies hold for the node as for anyone.
    #[schemars(extend("x-flag" = "allow-egress-to-local-node"))]
    pub allow_egress_to_local_node: bool,
}
