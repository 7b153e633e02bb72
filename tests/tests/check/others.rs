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
