//! Real containerd, our agent and our plugin: sandboxes get both addresses, and give everything back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::IpAddr, time::Duration};

use cni_plugin::{ipam::State, node_file::boot_id, wiring::name::is_host_ifname};
use serde_json::json;
use weir_tests::{
    containerd::{Containerd, VERSIONS, cri::Condition},
    world::{Agent, Manifests, Node, World, until},
};

/// A node with containerd, and then an agent: the order of a node's first boot.
struct Machine {
    containerd: Containerd,
    agent: Agent,
    manifests: Manifests,
    node: Node,
}

impl Machine {
    fn start(world: &World, version: &'static str) -> Self {
        let node = world.node("a").unwrap();
        let containerd = Containerd::start(&node, version).unwrap();
        assert!(
            !network_ready(&containerd).unwrap().status,
            "before the agent"
        );
        let manifests = Manifests::new().unwrap();
        let agent = Agent::start(&node, &manifests, &[]).unwrap();
        // That the runtime sees the configuration at all is what its way of being written is for.
        until("the network to be ready", Duration::from_secs(20), || {
            Ok(network_ready(&containerd)?.status.then_some(()))
        })
        .unwrap_or_else(|e| panic!("containerd {version}: {e:#}\n{}", containerd.log()));
        Self {
            containerd,
            agent,
            manifests,
            node,
        }
    }

    fn run(&self, pod: &str) -> anyhow::Result<String> {
        self.manifests
            .pending_pod(&self.node, pod, &json!({ "app": pod }))?;
        self.containerd.cri().run(&self.node, pod)
    }

    fn leases(&self) -> Vec<IpAddr> {
        let path = self.node.file("/run/weir/ipam.json");
        let state = State::read(&path, &boot_id().unwrap())
            .unwrap()
            .unwrap_or_default();
        state.leases.into_iter().flat_map(|l| l.ips).collect()
    }

    fn pod_links(&self) -> usize {
        let links = self.node.run(&["ip", "-br", "link"]).unwrap();
        let names = links
            .lines()
            .filter_map(|line| line.split(['@', ' ']).next());
        names.filter(|name| is_host_ifname(name)).count()
    }

    fn nothing_left(&self) {
        assert_eq!(self.leases(), Vec::<IpAddr>::new());
        assert_eq!(self.pod_links(), 0);
        let left = std::fs::read_dir(self.node.file("/run/weir/att"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "records are left");
    }
}

fn network_ready(containerd: &Containerd) -> anyhow::Result<Condition> {
    let conditions = containerd.cri().status()?;
    let found = conditions.into_iter().find(|c| c.kind == "NetworkReady");
    found.ok_or_else(|| anyhow::anyhow!("no condition NetworkReady"))
}

#[test]
fn sandboxes_get_both_addresses_and_give_everything_back() {
    for version in VERSIONS {
        let world = World::new("ctrd").unwrap();
        let machine = Machine::start(&world, version);
        let cri = machine.containerd.cri();
        let sandboxes: Vec<String> = ["one", "two"]
            .iter()
            .map(|pod| {
                machine.run(pod).unwrap_or_else(|e| {
                    panic!("containerd {version}: {e:#}\n{}", machine.agent.log())
                })
            })
            .collect();
        let ips: Vec<Vec<IpAddr>> = sandboxes.iter().map(|s| cri.ips(s).unwrap()).collect();
        assert_eq!(ips.concat(), machine.leases(), "containerd {version}");
        assert!(
            ips.iter()
                .all(|ips| ips.len() == 2 && ips[0].is_ipv4() && ips[1].is_ipv6())
        );
        assert_eq!(machine.pod_links(), 2);
        for sandbox in &sandboxes {
            cri.stop(sandbox).unwrap();
            cri.remove(sandbox).unwrap();
        }
        machine.nothing_left();
    }
}

#[test]
fn sandboxes_end_while_the_agent_is_down_and_it_catches_up() {
    for version in VERSIONS {
        let world = World::new("ctrd-down").unwrap();
        let mut machine = Machine::start(&world, version);
        let sandbox = machine.run("one").unwrap();
        machine.agent.crash().unwrap();
        let cri = machine.containerd.cri();
        cri.stop(&sandbox).unwrap();
        cri.remove(&sandbox).unwrap();
        machine.nothing_left();
        machine.agent.restart().unwrap();
        let again = machine.run("two").unwrap();
        assert_eq!(cri.ips(&again).unwrap().len(), 2);
        cri.stop(&again).unwrap();
        cri.remove(&again).unwrap();
        machine.nothing_left();
    }
}

#[test]
fn a_runtime_that_is_killed_takes_its_sandboxes_down_later() {
    for version in VERSIONS {
        let world = World::new("ctrd-kill").unwrap();
        let mut machine = Machine::start(&world, version);
        let sandbox = machine.run("one").unwrap();
        machine.containerd.crash().unwrap();
        machine.containerd.restart().unwrap();
        let cri = machine.containerd.cri();
        assert_eq!(cri.ips(&sandbox).unwrap(), machine.leases());
        cri.stop(&sandbox).unwrap();
        cri.remove(&sandbox).unwrap();
        machine.nothing_left();
    }
}

/// Names of the network configurations that the runtime sees.
fn configurations(node: &Node) -> Vec<String> {
    let files = std::fs::read_dir(node.file("/run/cni/net.d")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn cleanup(node: &Node) {
    let program = weir_tests::world::program("proxy-agent").unwrap();
    let words = [
        program.to_str().unwrap(),
        "cleanup",
        "--cni-install",
        "true",
        "--cni-conf-dir",
        "/run/cni/net.d",
    ];
    node.run(&words).unwrap();
}

#[test]
fn sandboxes_can_be_deleted_after_weir_is_removed() {
    for version in VERSIONS {
        let world = World::new("ctrd-gone").unwrap();
        let mut machine = Machine::start(&world, version);
        let sandboxes = ["one", "two"].map(|pod| machine.run(pod).unwrap());
        machine.agent.crash().unwrap();
        for _ in 0..2 {
            cleanup(&machine.node);
            assert_eq!(
                configurations(&machine.node),
                ["zz-weir-uninstalled.conflist"],
                "containerd {version}"
            );
        }
        let cri = machine.containerd.cri();
        let refused = machine.run("three").unwrap_err();
        assert!(format!("{refused:#}").contains("weir agent"), "{refused:#}");
        // The runtime is started anew meanwhile, and knows nothing but what is on disk.
        cri.stop(&sandboxes[0]).unwrap();
        machine.containerd.crash().unwrap();
        machine.containerd.restart().unwrap();
        let cri = machine.containerd.cri();
        for sandbox in &sandboxes {
            cri.stop(sandbox)
                .unwrap_or_else(|e| panic!("containerd {version}: {e:#}"));
            cri.remove(sandbox).unwrap();
        }
        machine.nothing_left();
        cleanup(&machine.node);
        assert!(configurations(&machine.node).is_empty());
        for file in ["att", "gone", "ipam.json", "lock", "cni.log"] {
            assert!(
                !machine.node.file(&format!("/run/weir/{file}")).exists(),
                "{file}"
            );
        }
    }
}
