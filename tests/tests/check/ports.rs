//! Ports that somebody else has.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use weir_tests::world::manifests::service;

use crate::stage::Stage;

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

#[test]
fn that_of_health() {
    let stage = Stage::set("health");
    let _other = stage.node.listen(any(10256)).unwrap();
    let [found] = stage.named("port-taken").try_into().unwrap();
    let ours = format!("process {}, ", std::process::id());
    assert!(found.text.contains(&ours), "who has it is named: {found:?}");
    stage.cured("port-taken");
}

#[test]
fn that_of_metrics() {
    let stage = Stage::set("metrics");
    let _other = stage.node.listen(([127, 0, 0, 1], 10249).into()).unwrap();
    stage.cured("port-taken");
}

#[test]
fn that_of_the_tunnel() {
    let stage = Stage::set("tunnel");
    let _other = stage.node.udp(any(4789)).unwrap();
    stage.cured("port-taken");
}

#[test]
fn that_of_the_tunnel_by_a_device() {
    let stage = Stage::set("vxlan");
    stage.plant(
        "ip link add their_vxlan type vxlan id 5 dstport 4789 dev eth0; ip link set their_vxlan up",
    );
    let [found] = stage.named("port-taken").try_into().unwrap();
    assert!(found.text.contains("their_vxlan"), "{found:?}");
    stage.plant("ip link delete their_vxlan");
    stage.well();
}

#[test]
fn that_of_encryption() {
    // Whether this kernel has WireGuard is another matter.
    let stage =
        Stage::set("encryption").with(&["--set=encryption.mode=wireguard", "--skip=devices"]);
    stage.well();
    let _other = stage.node.udp(any(51871)).unwrap();
    stage.cured("port-taken");
}

#[test]
fn that_of_a_health_check_of_a_service() {
    let stage = Stage::set("health-check");
    let spec = json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 31000, "ports": [{ "port": 80, "protocol": "TCP" }],
    });
    stage.object("web.yaml", &service("web", &spec));
    stage.well();
    let other = stage.node.listen(any(31000)).unwrap();
    let [found] = stage.named("port-taken").try_into().unwrap();
    assert!(found.text.contains("Service default/web"), "{found:?}");
    drop(other);
    stage.well();
}
