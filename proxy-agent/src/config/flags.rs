//! Flags of `proxy-agent`. A flag that is given overrides the file.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{ArgAction, Args};
use ipnetwork::IpNetwork;

use super::{
    Configuration, Forwarding, LogFormat, MapSize, NodePortAddress, SourcePorts, TcAttach,
};

/// Flags that override the file.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// File of `kind: AgentConfiguration`
    #[arg(long, env = "WEIR_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Name of this Node (default: `NODE_NAME`, then the host's name)
    #[arg(long, env = "NODE_NAME", global = true)]
    pub node_name: Option<String>,
    /// A kubeconfig file (default: the Pod's service account)
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// URL of an API server; repeat for several
    #[arg(long, global = true, value_delimiter = ',')]
    pub api_server: Vec<String>,
    /// Serve the manifests in this folder in place of an API server's objects
    #[arg(long, global = true)]
    pub manifests: Option<PathBuf>,
    /// cgroup2 folder whose processes are balanced (default: where cgroup2 is mounted)
    #[arg(long, global = true)]
    pub cgroup_root: Option<PathBuf>,
    /// Mount point of the BPF file system
    #[arg(long, global = true)]
    pub bpffs: Option<PathBuf>,
    /// Folder of the API socket
    #[arg(long, global = true)]
    pub run_dir: Option<PathBuf>,
    /// Keeps several agents on one machine apart
    #[arg(long, global = true)]
    pub instance: Option<String>,
    /// Where /healthz and /livez are served
    #[arg(long, global = true)]
    pub healthz_bind_address: Option<SocketAddr>,
    /// Where /metrics is served
    #[arg(long, global = true)]
    pub metrics_bind_address: Option<SocketAddr>,
    /// How packets leave our programs
    #[arg(long, global = true)]
    pub forwarding: Option<Forwarding>,
    /// Balance at `connect()`
    #[arg(long, global = true, action = ArgAction::Set)]
    pub socket_balancing: Option<bool>,
    /// How programs are attached to interfaces; for experts and for tests of older kernels' way
    #[arg(long, global = true)]
    pub tc_attach: Option<TcAttach>,
    /// Shape of log lines
    #[arg(long, global = true)]
    pub log_format: Option<LogFormat>,
    /// error, warn, info, debug, trace, or a filter
    #[arg(long, global = true)]
    pub log_level: Option<String>,
    /// Log each packet that is dropped, with its reason
    #[arg(long, global = true, action = ArgAction::Set)]
    pub log_drops: Option<bool>,
    /// Internal address of this node; at most one per family
    #[arg(long, global = true, value_delimiter = ',')]
    pub node_address: Vec<IpAddr>,
    /// Range of this node's own pods
    #[arg(long, global = true, value_delimiter = ',')]
    pub pod_cidr: Vec<IpNetwork>,
    /// Range of Services
    #[arg(long, global = true, value_delimiter = ',')]
    pub service_cidr: Vec<IpNetwork>,
    /// Range whose addresses on this node serve `NodePort`s, or `primary`
    #[arg(long, global = true, value_delimiter = ',')]
    pub nodeport_addresses: Vec<NodePortAddress>,
    /// Pattern of the names of links that carry node traffic; others are left alone
    #[arg(long, global = true, value_delimiter = ',')]
    pub link: Vec<String>,
    /// Pattern of the names of links that are left alone
    #[arg(long, global = true, value_delimiter = ',')]
    pub exclude_link: Vec<String>,
    /// Source ports for translated connections, such as 1024-29999
    #[arg(long, global = true)]
    pub source_ports: Option<SourcePorts>,
    /// Pods may always reach the addresses of their own node
    #[arg(long, global = true, action = ArgAction::Set)]
    pub allow_egress_to_local_node: Option<bool>,
    /// Install the CNI plugin and its conflist once ready
    #[arg(long, global = true, action = ArgAction::Set)]
    pub cni_install: Option<bool>,
    /// Where the runtime looks for plugins
    #[arg(long, global = true)]
    pub cni_bin_dir: Option<PathBuf>,
    /// Where the runtime looks for conflists
    #[arg(long, global = true)]
    pub cni_conf_dir: Option<PathBuf>,
    /// The plugin binary to install (default: `cni-plugin` beside this one)
    #[arg(long, global = true)]
    pub cni_plugin: Option<PathBuf>,
    /// Capacities of maps that are made now
    #[arg(long, global = true)]
    pub map_size: Option<MapSize>,
    /// Flows tracked of each family
    #[arg(long, global = true)]
    pub conntrack_max: Option<u32>,
}

/// Overwrites a field by a flag that was given.
fn set<T: Clone>(field: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        field.clone_from(value);
    }
}

/// Overwrites a list by a flag that was given at least once.
fn set_list<T: Clone>(field: &mut Vec<T>, flag: &[T]) {
    if !flag.is_empty() {
        *field = flag.to_vec();
    }
}

impl Flags {
    /// Overrides the file.
    pub fn apply(&self, config: &mut Configuration) {
        set(&mut config.node_name, self.node_name.as_ref());
        if self.kubeconfig.is_some() {
            config
                .client_connection
                .kubeconfig
                .clone_from(&self.kubeconfig);
        }
        set_list(&mut config.client_connection.api_servers, &self.api_server);
        if self.manifests.is_some() {
            config.manifests.clone_from(&self.manifests);
        }
        set(&mut config.cgroup_root, self.cgroup_root.as_ref());
        set(&mut config.bpffs, self.bpffs.as_ref());
        set(&mut config.run_dir, self.run_dir.as_ref());
        set(&mut config.instance, self.instance.as_ref());
        set(
            &mut config.healthz_bind_address,
            self.healthz_bind_address.as_ref(),
        );
        set(
            &mut config.metrics_bind_address,
            self.metrics_bind_address.as_ref(),
        );
        set(&mut config.forwarding, self.forwarding.as_ref());
        set(&mut config.socket_balancing, self.socket_balancing.as_ref());
        set(&mut config.tc_attach, self.tc_attach.as_ref());
        set(&mut config.logging.format, self.log_format.as_ref());
        set(&mut config.logging.level, self.log_level.as_ref());
        set(&mut config.logging.drops, self.log_drops.as_ref());
        set_list(&mut config.node.addresses, &self.node_address);
        set_list(&mut config.node.pod_cidrs, &self.pod_cidr);
        set_list(&mut config.node.service_cidrs, &self.service_cidr);
        set_list(
            &mut config.node.node_port_addresses,
            &self.nodeport_addresses,
        );
        set_list(&mut config.node.links.include, &self.link);
        set_list(&mut config.node.links.exclude, &self.exclude_link);
        set(&mut config.node.source_ports, self.source_ports.as_ref());
        set(
            &mut config.policy.allow_egress_to_local_node,
            self.allow_egress_to_local_node.as_ref(),
        );
        set(&mut config.cni.install, self.cni_install.as_ref());
        set(&mut config.cni.bin_dir, self.cni_bin_dir.as_ref());
        set(&mut config.cni.conf_dir, self.cni_conf_dir.as_ref());
        set(&mut config.cni.plugin, self.cni_plugin.as_ref());
        set(&mut config.maps.size, self.map_size.as_ref());
        set(&mut config.maps.conntrack, self.conntrack_max.as_ref());
    }
}
