//! Configuration of the agent, defined once: by the structs here. Their fields, comments and `Default`s give the YAML
//! file, the flags, the environment variables, the reference document and the JSON schema (`definition`).
//!
//! A field's `extend` says what Rust does not: `x-flag` is a flag of its own beside `--set`, `x-reload` marks what takes
//! effect without a restart, with all below it. The effective configuration is a value: it is logged at start, printed
//! with the origin of every part by `proxy-agent config print`, and served by the API.

pub mod change;
mod check;
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
mod machine;
pub mod maps;
pub mod masquerade;
pub mod metrics_tls;
pub mod node;
pub mod platform;
mod pools;
pub mod reference;
pub mod routing;
pub mod services;
mod suggest;
mod text;
pub mod xdp;

use std::{net::SocketAddr, path::PathBuf};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::datapath::TcPreference;
pub use check::LEAST_MTU_OF_IPV6;
pub use devices::PodDevice;
pub use duration::Period;
pub use effective::{Effective, Origin};
pub use encryption::{Encryption, EncryptionSettings};
pub use fault::{ConfigError, Fault};
pub use flags::Flags;
pub use ipam::{Ipam, PodRangeSettings};
pub use load_balancer::{Algorithm, LoadBalancerSettings, MaglevSettings};
pub use maps::{MapSize, Maps};
pub use masquerade::{MasqueradeSettings, Masquerading};
pub use metrics_tls::MetricsTls;
pub use node::{LinkSettings, NodePortAddress, NodeSettings, SourcePorts};
pub use platform::Platform;
pub use pools::{AddressPool, AddressRange, LOAD_BALANCER_CLASS};
pub use routing::{Routing, TunnelSettings, Underlay};
pub use services::ServiceSettings;
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
    /// How pods of other nodes are reached.
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

/// How to reach the API server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientConnection {
    /// A kubeconfig file.
    #[schemars(extend("x-flag" = "kubeconfig", "format" = "path"))]
    pub kubeconfig: Option<PathBuf>,
    /// URLs of API servers, tried in turn; they override the kubeconfig's, whose credentials are kept. The
    /// agent must not need the `kubernetes` Service, which it serves itself: without a URL here or in a kubeconfig it
    /// starts only where it remembers what stands behind that Service.
    #[schemars(extend("x-flag" = "api-server"))]
    pub api_servers: Vec<String>,
}

/// How packets leave our programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// By redirects, past the host's stack and netfilter.
    #[default]
    Bpf,
    /// Through the host's stack, for hosts that rely on netfilter or shaping.
    Stack,
}

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TcAttach {
    /// By TCX links where the kernel has them (6.6), else by filters of clsact.
    #[default]
    Auto,
    /// By TCX links; without them nothing is attached to links of the node, which the status says.
    Tcx,
    /// By filters of clsact, as on older kernels.
    Clsact,
}

impl TcAttach {
    /// As the datapath has it.
    pub const fn preference(self) -> TcPreference {
        match self {
            Self::Auto => TcPreference::Auto,
            Self::Tcx => TcPreference::Tcx,
            Self::Clsact => TcPreference::Clsact,
        }
    }
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logging {
    /// One JSON object or one line of text per event.
    #[schemars(extend("x-flag" = "log-format"))]
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,proxy_agent::service=debug`.
    #[schemars(extend("x-flag" = "log-level", "x-reload" = true))]
    pub level: String,
    /// Log each packet that is dropped, with its reason, at level `info`. For debugging: whoever sends much that is
    /// dropped makes as many lines.
    #[schemars(extend("x-flag" = "log-drops"))]
    pub drops: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".to_owned(),
            drops: false,
        }
    }
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Text.
    Text,
}

/// Connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Conntrack {
    /// Connections that netfilter's table holds, per processor. A table that holds more stays. Ours: `maps.conntrack`.
    pub max_per_core: u32,
    /// Connections that it holds at least, if `maxPerCore` is not 0.
    pub min: u32,
    /// How long an idle established TCP connection is kept.
    pub tcp_established_timeout: Period,
    /// How long a TCP connection is kept that one side has closed.
    pub tcp_close_wait_timeout: Period,
    /// Netfilter does not mark packets outside of the window as invalid.
    pub tcp_be_liberal: bool,
    /// How long datagrams are kept that nobody has answered, or only once.
    pub udp_timeout: Period,
    /// How long those are kept that go both ways.
    pub udp_stream_timeout: Period,
}

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            max_per_core: 32 * 1024,
            min: 128 * 1024,
            tcp_established_timeout: Period::from_secs(24 * 3600),
            tcp_close_wait_timeout: Period::from_secs(3600),
            tcp_be_liberal: false,
            udp_timeout: Period::from_secs(0),
            udp_stream_timeout: Period::from_secs(0),
        }
    }
}

/// What the API leaves open about policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Pods may always reach the addresses of their own node, whatever isolates them for egress: for DNS caches and
    /// the like that run there. Otherwise policies hold for the node as for anyone.
    #[schemars(extend("x-flag" = "allow-egress-to-local-node"))]
    pub allow_egress_to_local_node: bool,
}

/// The CNI plugin.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cni {
    /// Install binary and conflist once the agent is ready, and wire pods.
    #[schemars(extend("x-flag" = "cni-install"))]
    pub install: bool,
    /// Where the runtime looks for plugins.
    #[schemars(extend("x-flag" = "cni-bin-dir", "format" = "path"))]
    pub bin_dir: PathBuf,
    /// Where the runtime looks for conflists.
    #[schemars(extend("x-flag" = "cni-conf-dir", "format" = "path"))]
    pub conf_dir: PathBuf,
    /// Name of the conflist's file.
    pub conf_file: String,
    /// The plugin binary to install; empty means `cni-plugin` beside the agent's own.
    #[schemars(extend("x-flag" = "cni-plugin", "format" = "path"))]
    pub plugin: PathBuf,
    /// MTU of pod interfaces; 0 means what the way to other nodes carries.
    pub mtu: u32,
    /// What the interfaces of new pods are.
    #[schemars(extend("x-flag" = "cni-device"))]
    pub device: PodDevice,
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            install: false,
            bin_dir: PathBuf::from("/opt/cni/bin"),
            conf_dir: PathBuf::from("/etc/cni/net.d"),
            conf_file: "05-weir.conflist".to_owned(),
            plugin: PathBuf::new(),
            mtu: 0,
            device: PodDevice::default(),
        }
    }
}

/// How often the maps are brought into step.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncPeriods {
    /// How long changes are gathered before they are applied.
    pub min_period: Period,
    /// How often everything is planned anew and compared with the maps. Maps alone are compared with what was written to them
    /// every few seconds, whatever this says.
    pub full_period: Period,
}

impl Default for SyncPeriods {
    fn default() -> Self {
        Self {
            min_period: Period::from_millis(5),
            full_period: Period::from_secs(600),
        }
    }
}
