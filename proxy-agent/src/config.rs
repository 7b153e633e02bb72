//! Configuration of the agent, defined once: by the structs here. Their fields, comments and `Default`s give the YAML
//! file, the flags, the environment variables, the reference document and the JSON schema (`definition`).
//!
//! A field's `extend` says what Rust does not: `x-flag` is a flag of its own beside `--set`, `x-reload` marks what takes
//! effect without a restart, with all below it. The effective configuration is a value: it is logged at start, printed
//! with the origin of every part by `proxy-agent config print`, and served by the API.

pub mod change;
mod check;
mod client_connection;
mod cni;
mod conntrack;
pub mod definition;
mod devices;
pub mod duration;
pub mod effective;
pub mod encryption;
pub mod fault;
mod file;
pub mod flags;
mod format;
pub mod ipam;
mod kube_proxy;
pub mod load;
mod load_balancer;
mod logging;
mod machine;
pub mod maps;
pub mod masquerade;
pub mod metrics_tls;
pub mod node;
pub mod platform;
mod policy;
mod pools;
mod programs;
pub mod reference;
pub mod routing;
pub mod services;
mod suggest;
mod sync;
mod text;
pub mod xdp;

use std::{net::SocketAddr, path::PathBuf};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::LEAST_MTU_OF_IPV6;
pub use client_connection::ClientConnection;
pub use cni::Cni;
pub use conntrack::Conntrack;
pub use devices::PodDevice;
pub use duration::Period;
pub use effective::{Effective, Origin};
pub use encryption::{Encryption, EncryptionSettings};
pub use fault::{ConfigError, Fault};
pub use flags::Flags;
pub use ipam::{Ipam, PodRangeSettings};
pub use load_balancer::{Algorithm, LoadBalancerSettings, MaglevSettings};
pub use logging::{LEVELS, LogFormat, Logging, check_filter};
pub use maps::{MapSize, Maps};
pub use masquerade::{MasqueradeSettings, Masquerading};
pub use metrics_tls::MetricsTls;
pub use node::{LinkSettings, NodePortAddress, NodeSettings, SourcePorts};
pub use platform::Platform;
pub use policy::Policy;
pub use pools::{AddressPool, AddressRange, LOAD_BALANCER_CLASS};
pub use programs::{Forwarding, TcAttach};
pub use routing::{Routing, TunnelSettings, Underlay};
pub use services::ServiceSettings;
pub use sync::SyncPeriods;
pub use xdp::Xdp;

/// `apiVersion` of the file.
pub const API_VERSION: &str = "weir.dev/v1alpha1";
/// `kind` of the file.
pub const KIND: &str = "AgentConfiguration";

