//! The names of all that checks complain of. Each is an entry of docs/troubleshooting.md, and never changes.

use serde::{Serialize, Serializer};

/// The page that has an entry for each.
pub const PAGE: &str = "docs/troubleshooting.md";

macro_rules! faults {
    ($($(#[doc = $text:literal])+ $fault:ident = $anchor:literal;)+) => {
        /// What may be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $text])+ $fault,)+
        }

        impl Fault {
            /// All.
            pub const ALL: &'static [Self] = &[$(Self::$fault),+];

            /// Its name, the anchor of its entry.
            pub const fn anchor(self) -> &'static str {
                match self { $(Self::$fault => $anchor,)+ }
            }
        }
    };
}

faults! {
    /// The agent would refuse its configuration.
    ConfigurationWrong = "configuration-wrong";
    /// The kernel lacks what programs need.
    KernelLacks = "kernel-lacks";
    /// The kernel does not load our programs, or not our maps.
    ProgramsRefused = "programs-refused";
    /// The kernel has no description of its own types.
    NoBtf = "no-btf";
    /// Programs are interpreted.
    JitOff = "jit-off";
    /// The configuration asks for TCX, which the kernel has not.
    NoTcx = "no-tcx";
    /// The kernel cannot make a kind of device that is needed.
    NoDeviceKind = "no-device-kind";
    /// Capabilities are missing.
    MissingCapability = "missing-capability";
    /// No BPF file system.
    NoBpffs = "no-bpffs";
    /// The node has another BPF file system than the agent.
    PinsElsewhere = "pins-elsewhere";
    /// What a container mounts below `/sys` does not reach the node.
    SysNotShared = "sys-not-shared";
    /// No cgroup v2 hierarchy.
    NoCgroup2 = "no-cgroup2";
    /// A container's own cgroup is all that there is.
    ContainerCgroup = "container-cgroup";
    /// Links and routes cannot be read.
    NetworkUnread = "network-unread";
    /// No link carries node traffic.
    NoLink = "no-link";
    /// An address of the node is on no link.
    AddressNotHere = "address-not-here";
    /// A link has an address of another node's pods.
    AddressOfPods = "address-of-pods";
    /// Nodes whose pods cannot be reached.
    NodeUnreachable = "node-unreachable";
    /// Another one's rule of routing takes Services or pods.
    RuleElsewhere = "rule-elsewhere";
    /// Another one's route takes a part of what is Services' or another node's pods'.
    RouteElsewhere = "route-elsewhere";
    /// Somebody has fixed the hardware address of another node.
    NeighbourFixed = "neighbour-fixed";
    /// A Node names what another one has.
    NodeConflict = "node-conflict";
    /// The way to other nodes has no room for what pods send.
    MtuTooLow = "mtu-too-low";
    /// Pods are told of a larger MTU than their way has.
    MtuTooHigh = "mtu-too-high";
    /// Kernel settings of the network cannot be written.
    SysctlsReadOnly = "sysctls-read-only";
    /// The kernel does not forward.
    ForwardingOff = "forwarding-off";
    /// The kernel drops what comes another way than it would go.
    StrictRpFilter = "strict-rp-filter";
    /// Sockets of the host get ports that Weir translates to.
    SourcePortsMeet = "source-ports-meet";
    /// Somebody else listens where Weir is to.
    PortTaken = "port-taken";
    /// kube-proxy runs.
    KubeProxyRuns = "kube-proxy-runs";
    /// Rules of kube-proxy are left.
    KubeProxyLeft = "kube-proxy-left";
    /// Nobody can say whether rules of kube-proxy are left.
    KubeProxyUnknown = "kube-proxy-unknown";
    /// The runtime prefers another plugin.
    AnotherPlugin = "another-plugin";
    /// Devices of another network are there.
    AnotherNetwork = "another-network";
    /// The loopback is down.
    LoopbackDown = "loopback-down";
    /// Another one's rules of netfilter drop what the kernel forwards for pods.
    ForwardDropped = "forward-dropped";
    /// Nobody can say whether they do.
    ForwardUnknown = "forward-unknown";
    /// There is no folder of manifests.
    NoManifests = "no-manifests";
    /// Nobody says where API servers are.
    NoApiServer = "no-api-server";
    /// An API server does not answer.
    ApiUnreachable = "api-unreachable";
    /// An API server is not ready.
    ApiNotReady = "api-not-ready";
    /// The API server refuses what Weir asks.
    ApiRefuses = "api-refuses";
    /// No Node is of this node's name.
    NoNode = "no-node";
    /// Nobody gives this node a range for its pods.
    NoPodCidrs = "no-pod-cidrs";
    /// The platform is another one than the manifests are for.
    AnotherPlatform = "another-platform";
    /// A folder of the plugin cannot be written.
    CniFolderReadOnly = "cni-folder-read-only";
    /// Programs in the folder of plugins may not run.
    CniFolderNoexec = "cni-folder-noexec";
    /// The runtime looks for plugins elsewhere.
    RuntimeLooksElsewhere = "runtime-looks-elsewhere";
    /// The plugin or its configuration is not installed.
    PluginMissing = "plugin-missing";
    /// The installed plugin is of another version.
    PluginDiffers = "plugin-differs";
    /// The installed plugin does not run.
    PluginBroken = "plugin-broken";
    /// The plugin has not what it needs to know of the node.
    NodeFile = "node-file";
    /// No address is left for a pod.
    NoAddressLeft = "no-address-left";
    /// The record of an attachment cannot be read.
    RecordUnread = "record-unread";
    /// Pods have an interface, but no record.
    RecordLost = "record-lost";
    /// A pod's interface is gone.
    InterfaceGone = "interface-gone";
    /// The folder that plugin and agent share is gone.
    RunFolderGone = "run-folder-gone";
    /// The agent does not answer.
    AgentSilent = "agent-silent";
    /// proxyctl and the agent are of different versions.
    VersionSkew = "version-skew";
    /// Nobody answers health probes.
    HealthSilent = "health-silent";
    /// The agent says that it is not healthy.
    Unhealthy = "unhealthy";
    /// Row Agent of the status.
    StatusAgent = "status-agent";
    /// Row API of the status.
    StatusApi = "status-api";
    /// Row Sync of the status.
    StatusSync = "status-sync";
    /// Row Maps of the status.
    StatusMaps = "status-maps";
    /// Row Flows of the status.
    StatusFlows = "status-flows";
    /// Row CNI of the status.
    StatusCni = "status-cni";
    /// Row Host of the status.
    StatusHost = "status-host";
    /// Row Links of the status.
    StatusLinks = "status-links";
    /// Row XDP of the status.
    StatusXdp = "status-xdp";
    /// Row Masquerade of the status.
    StatusMasquerade = "status-masquerade";
    /// Row Pod ranges of the status.
    StatusPodRanges = "status-pod-ranges";
    /// Row Ways of the status.
    StatusWays = "status-ways";
    /// Row Encryption of the status.
    StatusEncryption = "status-encryption";
    /// Row Addresses of the status.
    StatusAddresses = "status-addresses";
    /// Row Repairs of the status.
    StatusRepairs = "status-repairs";
    /// Row Health of the status.
    StatusHealth = "status-health";
    /// There are no maps of this version.
    NoMaps = "no-maps";
    /// Programs are not attached.
    ProgramsDetached = "programs-detached";
    /// Maps hold something else than they should.
    MapsDiffer = "maps-differ";
}

impl Fault {
    /// Where its entry is.
    pub fn link(self) -> String {
        format!("{PAGE}#{}", self.anchor())
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.anchor())
    }
}
