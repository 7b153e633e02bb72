//! The paths that are compared, and the beds that they lie in.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use weir_world::Pod;

use crate::bench::bed::{Bare, KubeProxy, Pods, Reach, Weir};

/// A way from client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Path {
    /// Pod IP; no program of ours, no netfilter.
    Bare,
    /// Pod IP with Weir in force.
    Direct,
    /// `ClusterIP`, translated at `connect()`.
    Socket,
    /// `ClusterIP`, translated packet by packet.
    Packet,
    /// `ClusterIP` by kube-proxy.
    KubeProxy,
}

impl Path {
    /// As in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Direct => "direct",
            Self::Socket => "socket",
            Self::Packet => "packet",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// Every bed that the wanted paths need.
pub(crate) struct Beds {
    pub(crate) bare: Bare,
    pub(crate) socket: Option<Weir>,
    pub(crate) packet: Option<Weir>,
    pub(crate) kube_proxy: Option<KubeProxy>,
}

impl Beds {
    /// Gives every bed so many Services.
    pub(crate) fn set_services(&mut self, services: usize) -> Result<()> {
        for weir in self.weirs() {
            weir.set_services(services)?;
        }
        if let Some(kube_proxy) = &mut self.kube_proxy {
            kube_proxy.set_services(services)?;
        }
        Ok(())
    }

    /// Puts so many policy rules in force where there is policy.
    pub(crate) fn set_rules(&self, rules: usize) -> Result<()> {
        self.weirs().try_for_each(|weir| weir.set_rules(rules))
    }

    fn weirs(&self) -> impl Iterator<Item = &Weir> {
        [&self.socket, &self.packet].into_iter().flatten()
    }

    /// Who asks whom.
    pub(crate) fn target(&self, path: Path, reach: Reach) -> Result<(&Pod, SocketAddr)> {
        let (pods, to) = match path {
            Path::Bare => (&self.bare.pods, self.bare.pods.server(reach)),
            Path::Direct => {
                let pods = as_pods(self.socket.as_ref())?;
                (pods, pods.server(reach))
            }
            Path::Socket => (as_pods(self.socket.as_ref())?, reach.service()?),
            Path::Packet => (as_pods(self.packet.as_ref())?, reach.service()?),
            Path::KubeProxy => {
                let bed = self.kube_proxy.as_ref();
                (
                    &bed.context("this bed was not made")?.pods,
                    reach.service()?,
                )
            }
        };
        Ok((&pods.client, to))
    }
}

fn as_pods(bed: Option<&Weir>) -> Result<&Pods> {
    Ok(&bed.context("this bed was not made")?.pods)
}
