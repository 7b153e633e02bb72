//! Node objects that vanish, or say less than before: what is known stays, for as long as the machine has it.

use std::{fs::File, process::Stdio, time::Duration};

use proxy_agent::datapath::Table as _;
use proxy_common::{
    address::{address4, address6},
    node::{ADDRESS_NODE_PORT, NodeConfig},
};
use weir_tests::{
    datapath::reader,
    world::{Manifests, Node, Process, World, program, until},
};

use super::fixture::{PATIENCE, get, ready};

/// Longer than between two looks at the node.
const WHILE: Duration = Duration::from_secs(13);

/// A Node with what of it is known to the API.
fn object(name: &str, ranges: &[&str], addresses: &[&str]) -> String {
    let quoted = |list: &[&str]| list.iter().map(|x| format!("\"{x}\"")).collect::<Vec<_>>();
    let addresses: Vec<String> = addresses
        .iter()
        .map(|ip| format!("{{type: InternalIP, address: \"{ip}\"}}"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDRs: [{}]}}\n\
         status: {{addresses: [{}]}}\n",
        quoted(ranges).join(", "),
        addresses.join(", ")
    )
}

const RANGES: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];
const PEER: [&str; 2] = ["10.244.2.0/24", "fd00:244:2::/64"];
const PEER_ADDRESSES: [&str; 2] = ["172.30.0.12", "fd30::c"];

/// An agent that is told about its node by nobody but the API.
pub(super) fn start(node: &Node, manifests: &Manifests, more: &[&str]) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(node.file("/run/agent.log"))
        .unwrap();
    let mut command = node.command(program("proxy-agent").unwrap()).unwrap();
    command
        .args(more)
        .args(["--node-name", node.name()])
        .args(["--map-size", "small", "--manifests"])
        .arg(manifests.path())
        .args(["--log-format", "text", "--service-cidr", "10.96.0.0/16"])
        .args(["--cni-install", "true", "--cni-bin-dir", "/run/cni/bin"])
        .args(["--cni-conf-dir", "/run/cni/net.d", "--cni-plugin"])
        .arg(program("cni-plugin").unwrap())
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    Process::start(command).unwrap()
}

/// What depends on Nodes.
#[derive(Debug, PartialEq)]
struct State {
    routes: String,
    config: NodeConfig,
    serving: Vec<u32>,
    file: String,
}

fn state(node: &Node) -> State {
    let routes = ["-4", "-6"].map(|family| {
        node.run(&["ip", family, "route", "show", "proto", "87"])
            .unwrap()
    });
    let reader = reader(node).unwrap();
    let maps = reader.maps();
    let serving = maps.node_addresses4.entries().unwrap();
    let serving = serving
        .into_iter()
        .filter(|(_, flags)| flags & ADDRESS_NODE_PORT != 0);
    let file = std::fs::read_to_string(node.file("/run/weir/node.json")).unwrap_or_default();
    let mut file: serde_json::Value = serde_json::from_str(&file).unwrap_or_default();
    file["agent_pid"] = serde_json::Value::Null;
    file["agentPid"] = serde_json::Value::Null;
    State {
        routes: routes.concat(),
        config: maps.node_config.get(&0).unwrap().unwrap(),
        serving: serving.map(|(address, _)| address).collect(),
        file: file.to_string(),
    }
}

fn stays(node: &Node, wanted: &State, what: &str) {
    let end = std::time::Instant::now() + WHILE;
    while std::time::Instant::now() < end {
        assert_eq!(&state(node), wanted, "{what}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn becomes(node: &Node, what: &str, reached: impl Fn(&State) -> bool) -> State {
    let mut seen = None;
    until(what, PATIENCE, || {
        let now = state(node);
        let is_so = reached(&now);
        seen = Some(now);
        Ok(is_so.then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {seen:#?}"));
    state(node)
}

#[test]
fn what_is_known_of_nodes_stays_while_the_machine_has_it() {
    let world = World::new("agent-vanished").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    let own = node.addresses().map(|ip| ip.to_string());
    let own = [&*own[0], &*own[1]];
    let put = |file: &str, text: &str| drop(manifests.apply(file, text).unwrap());
    put("a.yaml", &object("a", &RANGES, &own));
    put("b.yaml", &object("b", &PEER, &PEER_ADDRESSES));
    let agent = start(&node, &manifests, &[]);
    ready(&node).unwrap();
    let mine = address4(node.ipv4().octets());
    let all = |s: &State| {
        s.routes.lines().count() == 2
            && s.config.address4 == mine
            && s.config.address6 == address6(node.ipv6().octets())
            && s.serving == [mine]
            && s.file.contains(RANGES[0])
    };
    let whole = becomes(&node, "everything to be known", all);

    put("b.yaml", &object("b", &PEER, &[]));
    stays(&node, &whole, "a peer without addresses");
    put("a.yaml", &object("a", &[], &own[1..]));
    stays(&node, &whole, "the node without ranges and with one family");
    manifests.remove("a.yaml").unwrap();
    manifests.remove("b.yaml").unwrap();
    stays(&node, &whole, "no Node at all");
    assert_eq!(get(&node, 10256, "/readyz").unwrap().0, 200);

    // An agent that starts in the middle of it knows by what is in force, and by what the one before remembered.
    agent.crash().unwrap();
    put("b.yaml", &object("b", &PEER, &[]));
    let agent = start(&node, &manifests, &[]);
    ready(&node).unwrap();
    stays(&node, &whole, "an agent that never saw its Node");

    // So it is of a peer whose Node went while no agent was there.
    agent.crash().unwrap();
    manifests.remove("b.yaml").unwrap();
    let agent = start(&node, &manifests, &[]);
    ready(&node).unwrap();
    stays(&node, &whole, "an agent that never saw a peer's Node");

    // What another Node has by now is no longer known of one that is gone.
    put("b.yaml", &object("b", &PEER, &PEER_ADDRESSES));
    becomes(&node, "the peer to be known again", all);
    manifests.remove("b.yaml").unwrap();
    put("c.yaml", &object("c", &PEER, &["172.30.0.13", "fd30::d"]));
    becomes(&node, "the routes to move", |s| {
        let new = ["via 172.30.0.13", "via fd30::d"];
        new.iter().all(|via| s.routes.contains(via)) && !s.routes.contains("172.30.0.12")
    });

    // What the machine has no longer is not kept.
    let address = format!("addr del {}/24 dev eth0\n", node.ipv4());
    node.batch(&address).unwrap();
    becomes(&node, "the address to go", |s| {
        s.config.address4 == 0 && s.serving.is_empty()
    });
    assert_ne!(state(&node).config.address6, [0; 4]);
    agent.terminate().unwrap();
}