/// Everything the agent can be told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Configuration {
    /// Always `weir.dev/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// Always `AgentConfiguration`.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// Name of this Node; empty means the host's name.
    #[schemars(extend("x-flag" = "node-name"))]
    pub node_name: String,
    /// How to reach the API server. Without a kubeconfig the credentials are the Pod's service account.
    pub client_connection: ClientConnection,
    /// Folder of manifests that serves in place of an API server.
    #[schemars(extend("x-flag" = "manifests", "format" = "path"))]
    pub manifests: Option<PathBuf>,
    /// Keeps the pins and sockets of several agents on one machine apart.
    #[schemars(extend("x-flag" = "instance"))]
    pub instance: String,
    /// Root of the cgroup2 hierarchy whose processes are balanced. Empty: where the root of the whole hierarchy is mounted; a
    /// container's own cgroup is refused.
    #[schemars(extend("x-flag" = "cgroup-root", "format" = "path"))]
    pub cgroup_root: PathBuf,
    /// Mount point of the BPF file system.
    #[schemars(extend("x-flag" = "bpffs", "format" = "path"))]
    pub bpffs: PathBuf,
    /// Folder of the API socket and of what must survive the agent, but not the machine.
    #[schemars(extend("x-flag" = "run-dir", "format" = "path"))]
    pub run_dir: PathBuf,
    /// Where `/healthz`, `/livez` and `/readyz` are served; `0.0.0.0` and `[::]` both mean all addresses of both
    /// families.
    #[schemars(extend("x-flag" = "healthz-bind-address", "format" = "address:port"))]
    pub healthz_bind_address: SocketAddr,
    /// Where `/metrics`, `/proxyMode` and `/configz` are served.
    #[schemars(extend("x-flag" = "metrics-bind-address", "format" = "address:port"))]
    pub metrics_bind_address: SocketAddr,
    /// Whether they are read by TLS, and by whom.
    #[serde(rename = "metricsTLS")]
    pub metrics_tls: MetricsTls,
    /// How packets leave our programs.
    #[schemars(extend("x-flag" = "forwarding"))]
    pub forwarding: Forwarding,
    /// Balance connections at `connect()`; otherwise, and datagrams always, packet by packet.
    #[schemars(extend("x-flag" = "socket-balancing"))]
    pub socket_balancing: bool,
    /// How programs are attached to interfaces. For experts: `auto` is right on every kernel.
    #[schemars(extend("x-flag" = "tc-attach"))]
    pub tc_attach: TcAttach,
    /// Where links take what comes from outside for backends on other nodes, and its answers, and send it on before the kernel
    /// has made packets of it (XDP). All else goes on as without. Some drivers stop a card for a moment when a program is put
    /// there or taken off, and most stop gathering segments (LRO, guest TSO) for as long.
    #[schemars(extend("x-flag" = "xdp", "x-reload" = true))]
    pub xdp: Xdp,
    /// What is logged and how.
    pub logging: Logging,
    /// Capacities of maps, in entries; 0 means that of `size`. A map that fills up is made larger, as far as `memory` allows,
    /// and smaller again when little of it is used, but not smaller than this.
    #[schemars(extend("x-reload" = true))]
    pub maps: Maps,
    /// What the node is told about itself. Empty lists are filled from its Node object and its interfaces.
    pub node: NodeSettings,
    /// Connection tracking: how long flows are kept, by our programs and by netfilter's connection tracking, as
    /// kube-proxy's configuration has it. Netfilter's, for traffic that the host's stack forwards, is set where the
    /// kernel module is loaded; 0 leaves its value alone, and is the default for our programs: 24h, 1h, 30s and 120s in
    /// the order established, half closed, unanswered datagrams, answered ones.
    #[schemars(extend("x-reload" = true))]
    pub conntrack: Conntrack,
    /// In whose name pods speak out of the cluster: the node's, unless the network knows pods' addresses. They reach pods and
    /// `InternalIP`s of nodes, Services and the ranges named here under their own address. Everybody else sees an address that
    /// the node has on the link by which it leaves, and a port of `node.sourcePorts`; of ICMP, echoes are sent so. What cannot
    /// be sent so is dropped (`not-masqueraded`). A flow that has begun stays as it is, whatever changes here.
    #[schemars(extend("x-reload" = true))]
    pub masquerade: MasqueradeSettings,
    /// How pods of other nodes are reached. May be changed node by node: each takes what comes by either way.
    #[schemars(extend("x-flag" = "routing", "x-reload" = true))]
    pub routing: Routing,
    /// Ranges of pods that the network itself carries between nodes (routes of a cloud, BGP): `auto` takes no tunnel to them.
    #[serde(rename = "routedPodCIDRs")]
    #[schemars(with = "Vec<format::Cidr>", extend("x-flag" = "routed-pod-cidr", "x-reload" = true))]
    pub routed_pod_cidrs: Vec<IpNetwork>,
    /// The tunnel between nodes: VXLAN (RFC 7348) to their `InternalIP`s. It takes packets of nodes that it knows only, but
    /// does not hide them from the network.
    #[schemars(extend("x-reload" = true))]
    pub tunnel: TunnelSettings,
    /// Encryption between nodes, the same on all of them: what goes between pods of different nodes, and between a node and pods
    /// of another one, in place of the tunnel or the direct way.
    #[schemars(extend("x-reload" = true))]
    pub encryption: EncryptionSettings,
    /// What comes from outside to a `NodePort`, a load balancer's address or an external IP: how backends are chosen for it, packet
    /// by packet, and which addresses load balancers have where no cloud gives any.
    pub load_balancer: LoadBalancerSettings,
    /// Which platform the manifests are for. What a node is, its kubelet says; where that has other folders, the status says
    /// which.
    #[schemars(extend("x-flag" = "platform"))]
    pub platform: Platform,
    /// Where the ranges of nodes' pods come from, the same on all nodes.
    #[schemars(extend("x-flag" = "ipam"))]
    pub ipam: Ipam,
    /// Ranges that `ipam: cluster` gives to nodes; more may be added at any time. Those that are claimed stay with their
    /// nodes, though they are not listed any more.
    #[serde(rename = "clusterPodCIDRs")]
    #[schemars(with = "Vec<format::Cidr>", extend("x-flag" = "cluster-pod-cidr", "x-reload" = true))]
    pub cluster_pod_cidrs: Vec<IpNetwork>,
    /// How `ipam: cluster` claims ranges of pods.
    #[schemars(extend("x-reload" = true))]
    pub pod_ranges: PodRangeSettings,
    /// What the API leaves open about Services.
    pub services: ServiceSettings,
    /// What the API leaves open about policies.
    pub policy: Policy,
    /// The CNI plugin.
    pub cni: Cni,
    /// How often the maps are brought into step.
    pub sync: SyncPeriods,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            node_name: String::new(),
            client_connection: ClientConnection::default(),
            manifests: None,
            instance: "default".to_owned(),
            cgroup_root: PathBuf::new(),
            bpffs: PathBuf::from("/sys/fs/bpf"),
            run_dir: PathBuf::from("/run/weir"),
            healthz_bind_address: SocketAddr::from(([0, 0, 0, 0], 10256)),
            metrics_bind_address: SocketAddr::from(([127, 0, 0, 1], 10249)),
            metrics_tls: MetricsTls::default(),
            forwarding: Forwarding::Bpf,
            socket_balancing: true,
            tc_attach: TcAttach::Auto,
            xdp: Xdp::default(),
            logging: Logging::default(),
            maps: Maps::default(),
            node: NodeSettings::default(),
            conntrack: Conntrack::default(),
            masquerade: MasqueradeSettings::default(),
            routing: Routing::default(),
            routed_pod_cidrs: Vec::new(),
            tunnel: TunnelSettings::default(),
            encryption: EncryptionSettings::default(),
            load_balancer: LoadBalancerSettings::default(),
            platform: Platform::default(),
            ipam: Ipam::default(),
            cluster_pod_cidrs: Vec::new(),
            pod_ranges: PodRangeSettings::default(),
            services: ServiceSettings::default(),
            policy: Policy::default(),
            cni: Cni::default(),
            sync: SyncPeriods::default(),
        }
    }
}

impl Configuration {
    /// The unix socket on which the agent serves its API.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }
}
