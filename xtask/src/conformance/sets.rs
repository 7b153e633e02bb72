//! The sets of tests, and why a test is in none.

use crate::cluster::shape::Families;

/// A set of upstream's tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Set {
    /// Services, endpoint slices, DNS, pod networking, both families.
    Services,
    /// `NetworkPolicy`.
    Policy,
    /// Services of `type: LoadBalancer`, by addresses of a pool on the nodes' link.
    #[value(name = "loadbalancers")]
    LoadBalancers,
}

/// A pattern of names, and why those tests are left out.
pub(crate) type Exception = (&'static str, &'static str);

const SERVICES: [Exception; 9] = [
    (r"Netpol", "has a set of its own: policy"),
    (r"LoadBalancers", "has a set of its own: loadbalancers"),
    (r"Ingress", "needs an ingress controller"),
    (
        r"SCTPConnectivity|SCTP HostPort",
        "needs SCTP sockets on the nodes",
    ),
    (r"Networking-(IPv4|IPv6|DNS)", "needs the Internet"),
    (r"\[Disruptive\]", "restarts parts of the cluster over ssh"),
    (
        r"DNS configMap|PerformanceDNS|Networking-Performance",
        "changes or loads the cluster's DNS, or measures",
    ),
    (r"Provider:GCE", "needs a certain cloud"),
    (
        r"KubeProxyNFAcct",
        "reads a netfilter counter of kube-proxy's iptables mode",
    ),
];

/// On a cluster of one family.
const DUAL_STACK: Exception = (
    r"Feature:IPv6DualStack",
    "needs both families: the API server refuses its Services",
);

/// On a cluster without IPv4. Where there is IPv4 a rule of kubelet's has connections tracked.
const NETFILTERS: Exception = (
    r"TCP CLOSE_WAIT timeout",
    "reads netfilter's table of connections, which without kube-proxy's rules nobody fills",
);

const POLICY: [Exception; 1] = [(r"SCTPConnectivity", "needs SCTP sockets on the nodes")];

const LOAD_BALANCERS: [Exception; 1] = [(
    r"cleanup finalizer",
    "the finalizer is a cloud controller's, which has something to clean up",
)];

impl Set {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Policy => "policy",
            Self::LoadBalancers => "loadbalancers",
        }
    }

    /// What is left out on a cluster of these families, and why.
    pub(crate) fn exceptions(self, families: Families) -> Vec<Exception> {
        let own: &[Exception] = match self {
            Self::Services => &SERVICES,
            Self::Policy => &POLICY,
            Self::LoadBalancers => &LOAD_BALANCERS,
        };
        let single = (families != Families::Dual).then_some(DUAL_STACK);
        let ipv6 = (families == Families::Ipv6).then_some(NETFILTERS);
        own.iter().copied().chain(single).chain(ipv6).collect()
    }

    /// The expression of what is in; `narrower` must match too.
    pub(crate) fn focus(self, narrower: Option<&str>) -> String {
        let base = match self {
            Self::Services => r"\[sig-network\]",
            Self::Policy => r"\[sig-network\] Netpol",
            Self::LoadBalancers => r"\[sig-network\] LoadBalancers",
        };
        narrower.map_or_else(
            || base.to_owned(),
            |narrower| format!("{base}.*({narrower})"),
        )
    }

    /// The expression of what is left out.
    pub(crate) fn skip(self, families: Families) -> String {
        self.exceptions(families)
            .iter()
            .map(|(what, _)| *what)
            .collect::<Vec<_>>()
            .join("|")
    }
}
