//! Links, addresses, MTU and kernel settings.

use crate::stage::Stage;

#[test]
fn no_link_carries_node_traffic() {
    Stage::set("link")
        .with(&["--set=node.links.include=eth9"])
        .cured("no-link");
}

#[test]
fn an_address_that_no_link_has() {
    let stage = Stage::set("address").with(&["--set=node.addresses=172.30.0.99"]);
    stage.named("address-not-here");
    stage.plant("ip address add 172.30.0.99/24 dev eth0");
    stage.well();
}

#[test]
fn an_address_of_another_nodes_pods() {
    let stage = Stage::set("pods-address");
    let other = stage.neighbour("b");
    stage.well();
    for range in other.pod_ranges() {
        let range: ipnetwork::IpNetwork = range.parse().unwrap();
        let pod = range.iter().nth(9).unwrap();
        stage.plant(&format!("ip address add {pod} dev eth0 nodad"));
    }
    assert_eq!(stage.named("address-of-pods").len(), 2);
    stage.cured("address-of-pods");
}

#[test]
fn too_little_room_for_pods() {
    let stage = Stage::set("mtu").with(&["--set=routing=tunnel"]);
    stage.plant("ip link set dev eth0 mtu 1300");
    stage.cured("mtu-too-low");
}

#[test]
fn pods_are_told_of_more_room_than_there_is() {
    Stage::set("mtus")
        .with(&["--set=cni.mtu=9000"])
        .cured("mtu-too-high");
}

#[test]
fn kernel_settings_cannot_be_written() {
    let stage = Stage::set("read-only");
    stage.plant(
        "mount --bind /proc/sys /proc/sys
         mount -o remount,ro,bind /proc/sys",
    );
    stage.cured("sysctls-read-only");
}

#[test]
fn the_hosts_ports_meet_ours() {
    let stage = Stage::set("ports-meet");
    stage.plant("echo '1024 60999' > /proc/sys/net/ipv4/ip_local_port_range");
    stage.cured("source-ports-meet");
}

#[test]
fn a_kind_of_device_that_the_kernel_does_not_have() {
    let stage = Stage::set("devices").with(&["--set=encryption.mode=wireguard"]);
    let made = stage
        .node
        .run(&["ip", "link", "add", "theirs", "type", "wireguard"]);
    if made.is_ok() {
        stage.well();
        return;
    }
    let [found] = stage.named("no-device-kind").try_into().unwrap();
    assert!(
        found.text.starts_with("devices of kind wireguard"),
        "{found:?}"
    );
}
