//! The agent is killed, restarted, and cleaned up after.

use weir_tests::world::{Talk, World, ask_tcp, program, until};

use super::fixture::{PATIENCE, VIP4, VIP6, at, reach, ready, service, service_maps, start, web};

#[test]
fn a_killed_agent_leaves_all_and_takes_it_up_again() {
    let world = World::new("agent-kill").unwrap();
    let node = world.node("a").unwrap();
    let client = node.plain_pod("client").unwrap();
    let (server, _tcp) = web(&node);
    let mut agent = start(&node);
    for index in 10..40 {
        let vips = [format!("10.96.0.{index}"), format!("fd00:10:96::{index}")];
        let yaml = service(
            &format!("web{index}"),
            [&vips[0], &vips[1]],
            "TCP",
            &server.addresses(),
        );
        agent.apply(&format!("web{index}.yaml"), &yaml).unwrap();
    }
    reach(&client, "10.96.0.39", "web").unwrap();
    until("30 Services in both families", PATIENCE, || {
        let maps = service_maps(&node);
        Ok((maps["frontends4"].len() == 30 && maps["frontends6"].len() == 30).then_some(()))
    })
    .unwrap();
    let mut open = Talk::open(&client, at(VIP4)).unwrap();
    let before = service_maps(&node);

    agent.agent.crash().unwrap();
    assert_eq!(service_maps(&node), before, "the kernel keeps it all");
    reach(&client, VIP4, "web").unwrap();
    reach(&client, VIP6, "web").unwrap();
    let output = agent.proxyctl(&["dump", "maps"]).unwrap();
    assert!(
        output.contains("FRONTENDS4"),
        "works without the agent: {output}"
    );

    agent.agent.restart().unwrap();
    ready(&node).unwrap();
    assert_eq!(service_maps(&node), before, "ids and slots are kept");
    open.echo("still here").unwrap();
    reach(&client, VIP6, "web").unwrap();

    // What changed while it was away is caught up with.
    agent.agent.crash().unwrap();
    agent.remove("web10.yaml").unwrap();
    agent.agent.restart().unwrap();
    until("the removed Service to be gone", PATIENCE, || {
        Ok((service_maps(&node)["frontends4"].len() == 29).then_some(()))
    })
    .unwrap();
}

#[test]
fn cleanup_leaves_nothing() {
    let world = World::new("agent-cleanup").unwrap();
    let node = world.node("a").unwrap();
    let pins = || {
        node.run(&["find", "/sys/fs/bpf", "-mindepth", "1"])
            .unwrap()
    };
    let before = pins();
    let mut agent = start(&node);
    assert_ne!(pins(), before);
    until("the route to Services", PATIENCE, || {
        let routes = node.run(&["ip", "route", "show", "proto", "89"])?;
        let route = "10.96.0.0/16 via 169.254.87.2 dev weir_host";
        Ok(routes.contains(route).then_some(()))
    })
    .unwrap();
    agent.apply_web(&["10.244.1.9".parse().unwrap()]).unwrap();
    ready(&node).unwrap();
    agent.agent.crash().unwrap();
    let program = program("proxy-agent").unwrap();
    let program = program.to_str().unwrap();
    let conflist = node.file("/run/cni/net.d/05-weir.conflist");
    assert!(conflist.exists());
    // Of a pod that another plugin has been asked to delete.
    let records = node.file("/run/weir/att");
    std::fs::create_dir_all(&records).unwrap();
    std::fs::write(records.join("gone:eth0.json"), "{}").unwrap();
    // Of the API server, which this agent has not, and of encryption, which is off.
    let run = node.file("/run/weir");
    for file in [
        "api-servers.json",
        "wireguard.key",
        "wireguard-next.key",
        "wireguard.made",
    ] {
        std::fs::write(run.join(file), "").unwrap();
    }
    assert!(run.join("nodes.json").exists());
    // Nobody has to say again that it was installed.
    // And a node can be left while agents refuse their file: what is right in it counts.
    let text = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\ncni: { confDir: /run/cni/net.d }\nnode: { sourcePorts: 30000-29000 }\n";
    std::fs::write(node.file("/run/wrong.yaml"), text).unwrap();
    for told in [
        ["--config", "/run/wrong.yaml"],
        ["--cni-conf-dir", "/run/cni/net.d"],
    ] {
        node.run(&[&[program, "cleanup"], &told[..]].concat())
            .unwrap_or_else(|error| panic!("{told:?}: {error:#}"));
        assert!(!conflist.exists(), "{told:?}");
    }
    assert_eq!(pins(), before);
    let left = run.read_dir().unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["agent.lock"], "cleanup itself holds it");
    assert!(!conflist.exists());
    let farewell = conflist.with_file_name("zz-weir-uninstalled.conflist");
    assert!(!farewell.exists() && !records.exists(), "no pod is left");
    for protocol in ["87", "89"] {
        let words = ["ip", "route", "show", "proto", protocol];
        assert_eq!(node.run(&words).unwrap(), "");
    }
    let links = node.run(&["ip", "-brief", "link"]).unwrap();
    assert!(!links.contains("weir_"), "{links}");
    let error = ask_tcp(&node, at(VIP4)).unwrap_err();
    assert_ne!(
        error.kind(),
        std::io::ErrorKind::ConnectionRefused,
        "nobody answers for the VIP any more"
    );
}
