//! What somebody does to what Weir put on a node.

use proxy_agent::agent::owned::Owned;

/// What to do to a thing, and how it looks when it is well: lines of a shell. `$veth` is the host's side of a pod's
/// interface, `$limited` that of one with limits of bandwidth, `$entry` and `$end` are the pair through which it sends.
pub(crate) struct Harm {
    pub(crate) harm: &'static str,
    pub(crate) looks: &'static str,
}

/// None: it is not a matter for a shell.
pub(crate) fn harm(what: Owned) -> Option<Harm> {
    let (harm, looks) = match what {
        Owned::NodeRoutes => (
            "ip route flush proto 87; ip -6 route flush proto 87",
            "ip route show proto 87; ip -6 route show proto 87",
        ),
        Owned::ServiceRoutes => (
            "ip route flush proto 89; ip -6 route flush proto 89",
            "ip route show proto 89; ip -6 route show proto 89",
        ),
        Owned::HostDevice => (
            "ip link set weir_net down mtu 1300; ip link del weir_host",
            "cd /sys/class/net; cat weir_host/address weir_net/address weir_host/mtu weir_net/mtu weir_host/carrier",
        ),
        Owned::HostDeviceAddress => (
            "ip addr flush dev weir_host",
            "ip -brief addr show dev weir_host",
        ),
        Owned::HostDeviceSettings => (
            "cd /proc/sys/net/ipv4/conf; echo 1 >weir_host/rp_filter; echo 0 >weir_net/forwarding",
            "cd /proc/sys/net/ipv4/conf; cat weir_host/rp_filter weir_net/forwarding",
        ),
        Owned::Forwarding => (
            "cd /proc/sys/net; echo 0 >ipv4/ip_forward; echo 0 >ipv4/conf/lo/accept_local; echo 0 >ipv6/conf/all/forwarding; echo 1 >ipv4/conf/all/rp_filter; echo 1 >ipv4/conf/eth0/rp_filter",
            "cd /proc/sys/net; cat ipv4/ip_forward ipv4/conf/lo/accept_local ipv4/conf/eth0/forwarding ipv6/conf/all/forwarding ipv6/conf/eth0/forwarding; \
             grep -vx 1 ipv4/conf/all/rp_filter ipv4/conf/eth0/rp_filter | wc -l",
        ),
        Owned::Advertisements => (
            "cd /proc/sys/net/ipv6/conf; echo 1 >eth0/accept_ra",
            "cd /proc/sys/net/ipv6/conf; cat eth0/accept_ra",
        ),
        Owned::TunnelDevice => (
            "ip link set weir_vxlan mtu 1300; ip link del weir_vxlan; ip link add weir_vxlan type vxlan external dstport 4790",
            "ip -4 -o addr show dev weir_vxlan | grep -o 'inet [^ ]*'; ip -d link show weir_vxlan | grep -o 'external\\|dstport [0-9]*\\|mtu [0-9]*\\|LOWER_UP'; cat /sys/class/net/weir_vxlan/address",
        ),
        Owned::TunnelSettings => (
            "cd /proc/sys/net/ipv4/conf; echo 1 >weir_vxlan/rp_filter; echo 0 >weir_vxlan/forwarding",
            "cd /proc/sys/net/ipv4/conf; cat weir_vxlan/rp_filter weir_vxlan/forwarding",
        ),
        Owned::TunnelPrograms => (
            "find /sys/fs/bpf -path '*/links/*_tunnel-*' -delete",
            "find /sys/fs/bpf -path '*/links/*_tunnel-*' | wc -l",
        ),
        Owned::EncryptionDevice => (
            "ip link set weir_wg mtu 1300; ip link del weir_wg",
            "ip -d link show weir_wg | grep -o 'wireguard\\|mtu [0-9]*\\|LOWER_UP'",
        ),
        Owned::EncryptionSettings => (
            "cd /proc/sys/net/ipv4/conf; echo 1 >weir_wg/rp_filter; echo 0 >weir_wg/forwarding",
            "cd /proc/sys/net/ipv4/conf; cat weir_wg/rp_filter weir_wg/forwarding",
        ),
        Owned::EncryptionPrograms => (
            "for n in $(cat /sys/class/net/weir_wg/ifindex); do find /sys/fs/bpf -path \"*/links/*_net_bare-$n*\" -delete; done",
            "n=$(cat /sys/class/net/weir_wg/ifindex); find /sys/fs/bpf -path \"*/links/*_net_bare-$n*\" | wc -l",
        ),
        Owned::LinkPrograms => (
            "find /sys/fs/bpf -path '*/links/*_net*' -delete; find /sys/fs/bpf -path '*/links/from_lo*' -delete",
            "find /sys/fs/bpf -path '*/links/*_net*' | sort; find /sys/fs/bpf -path '*/links/from_lo*'",
        ),
        Owned::XdpPrograms => (
            "find /sys/fs/bpf -path '*/links/from_wire*' -delete",
            "ip -d link show dev eth0 | grep -c xdp",
        ),
        Owned::HostDeviceProgram => (
            "find /sys/fs/bpf -path '*/links/from_host*' -delete",
            "find /sys/fs/bpf -path '*/links/from_host*' | sort",
        ),
        Owned::PodPrograms => (
            "find /sys/fs/bpf -path '*/links/*_pod-*' -delete; tc qdisc del dev $veth clsact",
            "find /sys/fs/bpf -path '*/links/*_pod-*' | sort; tc qdisc show dev $veth clsact",
        ),
        Owned::SocketPrograms => (
            "find /sys/fs/bpf -path '*/links/connect*' -delete",
            "find /sys/fs/bpf -path '*/links/connect*' | sort",
        ),
        Owned::PodRoutes => (
            "ip route flush proto 88; ip -6 route flush proto 88",
            "ip route show proto 88; ip -6 route show proto 88",
        ),
        Owned::PodNeighbours => (
            "ip neigh flush dev $veth nud all; ip -6 neigh flush dev $veth nud all",
            "ip neigh show dev $veth nud permanent; ip -6 neigh show dev $veth nud permanent",
        ),
        Owned::PodGateways => (
            "ip -6 addr del fe80::1/64 dev $veth; ip neigh del proxy 169.254.1.1 dev $veth",
            "ip -brief -6 addr show dev $veth; ip neigh show proxy dev $veth",
        ),
        Owned::PodInterfaces => (
            "ip link set $veth address 02:00:00:00:00:01 down; cd /proc/sys/net; echo 1 >ipv4/conf/$veth/rp_filter; \
             echo 0 >ipv4/conf/$veth/forwarding; echo 0 >ipv6/conf/$veth/forwarding; echo 80 >ipv4/neigh/$veth/proxy_delay; \
             echo 1 >ipv6/conf/$veth/accept_ra; echo 1 >ipv6/conf/$veth/disable_ipv6",
            "cd /proc/sys/net; cat ipv4/conf/$veth/rp_filter ipv4/conf/$veth/forwarding ipv6/conf/$veth/forwarding \
             ipv4/neigh/$veth/proxy_delay ipv6/conf/$veth/accept_ra ipv6/conf/$veth/disable_ipv6 /sys/class/net/$veth/address; \
             ip -brief addr show dev $veth; ip route show dev $veth; ip -6 route show dev $veth proto 88; \
             ip neigh show dev $veth nud permanent; ip -6 neigh show dev $veth nud permanent; \
             ip neigh show proxy dev $veth",
        ),
        Owned::PodMtus => (
            "ip link set $veth mtu 1000; ip link set $limited mtu 68",
            "for link in $veth $limited; do ip -brief link show dev $link; cat /sys/class/net/$link/mtu; ip -brief addr show dev $link; \
             ip route show dev $link; ip -6 route show dev $link; ip neigh show proxy dev $link; \
             ip neigh show dev $link nud permanent; ip -6 neigh show dev $link nud permanent; \
             cat /proc/sys/net/ipv6/conf/$link/addr_gen_mode /proc/sys/net/ipv6/conf/$link/accept_ra /proc/sys/net/ipv4/conf/$link/rp_filter; done",
        ),
        Owned::PodLimits => (
            "tc qdisc del dev $limited root; tc qdisc replace dev $entry root handle 5765: tbf rate 1mbit burst 9k limit 9k",
            "tc qdisc show dev $limited root; tc qdisc show dev $entry root",
        ),
        Owned::PodQueues => (
            "ip link del $entry",
            "ip -brief link show dev $entry; ip -brief link show dev $end; tc qdisc show dev $entry root",
        ),
        Owned::QueuePrograms => (
            "tc qdisc del dev $end clsact",
            "tc qdisc show dev $end clsact",
        ),
        Owned::PluginSocket => ("rm /run/weir/cni.sock", "stat -c %F:%a /run/weir/cni.sock"),
        Owned::AgentSocket => (
            "rm /run/weir/agent.sock",
            "stat -c %F:%a /run/weir/agent.sock",
        ),
        Owned::MapPins => (
            "find /sys/fs/bpf -path '*/maps/*' -delete; find /sys/fs/bpf -name meta -delete; find /sys/fs/bpf -name declarations -delete",
            "find /sys/fs/bpf -path '*/maps/*' -o -name meta -o -name declarations | sort",
        ),
        Owned::Conntrack => (
            "echo 7 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait",
            "cat /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait",
        ),
        // The last only with an API server: `controlplane_faults`.
        Owned::NodeMaps | Owned::MapEntries | Owned::ServersFile => return None,
        Owned::RunFolder => (
            "rm -r /run/weir",
            "cd /run/weir && stat -c %n:%F:%a . agent.lock agent.sock cni.sock lock node.json heartbeat ipam.json && ls att",
        ),
        Owned::PodRecords => (
            "rm -r /run/weir/att",
            "ls /run/weir/att; cat /run/weir/att/*",
        ),
        Owned::PodAddresses => (
            "rm /run/weir/ipam.json",
            "grep -o '\"ips\":[^]]*' /run/weir/ipam.json | sort",
        ),
        Owned::NodeFile => ("rm /run/weir/node.json", "cat /run/weir/node.json"),
        Owned::Plugin => ("rm /run/cni/bin/weir", "sha256sum /run/cni/bin/weir"),
        Owned::Conflist => ("rm /run/cni/net.d/05-weir.conflist", "cat /run/cni/net.d/*"),
    };
    Some(Harm { harm, looks })
}

