//! Default routes learned from routers, by whatever link.

use std::{thread::sleep, time::Duration};

use weir_tests::world::{Agent, Manifests, Node, World, advertise_router, until};

const PATIENCE: Duration = Duration::from_secs(10);
/// Lifetime of a router, in seconds.
const LIFE: u16 = 4;

fn learned(node: &Node) -> String {
    let routes = node.run(&["ip", "-6", "route", "show", "default", "proto", "ra"]);
    routes.unwrap()
}

fn await_route(node: &Node, there: bool) {
    until(&format!("a learned route: {there}"), PATIENCE, || {
        let routes = learned(node);
        Ok((routes.contains("dev eth1") == there).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_default_route_by_another_nic_survives_the_start() {
    let world = World::new("ra").unwrap();
    let node = world.node("a").unwrap();
    let outside = world.outside();
    node.nic("eth1", 1).unwrap();
    node.run(&[
        "sh",
        "-c",
        "cd /proc/sys/net/ipv6/conf; echo 0 >all/forwarding; echo 1 >eth1/accept_ra; echo 1 >eth1/accept_ra_defrtr",
    ])
    .unwrap();
    until("a route that a router told", PATIENCE, || {
        advertise_router(outside, "br1", 60)?;
        sleep(Duration::from_millis(200));
        Ok(learned(&node).contains("dev eth1").then_some(()))
    })
    .unwrap();
    let manifests = Manifests::new().unwrap();
    let agent = Agent::start(&node, &manifests, &["--map-size", "small"]).unwrap();
    let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
    until("the node to forward", PATIENCE, || {
        Ok((node.run(&["cat", forwarding])?.trim() == "1").then_some(()))
    })
    .unwrap();
    assert!(learned(&node).contains("dev eth1"), "{}", agent.log());
    // It is not merely left over: what the router says next is heard.
    advertise_router(outside, "br1", 0).unwrap();
    await_route(&node, false);
    advertise_router(outside, "br1", LIFE).unwrap();
    await_route(&node, true);
    for _ in 0..LIFE {
        sleep(Duration::from_secs(1));
        advertise_router(outside, "br1", LIFE).unwrap();
        assert!(learned(&node).contains("dev eth1"), "kept alive");
    }
}
