//! Links, addresses, MTU and kernel settings.

use std::net::IpAddr;

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
fn another_nodes_hardware_address_is_fixed() {
    let stage = Stage::set("neighbours");
    let other = stage.neighbour("b");
    stage.well();
    // Of nobody's node: none of our business.
    stage.plant("ip neighbour add 192.0.2.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
    stage.well();
    let addresses: [IpAddr; 2] = [other.ipv4().into(), other.ipv6().into()];
    for address in addresses {
        stage.plant(&format!(
            "ip neighbour replace {address} lladdr 02:00:00:00:00:09 dev eth0 nud permanent"
        ));
    }
    let named = stage.named("neighbour-fixed");
    assert_eq!(named.len(), 2);
    stage.cured("neighbour-fixed");
}

#[test]
fn the_loopback_is_down() {
    let stage = Stage::set("loopback");
    stage.plant("ip link set lo down");
    stage.cured("loopback-down");
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

/// Ranges of Services, and of pods of this node and of another.
fn ranges(stage: &Stage) -> Vec<String> {
    let other = stage.neighbour("b");
    let pods = [stage.node.pod_ranges(), other.pod_ranges()].concat();
    let services = ["10.96.0.0/16", "fd00:10:96::/112"].map(str::to_owned);
    services.into_iter().chain(pods).collect()
}

const SERVICES: &str = "--set=node.serviceCIDRs=10.96.0.0/16,fd00:10:96::/112";

fn family(range: &str) -> &'static str {
    if range.contains(':') { "-6" } else { "-4" }
}

#[test]
fn somebody_elses_rules_take_services_and_pods() {
    let stage = Stage::set("rules").with(&[SERVICES]);
    let ranges = ranges(&stage);
    // Rules that are there anyway, or take nothing of it.
    stage.plant(
        "ip rule add priority 50 lookup 200; ip rule add priority 51 fwmark 1 lookup 201; ip rule add priority 52 to 192.0.2.0/24 lookup 201;
         ip route add default dev eth0 table 201",
    );
    stage.well();
    for (number, range) in ranges.iter().enumerate() {
        let priority = 100 + number;
        stage.plant(&format!(
            "ip {} rule add priority {priority} to {range} lookup 202",
            family(range)
        ));
    }
    assert_eq!(stage.named("rule-elsewhere").len(), ranges.len());
    stage.cured("rule-elsewhere");
}

#[test]
fn somebody_elses_rule_takes_everything() {
    let stage = Stage::set("rule").with(&[SERVICES]);
    ranges(&stage);
    stage.well();
    for family in ["-4", "-6"] {
        stage.plant(&format!(
            "ip {family} route add default dev eth0 table 200; ip {family} rule add priority 50 lookup 200"
        ));
    }
    stage.cured("rule-elsewhere");
}

#[test]
fn somebody_elses_routes_take_parts_of_services_and_of_another_nodes_pods() {
    let stage = Stage::set("routes").with(&[SERVICES]);
    let own: Vec<String> = stage.node.pod_ranges().into();
    let ranges = ranges(&stage);
    stage.well();
    for range in ranges {
        let whole: ipnetwork::IpNetwork = range.parse().unwrap();
        let part = format!("{}/{}", whole.network(), whole.prefix() + 1);
        stage.plant(&format!("ip {} route add {part} dev eth0", family(&range)));
        let takes = !own.contains(&range);
        if takes {
            stage.plant(&format!(
                "ip {0} route add blackhole {1}/{2}",
                family(&range),
                whole.network(),
                whole.prefix() + 2
            ));
        }
    }
    assert_eq!(stage.named("route-elsewhere").len(), 8);
    stage.cured("route-elsewhere");
}
