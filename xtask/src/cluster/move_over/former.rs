//! The network before Weir. Its agents are daemons here and no pods: to start and to end them on a node is what the affinity of
//! their `DaemonSet`s does on a real cluster.

use anyhow::Result;

use super::Journey;
use crate::cluster::flannel::{self, Between};
use crate::cluster::lab::Node;
use crate::cluster::place::Place;
use crate::cluster::shape::Proxy;
use crate::cluster::{kube_proxy, wait};
use crate::say;

/// kube-proxy's name as a process.
const KUBE_PROXY: &str = "kube-proxy";

/// Which network it is; kube-proxy with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Former {
    /// The reference plugins `ptp` and `portmap`, and static routes.
    Ptp,
    /// flannel with its VXLAN, and the reference plugins `bridge` and `portmap`.
    Flannel,
}

impl Former {
    /// The cluster that has it.
    pub(super) const fn proxy(self) -> Proxy {
        match self {
            Self::Ptp => Proxy::KubeProxy,
            Self::Flannel => Proxy::Flannel,
        }
    }

    /// Its daemons.
    pub(super) const fn daemons(self) -> &'static [&'static str] {
        match self {
            Self::Ptp => &[KUBE_PROXY],
            Self::Flannel => &[KUBE_PROXY, flannel::DAEMON],
        }
    }

    /// What it leaves on a node, and what removes it once none of its pods is there: docs/move-over.
    const fn remains(self) -> &'static str {
        match self {
            Self::Ptp => {
                "rm -f /etc/cni/net.d/10-ptp.conflist
                 rm -rf /var/lib/cni/networks/lab"
            }
            Self::Flannel => {
                "rm -f /etc/cni/net.d/10-flannel.conflist
                 rm -rf /run/flannel /var/lib/cni/networks/cbr0
                 ip link delete flannel.1
                 ip link delete flannel-v6.1
                 ip link delete cni0
                 for tool in iptables ip6tables; do
                     $tool-save | grep -v -e FLANNEL -e flanneld | $tool-restore
                 done"
            }
        }
    }
}

impl Journey<'_> {
    /// Has it send to pods of other nodes by routes, as Weir does.
    pub(super) fn former_sends_by_routes(&self) -> Result<()> {
        if self.from != Former::Flannel {
            return Ok(());
        }
        say::step("let flannel send by routes", || {
            self.shape.all().try_for_each(|node| {
                let place = Place::node(self.lab, node);
                place.stop(flannel::DAEMON)?;
                place.script("rm -f /run/flannel/subnet.env")?;
                flannel::start(self.lab, self.shape, node, Between::Routes)?;
                flannel::wire(self.lab, &place, node, &self.cidrs)
            })
        })
    }

    /// Its agents leave a node.
    pub(super) fn former_leaves(&self, node: Node) -> Result<()> {
        let place = Place::node(self.lab, node);
        let daemons = self.from.daemons().iter();
        daemons
            .into_iter()
            .try_for_each(|daemon| place.stop(daemon))
    }

    /// What it leaves is removed.
    pub(super) fn remove_remains(&self, node: Node) -> Result<()> {
        let place = Place::node(self.lab, node);
        place.script(self.from.remains()).map(drop)
    }

    /// Waits until kube-proxy has heard everywhere that DNS has no pods.
    pub(super) fn former_knows_no_dns(&self) -> Result<()> {
        let look = "nft list map ip kube-proxy no-endpoint-services";
        wait::until("kube-proxy", || {
            let mut known = true;
            for node in self.shape.all() {
                let map = Place::node(self.lab, node).script(look)?;
                known &= map.contains("kube-system/kube-dns:dns-tcp");
            }
            Ok(known)
        })
    }

    /// Its agents come to a node again; returns when Services are served by them.
    pub(super) fn former_comes(&self, node: Node) -> Result<()> {
        let place = Place::node(self.lab, node);
        kube_proxy::start(self.lab, self.shape, node, &place)?;
        match self.from {
            Former::Ptp => kube_proxy::wire(&place, node, &self.cidrs)?,
            Former::Flannel => {
                flannel::start(self.lab, self.shape, node, Between::Routes)?;
                flannel::wire(self.lab, &place, node, &self.cidrs)?;
            }
        }
        wait::until("kube-proxy's rules", || {
            let rules = place.script("nft list table ip kube-proxy || true")?;
            Ok(rules.contains("move-over/web-"))
        })
    }
}
