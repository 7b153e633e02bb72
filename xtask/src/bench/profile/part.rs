//! What processor time is spent on.

use serde::Serialize;

/// Part of a connection's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Part {
    /// Our programs on interfaces, and the maps that they look into.
    Interfaces,
    /// Our programs on sockets, and what is kept with a socket.
    Sockets,
    /// Netfilter, connection tracking included.
    Netfilter,
    /// Devices, queues, routing and forwarding: from the transport to the other transport.
    Path,
    /// TCP and sockets.
    Transport,
    /// Waking, choosing and switching tasks.
    Scheduler,
    /// Client and server themselves.
    User,
    /// All else that the kernel does.
    Other,
    /// All of these.
    All,
    /// Nothing to do.
    Idle,
}

/// Beginnings of the names of the kernel's functions, by what they are for. The innermost function of a sample that
/// is listed decides. First those that lie within others of these.
const FUNCTIONS: [(Part, &[&str]); 7] = [
    (
        Part::Sockets,
        &[
            "__cgroup_bpf_run_filter",
            "bpf_sk_storage_free",
            "bpf_local_storage",
            "bpf_selem",
        ],
    ),
    (
        Part::Interfaces,
        &["tcx_run", "sch_handle_", "tc_run", "skb_do_redirect"],
    ),
    (
        Part::Netfilter,
        &[
            "nf_",
            "__nf_",
            "nft_",
            "ipt_",
            "ipv4_conntrack",
            "ipv6_conntrack",
        ],
    ),
    (
        Part::Idle,
        &[
            "pv_native_safe_halt",
            "default_idle",
            "cpuidle_",
            "acpi_idle",
            "arch_cpu_idle",
        ],
    ),
    (
        Part::Scheduler,
        &[
            "schedule",
            "__schedule",
            "try_to_wake_up",
            "__wake_up",
            "ttwu",
            "sched_",
            "do_idle",
        ],
    ),
    (
        Part::Path,
        &[
            "ip_",
            "__ip_",
            "ip6_",
            "ipv6_",
            "fib_",
            "neigh_",
            "dst_",
            "dev_",
            "__dev_",
            "veth_",
            "netif_",
            "__netif_",
            "process_backlog",
            "net_rx_action",
            "enqueue_to_backlog",
            "sch_direct_xmit",
        ],
    ),
    (
        Part::Transport,
        &[
            "tcp_", "__tcp_", "inet_", "__inet_", "sock_", "__sock", "sk_", "__sk_", "__sys_",
            "skb_", "__skb_",
        ],
    ),
];

impl Part {
    /// All, as they are shown.
    pub(super) const ALL: [Self; 9] = [
        Self::Interfaces,
        Self::Sockets,
        Self::Netfilter,
        Self::Path,
        Self::Transport,
        Self::Scheduler,
        Self::User,
        Self::Other,
        Self::All,
    ];

    /// As in the results.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Interfaces => "programs on interfaces",
            Self::Sockets => "programs on sockets",
            Self::Netfilter => "netfilter",
            Self::Path => "devices and routing",
            Self::Transport => "TCP and sockets",
            Self::Scheduler => "scheduler",
            Self::User => "client and server",
            Self::Other => "other",
            Self::All => "all",
            Self::Idle => "idle",
        }
    }

    /// Of a sample: the kernel's functions, innermost first.
    pub(super) fn of(frames: &[&str]) -> Self {
        if frames.is_empty() {
            return Self::User;
        }
        let listed = |frame: &&str| {
            let is =
                |(_, names): &&(Self, &[&str])| names.iter().any(|name| frame.starts_with(name));
            FUNCTIONS.iter().find(is).map(|(part, _)| *part)
        };
        // What a program calls is the program's, down to the hook that called it.
        if let Some(program) = frames
            .iter()
            .rposition(|frame| frame.starts_with("bpf_prog_"))
        {
            let hook = frames[program..].iter().find_map(listed);
            return if hook == Some(Self::Sockets) {
                Self::Sockets
            } else {
                Self::Interfaces
            };
        }
        frames.iter().find_map(listed).unwrap_or(Self::Other)
    }
}