/// What it is called, and lines of a shell.
type Spoils = (&'static str, &'static str);

/// What may be done to files: they are there and are not what they were.
const SPOILT: [Spoils; 3] = [
    ("gone", "rm $file"),
    ("empty", ": >$file"),
    ("garbage", "echo '{garb' >$file"),
];
/// To programs besides.
const SHUT: [Spoils; 2] = [
    ("not to be run", "chmod 644 $file"),
    ("for all to change", "chmod 777 $file"),
];
/// To sockets.
const OPENED: [Spoils; 3] = [
    ("gone", "rm $file"),
    ("another", "rm $file; echo >$file"),
    ("for all", "chmod 666 $file"),
];

/// What is done to a file.
pub(crate) struct FileHarm {
    pub(crate) what: Owned,
    pub(crate) name: String,
    pub(crate) harm: Harm,
}

/// What is done to files of Weir's, and how they look when they are well: one thing to each of them, and then the next.
pub(crate) fn of_files() -> Vec<Vec<FileHarm>> {
    const CONTENTS: &str = "sha256sum $file; stat -c %F:%a:%u $file";
    const KIND: &str = "stat -c %F:%a:%u $file";
    let program = [SPOILT.as_slice(), &SHUT].concat();
    // Another one may be another plugin's.
    let loopback = [&SPOILT[..2], &SHUT].concat();
    let conflist = "/run/cni/net.d/05-weir.conflist";
    let files: [(Owned, &str, &[Spoils], &str); 6] = [
        (Owned::NodeFile, "/run/weir/node.json", &SPOILT, CONTENTS),
        (Owned::Plugin, "/run/cni/bin/weir", &program, CONTENTS),
        (Owned::Plugin, "/run/cni/bin/loopback", &loopback, CONTENTS),
        (Owned::Conflist, conflist, &SPOILT, CONTENTS),
        (Owned::PluginSocket, "/run/weir/cni.sock", &OPENED, KIND),
        (Owned::AgentSocket, "/run/weir/agent.sock", &OPENED, KIND),
    ];
    let most = files.iter().map(|(_, _, kinds, _)| kinds.len()).max();
    let round = |number: usize| {
        let spoilt = files.iter().filter_map(|(what, file, kinds, looks)| {
            let (kind, harm) = kinds.get(number)?;
            Some(FileHarm {
                what: *what,
                name: format!("{file} {kind}"),
                harm: Harm {
                    harm: format!("file={file}; {harm}").leak(),
                    looks: format!("file={file}; {looks}").leak(),
                },
            })
        });
        spoilt.collect()
    };
    (0..most.unwrap_or(0)).map(round).collect()
}
