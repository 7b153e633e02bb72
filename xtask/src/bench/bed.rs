//! A test bed: two nodes, a client pod, a server pod beside it and one on the other node.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use weir_world::{Node, Pod, Process, World};

use super::{load, objects};

mod bare;
mod kube_proxy;
pub(crate) mod link;
mod weir;

pub(crate) use bare::Bare;
pub(crate) use kube_proxy::KubeProxy;
pub(crate) use weir::Weir;

/// Whether client and server are on one node or on two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Pod to pod on one node.
    Near,
    /// Across two nodes.
    Far,
}

impl Reach {
    /// How many nodes take part.
    pub(crate) fn nodes(self) -> u8 {
        match self {
            Self::Near => 1,
            Self::Far => 2,
        }
    }

    /// The Service in front of the server.
    pub(crate) fn service(self) -> Result<SocketAddr> {
        let address = match self {
            Self::Near => objects::NEAR,
            Self::Far => objects::FAR,
        };
        Ok(SocketAddr::new(address.parse()?, objects::PORT))
    }
}

/// The pods of a bed, with a server running in two of them.
pub(crate) struct Pods {
    pub(crate) client: Pod,
    near: Pod,
    far: Pod,
    pub(crate) servers: Vec<Process>,
}

impl Pods {
    /// Makes the three pods with `pod`, and starts the servers.
    fn new(nodes: &[Node; 2], pod: impl Fn(&Node, &str) -> Result<Pod>) -> Result<Self> {
        let [a, b] = nodes;
        let client = pod(a, "client")?;
        let near = pod(a, "near")?;
        let far = pod(b, "far")?;
        let ends = [&near, &far].map(|pod| pod.at(objects::PORT).map(|at| (pod, at)));
        // Reference plugins give IPv4 only.
        let served = ends.as_flattened().iter();
        let served = served.filter(|(_, at)| !at.ip().is_unspecified());
        let servers = served
            .map(|(pod, at)| load::server(pod, *at))
            .collect::<Result<_>>()?;
        Ok(Self {
            client,
            near,
            far,
            servers,
        })
    }

    /// The server itself.
    pub(crate) fn server(&self, reach: Reach) -> SocketAddr {
        match reach {
            Reach::Near => self.near.at(objects::PORT)[0],
            Reach::Far => self.far.at(objects::PORT)[0],
        }
    }

    /// The server of the other node, IPv4 and IPv6.
    pub(crate) fn away(&self) -> [SocketAddr; 2] {
        self.far.at(objects::PORT)
    }

    /// The pods themselves.
    pub(crate) fn all(&self) -> [&Pod; 3] {
        [&self.client, &self.near, &self.far]
    }

    /// The Services in front of the servers.
    fn services(&self) -> Vec<serde_json::Value> {
        let near = (self.near.ipv4().to_string(), self.near.node().name());
        let far = (self.far.ipv4().to_string(), self.far.node().name());
        let mut list = objects::cluster_ip("near", objects::NEAR, &[near]).to_vec();
        list.extend(objects::cluster_ip("far", objects::FAR, &[far]));
        list
    }
}

/// Two nodes that route to each other's pods.
pub(crate) fn nodes(world: &World) -> Result<[Node; 2]> {
    let (a, b) = (world.node("a")?, world.node("b")?);
    a.route_to(&b).context("route from a to b")?;
    b.route_to(&a).context("route from b to a")?;
    Ok([a, b])
}
