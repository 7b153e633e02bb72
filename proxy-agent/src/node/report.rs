//! What a look at the node found, and what is to be done about it.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{
    encryption::{Encrypted, Ready, key::PublicKey},
    facts::Facts,
    host_device::Leads,
    links::Links,
    masquerade::Masquerade,
    routes::Routes,
    tunnel::Tunnel,
};
use crate::api::{
    health::FAMILIES,
    listen::ListenOn,
    messages::{MasqueradeStatus, WayStatus},
};

/// What a sync found.
#[derive(Debug, Default)]
pub struct NodeReport {
    /// What could not be done; it is tried again by the next sync.
    pub errors: Vec<String>,
    /// The links that must have their programs, and those that are left alone; none if they are not known.
    pub links: Option<Links>,
    /// What people should know, though nothing is broken.
    pub notes: Vec<String>,
    /// Index of `weir_host`, which must have its program before it is led to.
    pub host_device: Option<u32>,
    /// Index of the tunnel's device, which must have its programs before it is set up; none if there is to be none.
    pub tunnel_device: Option<u32>,
    /// Index of the device that encrypts, which must have its programs before it is set up; none if there is to be none.
    pub encryption_device: Option<u32>,
    /// What is encrypted.
    pub encrypted: Encrypted,
    /// Whether the node encrypts, and with which key.
    pub encrypts: Ready,
    /// The key that other nodes are to know.
    pub published_key: Option<PublicKey>,
    /// The tunnel as it should be; none if that is not known.
    pub tunnel: Option<Tunnel>,
    /// The way to each node's pods, by node and range.
    pub ways: BTreeMap<(String, IpNetwork), String>,
    /// What others lead elsewhere of nodes' ranges, in words.
    pub detours: Vec<String>,
    /// Routes to other nodes' pods, which are to be set; none if they are not known.
    pub routes: Option<Routes>,
    /// What is to lead there, once Services are in force and their ranges are known.
    pub leads: Option<Leads>,
    /// What the machine has.
    pub facts: Facts,
    /// Pods could start since the agent did.
    pub ready: bool,
    /// Why new pods get no network, though Services are in force.
    pub closed: Option<String>,
    /// The node's own addresses in the maps; none if they are not known.
    pub addresses: Option<Vec<IpAddr>>,
    /// The node's large ranges in the maps; none if they are not known.
    pub ranges: Option<Vec<IpNetwork>>,
    /// Where health check node ports are served; none if that is not known.
    pub health_checks: Option<ListenOn>,
    /// In whose name pods speak; none if it is not known.
    pub masquerade: Option<Masquerade>,
    /// Why ip-masq-agent's file cannot be read.
    pub file_error: Option<String>,
}

impl NodeReport {
    /// The way to each node's pods, for the status.
    pub fn ways(&self) -> Vec<WayStatus> {
        let ways = self.ways.iter();
        ways.map(|((node, range), way)| WayStatus {
            node: node.clone(),
            range: range.to_string(),
            way: way.clone(),
        })
        .collect()
    }

    /// In whose name pods speak, for the status.
    pub fn masquerades(&self) -> MasqueradeStatus {
        let Some(masquerade) = &self.masquerade else {
            return MasqueradeStatus::default();
        };
        let holds = [masquerade.ipv4, masquerade.ipv6];
        let families = FAMILIES.into_iter().map(str::to_owned);
        MasqueradeStatus {
            families: families.zip(holds).collect(),
            inside: masquerade.inside.len() as u64,
            problems: self.file_error.iter().cloned().collect(),
        }
    }
}
