//! Routes to the peers, in a real routing table.

use cni_plugin::wiring::route::Way;
use ipnetwork::IpNetwork;
use proxy_agent::node::routes::{
    Plan, Present, RouteTable, Routes, TO_NODES, bring as bring_routes, plan,
};
use weir_tests::{
    inside::inside,
    world::{Node, Server, World, ask_tcp},
};

/// What leads from a node to the pods of another.
fn towards(node: &Node, peer: &Node) -> Routes {
    let index = index(node);
    let ways = peer.addresses().into_iter().map(|gateway| Way {
        index,
        gateway: Some(gateway),
        ..Way::default()
    });
    let ranges = peer.pod_ranges();
    let ranges = ranges.iter().map(|range| range.parse().unwrap());
    ranges.zip(ways).collect()
}

fn index(node: &Node) -> u32 {
    let text = node.run(&["cat", "/sys/class/net/eth0/ifindex"]).unwrap();
    text.trim().parse().unwrap()
}

/// Does something with the node's routing table.
fn at<T: Send>(node: &Node, work: impl FnOnce(RouteTable) -> T + Send) -> T {
    inside(node, || work(RouteTable::open().unwrap()))
}

fn present(node: &Node) -> Present {
    at(node, |mut table| table.read(TO_NODES).unwrap())
}

fn routes(node: &Node) -> Routes {
    present(node).ours
}

/// Makes the node's routes what they should be; what failed.
fn bring(node: &Node, desired: &Routes) -> Vec<String> {
    let plan = plan(desired, &routes(node), true);
    carry_out(node, &plan)
}

fn carry_out(node: &Node, plan: &Plan) -> Vec<String> {
    at(node, |mut table| table.apply(TO_NODES, plan.clone()).errors)
}

#[test]
fn pods_reach_each_other_by_them_until_they_are_withdrawn() {
    let world = World::new("routes").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    let (client, server) = (
        a.plain_pod("client").unwrap(),
        b.plain_pod("server").unwrap(),
    );
    let _servers = server
        .at(8080)
        .map(|at| Server::tcp(&server, at, "server").unwrap());
    let (there, back) = (towards(&a, &b), towards(&b, &a));
    assert_eq!(bring(&a, &there), [""; 0]);
    assert_eq!(bring(&b, &back), [""; 0]);
    assert_eq!(routes(&a), there, "as they were asked for");
    for at in server.at(8080) {
        assert_eq!(ask_tcp(&client, at).unwrap().name, "server");
    }

    let again = plan(&there, &routes(&a), true);
    assert_eq!(again, Plan::default(), "nothing is left to do");

    assert_eq!(bring(&a, &Routes::new()), [""; 0]);
    assert!(routes(&a).is_empty());
    for at in server.at(8080) {
        ask_tcp(&client, at).unwrap_err();
    }
}

#[test]
fn a_peer_that_moves_has_one_route_and_others_routes_stay() {
    let world = World::new("routes-move").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    let others = [
        "10.9.0.0/16 via 172.30.0.1 dev eth0 proto static",
        "fd00:9::/64 via fd30::1 dev eth0 proto static",
    ];
    for route in others {
        a.batch(&format!("route add {route}\n")).unwrap();
    }
    let first = towards(&a, &b);
    assert_eq!(bring(&a, &first), [""; 0]);
    let moved: Routes = first
        .iter()
        .map(|(to, way)| {
            let gateway = if to.is_ipv4() {
                "172.30.0.77"
            } else {
                "fd30::77"
            };
            let gateway = gateway.parse().ok();
            (*to, Way { gateway, ..*way })
        })
        .collect();
    assert_eq!(bring(&a, &moved), [""; 0]);
    assert_eq!(routes(&a), moved);
    for (family, range) in ["-4", "-6"].into_iter().zip(b.pod_ranges()) {
        let lines = a.run(&["ip", family, "route", "show", &range]).unwrap();
        assert_eq!(lines.lines().count(), 1, "replaced, not added: {lines}");
    }

    assert_eq!(bring(&a, &Routes::new()), [""; 0]);
    let left = a
        .run(&["ip", "-4", "route", "show", "proto", "static"])
        .unwrap()
        + &a.run(&["ip", "-6", "route", "show", "proto", "static"])
            .unwrap();
    let seen = present(&a).others;
    for route in others {
        let (to, _) = route.split_once(' ').unwrap();
        assert!(seen.contains(&to.parse().unwrap()), "{to} in {seen:?}");
        assert!(left.contains(to), "{to} is not ours to remove: {left}");
    }
}

#[test]
fn a_route_of_somebody_else_that_leads_there_stays_his() {
    let world = World::new("routes-same").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    let desired = towards(&a, &b);
    let keep = |desired: &Routes| {
        at(&a, |mut table| {
            bring_routes(&mut table, TO_NODES, desired, true)
        })
    };
    let theirs = |verb: &str| {
        for (to, way) in &desired {
            let gateway = way.gateway.unwrap();
            a.batch(&format!(
                "route {verb} {to} via {gateway} dev eth0 proto static\n"
            ))
            .unwrap();
        }
    };
    theirs("add");
    assert_eq!(keep(&desired).errors, [""; 0]);
    assert!(routes(&a).is_empty(), "there is one already");
    assert_eq!(keep(&Routes::new()).errors, [""; 0]);
    let there = present(&a).in_place;
    let left = |(to, way)| there.get(to) == Some(way);
    assert!(
        desired.iter().all(left),
        "what is not ours stays: {there:?}"
    );
    theirs("del");
    assert_eq!(keep(&desired).errors, [""; 0]);
    assert_eq!(routes(&a), desired, "when it is gone");
}

#[test]
fn a_failure_is_named_and_does_not_stop_the_others() {
    let world = World::new("routes-fail").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    let mut desired = towards(&a, &b);
    let nowhere: IpNetwork = "10.200.0.0/24".parse().unwrap();
    let way = Way {
        index: index(&a),
        // On no network of the node.
        gateway: "192.0.2.1".parse().ok(),
        ..Way::default()
    };
    desired.insert(nowhere, way);
    let errors = bring(&a, &desired);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("set route to 10.200.0.0/24 via 192.0.2.1: "),
        "{errors:?}"
    );
    desired.remove(&nowhere);
    assert_eq!(routes(&a), desired);

    // What is gone already needs no removal.
    let gone = Plan {
        set: Vec::new(),
        remove: vec![(
            "10.201.0.0/24".parse().unwrap(),
            desired[&b.pod_ranges()[0].parse().unwrap()],
        )],
    };
    assert_eq!(carry_out(&a, &gone), [""; 0]);
}
