//! What somebody breaks of what Weir put on a node comes back by itself, with the traffic that needs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use proxy_agent::{
    agent::owned::{Care, OWNED, Owned},
    datapath::Table as _,
};
use serde_json::{Value, json};
use weir_tests::{
    datapath::reader,
    served::{Served, await_answer, near_then_far},
    world::{Cluster, Node, Place, Pod, ask_tcp, until},
};

/// What to do to a thing, and how it looks when it is well: lines of a shell. `$veth` is the host's side of a pod's
/// interface, `$limited` that of one with limits of bandwidth, `$entry` and `$end` are the pair through which it sends.
struct Harm {
    harm: &'static str,
    looks: &'static str,
}

/// None: it is not a matter for a shell.
fn harm(what: Owned) -> Option<Harm> {
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
            "ip -d link show weir_vxlan | grep -o 'external\\|dstport [0-9]*\\|mtu [0-9]*\\|LOWER_UP'; cat /sys/class/net/weir_vxlan/address",
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
            "ip link set $veth down",
            "ip -brief addr show dev $veth; ip route show dev $veth; ip -6 route show dev $veth proto 88; \
             ip neigh show dev $veth nud permanent; ip -6 neigh show dev $veth nud permanent; \
             ip neigh show proxy dev $veth",
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
        Owned::NodeMaps | Owned::Conntrack | Owned::MapEntries => return None,
        Owned::NodeFile => ("rm /run/weir/node.json", "cat /run/weir/node.json"),
        Owned::Plugin => ("rm /run/cni/bin/weir", "sha256sum /run/cni/bin/weir"),
        Owned::Conflist => ("rm /run/cni/net.d/05-weir.conflist", "cat /run/cni/net.d/*"),
    };
    Some(Harm { harm, looks })
}

/// Two nodes, a pod on each, one behind a Service each, and a client.
struct Lab {
    far: Served,
    near: Served,
    client: Pod,
    /// Of what is broken, for a shell.
    names: String,
    cluster: Cluster,
}

/// The host's side of a pod's interface.
fn veth(cluster: &Cluster, pod: &Pod) -> String {
    let route = ["ip", "-o", "route", "get", &pod.ipv4().to_string()];
    let route = cluster.node(0).run(&route).unwrap();
    let mut words = route.split_whitespace();
    words.find(|word| *word == "dev").unwrap();
    words.next().unwrap().to_owned()
}

/// Assignments of a shell, of a pod and of a limited one.
fn names(cluster: &Cluster, pods: [&Pod; 2]) -> String {
    let [veth, limited] = pods.map(|pod| veth(cluster, pod));
    let list = ["sh", "-c", "ls /sys/class/net | grep ^weirq"];
    let pair = cluster.node(0).run(&list).unwrap();
    let of = |end| pair.lines().find(|name| name.ends_with(end)).unwrap();
    let (entry, end) = (of('i'), of('o'));
    format!("veth={veth}; limited={limited}; entry={entry}; end={end}")
}

impl Lab {
    fn start(routing: &str) -> Self {
        let flags = [
            "--map-size",
            "small",
            "--routing",
            routing,
            "--xdp",
            "native",
        ];
        let cluster = Cluster::start("owned", &["a", "b"], &flags).unwrap();
        let limits = json!({
            "kubernetes.io/ingress-bandwidth": "1G", "kubernetes.io/egress-bandwidth": "1G",
        });
        let client = cluster.annotated_pod(0, "client", &limits, &json!({}));
        let client = client.unwrap();
        let mut served = near_then_far(&cluster).map(Result::unwrap);
        let (near, far) = (served.next().unwrap(), served.next().unwrap());
        drop(served);
        let names = names(&cluster, [&near.pod, &client]);
        let lab = Self {
            far,
            near,
            client,
            names,
            cluster,
        };
        for to in lab.near.to.into_iter().chain(lab.far.to) {
            await_answer(&lab.cluster, &lab.client, to).unwrap();
        }
        lab
    }

    fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    fn shell(&self, script: &str) -> String {
        let script = format!("{}; {script}", self.names);
        let done = self.node().run(&["sh", "-c", &script]);
        done.unwrap_or_else(|error| error.to_string())
    }

    /// The host without hooks, to Services and to pods; a pod to both.
    fn everything_works(&self) -> bool {
        let outsider = self.node().outsider().unwrap();
        let pods = self
            .near
            .pod
            .at(8080)
            .into_iter()
            .chain(self.far.pod.at(8080));
        let all: Vec<SocketAddr> = pods.chain(self.near.to).chain(self.far.to).collect();
        let asks = |place: &Place| all.iter().all(|to| ask_tcp(place, *to).is_ok());
        asks(&outsider) && asks(&self.client) && asks(self.node())
    }

    fn heals(&self, care: &Care, harm: impl Fn(), well: impl Fn() -> bool) {
        assert!(well(), "{care:?}: not well to begin with");
        let before = self.repairs(care.what);
        harm();
        let back = until(&format!("{care:?} to be back"), care.within, || {
            Ok(well().then_some(()))
        });
        back.unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.agent(0).log()));
        self.cluster
            .eventually(&format!("traffic after {care:?}"), || {
                self.everything_works().then_some(())
            })
            .unwrap();
        let told = || (self.repairs(care.what) > before).then_some(());
        self.cluster
            .eventually(&format!("{care:?} to be told"), told)
            .unwrap();
    }

    fn status(&self) -> Value {
        let words = ["status", "-o", "json"];
        let (_, told) = self.cluster.agent(0).proxyctl_verdict(&words).unwrap();
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
    }

    /// How often such a thing was put back, by the agent's own word.
    fn repairs(&self, what: Owned) -> u64 {
        // A pair that is gone is one whose limits are gone.
        let what = match what {
            Owned::PodQueues => Owned::PodLimits,
            what => what,
        };
        let times = &self.status()["repairs"]["times"][what.name()];
        times.as_u64().unwrap_or_default()
    }
}

#[test]
fn what_is_broken_comes_back() {
    let lab = Lab::start("auto");
    // So that the agent has something to keep.
    lab.shell("cd /proc/sys/net/ipv6/conf; echo 1 >eth0/accept_ra; echo 0 >all/forwarding");
    lab.cluster
        .eventually("advertisements to be kept", || {
            lab.shell(
                "cat /proc/sys/net/ipv6/conf/eth0/accept_ra /proc/sys/net/ipv6/conf/all/forwarding",
            )
            .eq("2\n1\n")
            .then_some(())
        })
        .unwrap();
    // Links of pods are made when the node is quiet.
    lab.cluster
        .eventually("links of pods", || {
            let links = lab.shell("find /sys/fs/bpf -path '*/links/*_pod-*' | wc -l");
            (links.trim() == "4").then_some(())
        })
        .unwrap();
    // What encrypts is broken where there is a kernel that can: `world_encryption`.
    let others = |care: &&Care| !is_of_tunnel(care) && !is_of_encryption(care);
    for care in OWNED.iter().filter(others) {
        if let Some(Harm { harm, looks }) = harm(care.what) {
            let before = lab.shell(looks);
            assert!(!before.trim().is_empty(), "{care:?}");
            lab.heals(
                care,
                || drop(lab.shell(harm)),
                || lab.shell(looks) == before,
            );
        } else {
            maps(&lab, care);
        }
    }
}

