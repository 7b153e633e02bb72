//! Routes to the other nodes come and go with their objects.

use weir_tests::world::{Node, World, until};

use super::fixture::{PATIENCE, ready, start};

/// A node with these ranges; the agent reaches it by its internal addresses.
fn peer(v4: &str, v6: &str) -> String {
    of("b", ["172.30.0.12", "fd30::c"], [v4, v6])
}

fn of(name: &str, [ip4, ip6]: [&str; 2], [v4, v6]: [&str; 2]) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n\
         spec: {{podCIDR: {v4}, podCIDRs: [\"{v4}\", \"{v6}\"]}}\n\
         status:\n  addresses:\n  - {{type: InternalIP, address: {ip4}}}\n\
         \x20 - {{type: InternalIP, address: \"{ip6}\"}}\n"
    )
}

/// The agent's routes, both families, as `destination via gateway`.
fn routes(node: &Node) -> Vec<String> {
    let both = ["-4", "-6"].map(|family| {
        node.run(&["ip", family, "route", "show", "proto", "87"])
            .unwrap()
    });
    let words = |line: &str| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
    both.iter()
        .flat_map(|text| text.lines().map(words))
        .collect()
}

fn await_routes(node: &Node, wanted: &[&str]) {
    let mut seen = Vec::new();
    until("the routes", PATIENCE, || {
        seen = routes(node);
        Ok((seen == wanted).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: wanted {wanted:?}, there are {seen:?}"));
}

#[test]
fn routes_follow_the_nodes_and_outlive_the_agent() {
    let world = World::new("agent-peers").unwrap();
    let node = world.node("a").unwrap();
    let mut agent = start(&node);
    ready(&node).unwrap();
    await_routes(&node, &[]);

    let first = [
        "10.244.2.0/24 via 172.30.0.12",
        "fd00:244:2::/64 via fd30::c",
    ];
    let moved = [
        "10.244.7.0/24 via 172.30.0.12",
        "fd00:244:7::/64 via fd30::c",
    ];
    let object = peer("10.244.2.0/24", "fd00:244:2::/64");
    agent.apply("node-b.yaml", &object).unwrap();
    await_routes(&node, &first);
    let object = peer("10.244.7.0/24", "fd00:244:7::/64");
    agent.apply("node-b.yaml", &object).unwrap();
    await_routes(&node, &moved);

    agent.agent.crash().unwrap();
    assert_eq!(routes(&node), moved, "routes outlive the agent");
    // Somebody else's hand: what is missing is put back.
    node.batch("route del 10.244.7.0/24\n").unwrap();
    agent.agent.restart().unwrap();
    await_routes(&node, &moved);

    // A node that left while the agent was away, for which another one has come: its routes would stay for a while else.
    agent.agent.crash().unwrap();
    agent.remove("node-b.yaml").unwrap();
    let ranges = ["10.244.7.0/24", "fd00:244:7::/64"];
    let object = of("c", ["172.30.0.13", "fd30::d"], ranges);
    agent.apply("node-c.yaml", &object).unwrap();
    agent.agent.restart().unwrap();
    let taken = [
        "10.244.7.0/24 via 172.30.0.13",
        "fd00:244:7::/64 via fd30::d",
    ];
    await_routes(&node, &taken);
}
