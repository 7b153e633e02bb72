//! What numbers in the maps stand for.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::model::Direction;

/// `GET /v1/names`: what the numbers in the maps stand for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    /// Service port id → `namespace/name:port`.
    pub services: BTreeMap<u32, String>,
    /// Endpoint id → `namespace/pod`.
    pub endpoints: BTreeMap<u32, String>,
    /// Cookie → the policy and rule.
    pub cookies: BTreeMap<u32, String>,
    /// Address → `namespace/pod` or `node/name`.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Rows and classes of policy.
    pub policy: PolicyNames,
    /// Pods of this node that have no network, and why.
    pub cut_off: BTreeMap<String, String>,
    /// Why all this, and the maps too, may be older than the cluster.
    pub behind: Option<String>,
}

/// A row of policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowName {
    /// Direction.
    pub direction: Direction,
    /// The policies that isolate its pods, `namespace/name`.
    pub policies: Vec<String>,
}

/// Names of all rows and classes in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyNames {
    /// Rows by number.
    pub rows: BTreeMap<u32, RowName>,
    /// Classes by number: the peers of policies that its addresses are, each of them.
    pub classes: BTreeMap<u32, Vec<String>>,
    /// Endpoints that are denied everything in a direction, ingress first, because a policy was refused, and which and
    /// why.
    pub closed: BTreeMap<u32, [Option<String>; 2]>,
    /// What the rules of these rows say, by name: `shop/db ingress[0]`.
    pub rules: BTreeMap<String, RuleWords>,
}

/// What one rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleWords {
    /// The peers that it names, of which one is enough.
    pub peers: Vec<String>,
    /// The ports that it names; empty if it names none, which is all of them.
    pub ports: Vec<String>,
}
