//! kube-proxy, other plugins, other networks.

use crate::stage::Stage;

#[test]
fn kube_proxy_has_left_a_table() {
    let stage = Stage::set("nft");
    stage.plant("nft add table ip kube-proxy; nft add chain ip kube-proxy services");
    stage.cured("kube-proxy-left");
}

#[test]
fn kube_proxy_has_left_chains() {
    let stage = Stage::set("iptables");
    let rules = "*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n";
    stage
        .node
        .run_with_input(&["iptables-nft-restore"], rules)
        .unwrap();
    stage.cured("kube-proxy-left");
}

#[test]
fn kube_proxy_runs() {
    let stage = Stage::set("kube-proxy");
    // A process is known by the name of its file.
    stage.plant("cp \"$(readlink -f \"$(command -v sleep)\")\" /run/kube-proxy");
    let process = stage.node.spawn("/run/kube-proxy", &["600"]);
    let process = process.unwrap();
    let [found] = stage.named("kube-proxy-runs").try_into().unwrap();
    assert!(
        found.text.ends_with(&format!("process {}", process.id())),
        "{found:?}"
    );
    drop(process);
    stage.well();
}

#[test]
fn the_runtime_prefers_another_plugin() {
    let stage = Stage::set("plugin");
    stage.plant(
        "echo '{}' > /run/cni/net.d/00-other.conflist; echo '{}' > /run/cni/net.d/99-loopback.conf",
    );
    stage.cured("another-plugin");
}

#[test]
fn devices_of_another_network() {
    let stage = Stage::set("network");
    stage.plant(
        "ip link add cilium_net type veth peer name cilium_host; ip link add cali1 type veth peer name other1",
    );
    stage.named("another-network");
    // One end takes the other with it.
    stage.plant("ip link delete cali1; ip link delete cilium_net");
    stage.plant("ip link add flannel.1 type veth peer name other2");
    stage.cured("another-network");
}

/// As Docker, as firewalld, and as somebody by hand: what is planted, and how many ranges of pods it drops.
#[test]
fn netfilter_drops_what_is_forwarded_for_pods() {
    for (name, plant, count) in [
        (
            "nft",
            "nft add table ip filter; nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'",
            1,
        ),
        (
            "docker",
            "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER;
             iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables-nft -A FORWARD -i docker0 -j ACCEPT",
            1,
        ),
        ("legacy", "iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP", 2),
        (
            "firewalld",
            "nft add table inet firewalld; nft add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; }';
             nft add rule inet firewalld filter_FORWARD ct state established,related accept;
             nft add rule inet firewalld filter_FORWARD reject with icmpx type admin-prohibited",
            2,
        ),
    ] {
        let stage = Stage::set(&format!("forward-{name}"));
        stage.plant(plant);
        let found = stage.named("forward-dropped");
        assert_eq!(found.len(), count, "{name}: {found:?}");
        stage.cured("forward-dropped");
    }
}

#[test]
fn a_firewall_that_lets_pods_pass_is_no_complaint() {
    let stage = Stage::set("forward-well");
    let [v4, _] = stage.node.pod_ranges();
    stage.plant(&format!(
        "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER;
         iptables-nft -A DOCKER-USER -s {v4} -j ACCEPT; iptables-nft -A DOCKER-USER -d {v4} -j ACCEPT;
         nft add table inet theirs; nft add chain inet theirs forward '{{ type filter hook forward priority 5; policy accept; }}';
         nft add rule inet theirs forward ip saddr 192.0.2.0/24 drop"
    ));
    stage.well();
}
