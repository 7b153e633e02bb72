//! One agent per node: a second one ends with an error, and has touched nothing.

use proxy_agent::datapath::Table as _;
use weir_tests::{
    datapath::reader,
    served::{await_answer, serve, service},
    world::{Cluster, Node, program},
};

/// Pins with their inodes: what is replaced has another.
fn pins(node: &Node) -> String {
    let words = ["find", "/sys/fs/bpf", "-printf", "%p %i\n"];
    let mut lines: Vec<String> = node
        .run(&words)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

/// The sockets in the run directory, with their inodes.
fn sockets(node: &Node) -> String {
    node.run(&["find", "/run/weir", "-name", "*.sock", "-printf", "%p %i\n"])
        .unwrap()
}

/// Runs a second agent; gives its exit code and what it says at last.
fn second(node: &Node, flags: &[&str]) -> (Option<i32>, String) {
    let output = node
        .command(program("proxy-agent").unwrap())
        .unwrap()
        .args(["--node-name", "a", "--manifests", "/tmp"])
        .args(["--map-size", "small", "--log-level", "error"])
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .args(flags)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

#[test]
fn a_second_agent_ends_and_the_first_one_works_on() {
    let cluster = Cluster::start("agent-second", &["a"], &["--map-size", "small"]).unwrap();
    let node = cluster.node(0);
    let web = cluster.pod(0, "web").unwrap();
    let _servers = serve(&web).unwrap();
    let to = service(&cluster, "web", 10, &[&web]).unwrap();
    await_answer(&cluster, &web, to[0]).unwrap();
    let before = (pins(node), sockets(node));
    let config = || {
        let reader = reader(node).unwrap();
        reader.maps().node_config.get(&0).unwrap()
    };
    let configured = config();
    let first = format!("pid {}, version", cluster.agent(0).id().unwrap());

    let free = [
        "--healthz-bind-address",
        "127.0.0.1:4256",
        "--metrics-bind-address",
        "127.0.0.1:4249",
    ];
    let elsewhere = ["--run-dir", "/run/other"];
    for (flags, said, hint) in [
        (vec![], first.as_str(), "one agent per node"),
        // Its ports are free, but the run directory is the same.
        (free.to_vec(), &first, "agent.lock"),
        // The run directory is another, but the pins are the same.
        (
            [elsewhere, [free[0], free[1]], [free[2], free[3]]].concat(),
            "instance: /sys/fs/bpf/weir/default is locked by another agent",
            "a runDir and an instance each",
        ),
        // Only the ports are the same.
        (
            [elsewhere, ["--instance", "other"]].concat(),
            "healthzBindAddress: listen on 0.0.0.0:10256: Address already in use",
            "`ss -ltnp`",
        ),
    ] {
        let (code, text) = second(node, &flags);
        assert_eq!(code, Some(1), "{flags:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(said), "{text}");
        assert!(text.contains("\nhint: ") && text.contains(hint), "{text}");
        assert_eq!((pins(node), sockets(node)), before, "{flags:?}");
        assert_eq!(config(), configured, "{flags:?}");
    }
    let (code, text) = second(node, &["cleanup"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&first), "{text}");
    assert_eq!((pins(node), sockets(node)), before, "cleanup");

    // The first one is asked for pods, gives them Services, and follows what changes.
    let client = cluster.pod(0, "client").unwrap();
    for to in to {
        await_answer(&cluster, &client, to).unwrap();
    }
    let more = service(&cluster, "more", 11, &[&web]).unwrap();
    for to in more {
        await_answer(&cluster, &client, to).unwrap();
    }
}
