//! Load balancers' addresses in the status.

use serde::{Deserialize, Serialize};

/// Load balancers' addresses, where Weir gives them (`loadBalancer.pools`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancersStatus {
    /// The pools; empty: Weir gives no addresses.
    pub pools: Vec<PoolStatus>,
    /// The node whose agent gives addresses; none if that is not known here.
    pub leader: Option<String>,
    /// Addresses of the pools that Services have.
    pub addresses: Vec<GivenAddress>,
    /// What is wrong. Which Services are refused an address the node of `leader` says.
    pub problems: Vec<String>,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How many addresses it has.
    pub addresses: u64,
    /// How many of them Services have.
    pub given: u64,
}

/// An address that Services have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GivenAddress {
    /// It.
    pub address: String,
    /// Whose it is, `namespace/name`; several, if they share it.
    pub services: Vec<String>,
    /// Where it is announced; empty if no link of this node is in a network with it.
    pub announced: Vec<AnnouncementStatus>,
}

/// Who answers for an address on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnnouncementStatus {
    /// The link of this node.
    pub link: String,
    /// The node that answers; none if no node may: with `externalTrafficPolicy: Local` none has an endpoint.
    pub node: Option<String>,
}