/// The answer to whoever asks is of a look at that moment, not of one some seconds ago.
#[test]
fn what_is_taken_away_is_told_at_once() {
    let lab = Lab::start("auto");
    let rows = |words: &[&str]| lab.cluster.agent(0).proxyctl_verdict(words).unwrap();
    lab.cluster
        .eventually("peace", || {
            (rows(&["status", "--brief"]).1 == "OK\n").then_some(())
        })
        .unwrap();
    // Longer than what two who ask share a look for.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    lab.shell("find /sys/fs/bpf -path '*/links/to_net-*' -delete");
    let (code, told) = rows(&["status", "--brief"]);
    let named = "program to_net on eth0 was changed or taken away, and put back";
    assert!(told.contains(named), "{told}");
    assert_eq!(code, 0, "a warning: {told}");
    assert_eq!(rows(&["status", "--fail-on-warning"]).0, 1);
    let there = lab.shell("find /sys/fs/bpf -path '*/links/to_net-*' | wc -l");
    assert_ne!(there.trim(), "0");
}

/// Somebody who sets a setting again and again is named, without a line of the log for each time.
#[test]
fn a_fight_is_told_and_does_not_fill_the_log() {
    let lab = Lab::start("auto");
    let thing = "sysctl ipv4/ip_forward";
    let fights = |status: &Value| -> u64 {
        let recent = status["repairs"]["recent"].as_array().cloned();
        let mut recent = recent.unwrap_or_default().into_iter();
        let ours = recent.find(|one| one["thing"] == thing);
        ours.map_or(0, |one| one["times"].as_u64().unwrap())
    };
    lab.cluster
        .eventually("seven repairs", || {
            lab.shell("echo 0 >/proc/sys/net/ipv4/ip_forward");
            (fights(&lab.status()) >= 7).then_some(())
        })
        .unwrap();
    let (_, told) = lab.cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
    let row = "WARNING Repairs: sysctl ipv4/ip_forward was changed 7 times";
    assert!(told.contains(row), "{told}");
    let log = lab.cluster.agent(0).log();
    let is_of_it =
        |line: &&str| line.contains("put back what somebody changed") && line.contains(thing);
    let lines: Vec<&str> = log.lines().filter(is_of_it).collect();
    assert_eq!(
        lines.len(),
        3,
        "the first, the second, the fourth: {lines:?}"
    );
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
}

const fn is_of_tunnel(care: &Care) -> bool {
    matches!(
        care.what,
        Owned::TunnelDevice | Owned::TunnelSettings | Owned::TunnelPrograms
    )
}

const fn is_of_encryption(care: &Care) -> bool {
    matches!(
        care.what,
        Owned::EncryptionDevice | Owned::EncryptionSettings | Owned::EncryptionPrograms
    )
}

#[test]
fn what_is_broken_of_the_tunnel_comes_back() {
    let lab = Lab::start("tunnel");
    let concerned = |care: &&Care| is_of_tunnel(care) || care.what == Owned::NodeRoutes;
    for care in OWNED.iter().filter(concerned) {
        let Harm { harm, looks } = harm(care.what).unwrap();
        let before = lab.shell(looks);
        assert!(!before.trim().is_empty(), "{care:?}");
        lab.heals(
            care,
            || drop(lab.shell(harm)),
            || lab.shell(looks) == before,
        );
    }
}

/// An address that is gone and one that is none, and another configuration.
fn maps(lab: &Lab, care: &Care) {
    let node = lab.node();
    let read = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let mut addresses = maps.node_addresses4.entries().unwrap();
        addresses.sort_unstable();
        let links = maps.links.entries().unwrap();
        (addresses, links, maps.node_config.get(&0).unwrap())
    };
    let before = read();
    let harm = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let (mut addresses, mut config) = (maps.node_addresses4.clone(), maps.node_config.clone());
        let mut links = maps.links.clone();
        links.remove(&before.1[0].0).unwrap();
        links.set(&9999, &before.1[0].1).unwrap();
        let [(own, _), ..] = before.0[..] else {
            panic!("no addresses");
        };
        addresses.remove(&own).unwrap();
        addresses.set(&0x0101_0101, &7).unwrap();
        let mut wrong = before.2.unwrap();
        wrong.address4 = 0;
        config.set(&0, &wrong).unwrap();
    };
    lab.heals(care, harm, || read() == before);
}
