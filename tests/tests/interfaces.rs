//! tc programs on interfaces: attached by TCX and by clsact, replaced, detached, swept.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use proxy_agent::datapath::{Datapath, Hook, TcMode, TcPreference};
use weir_tests::{
    datapath,
    inside::inside,
    world::{Node, World},
};

/// A node with a veth pair, `v0` and `v1`.
fn node(name: &str) -> (Node, u32) {
    let node = World::new(name).unwrap().node("a").unwrap();
    node.batch("link add v0 type veth peer name v1\nlink set v0 up\n")
        .unwrap();
    let ifindex = node.run(&["cat", "/sys/class/net/v0/ifindex"]).unwrap();
    (node, ifindex.trim().parse().unwrap())
}

fn open(node: &Node, tc: TcPreference) -> Datapath {
    let mut config = datapath::config(node);
    config.tc = tc;
    Datapath::open(&config).unwrap()
}

#[test]
fn tcx_links_survive_and_are_replaced() {
    let (node, ifindex) = node("tcx");
    let mut first = open(&node, TcPreference::Auto);
    let mode = inside(&node, || first.attach_pod(ifindex)).unwrap();
    assert_eq!(mode, TcMode::Tcx);
    let before = first.attachments().unwrap();
    let names: Vec<&str> = before.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(
        names,
        [format!("from_pod-{ifindex}"), format!("to_pod-{ifindex}")]
    );
    assert!(
        before
            .iter()
            .all(|a| a.target == u64::from(ifindex) && !a.cgroup)
    );
    drop(first);

    let mut second = open(&node, TcPreference::Auto);
    assert_eq!(second.attachments().unwrap(), before, "as they were left");
    inside(&node, || second.attach_pod(ifindex)).unwrap();
    let after = second.attachments().unwrap();
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old.link, new.link);
        assert_ne!(old.program, new.program);
    }

    inside(&node, || second.attach_uplink(ifindex)).unwrap();
    assert_eq!(second.attachments().unwrap().len(), 4);
    inside(&node, || second.detach_interface(ifindex)).unwrap();
    inside(&node, || second.detach_interface(ifindex)).unwrap();
    assert!(second.attachments().unwrap().is_empty());
}

#[test]
fn links_of_a_deleted_interface_are_swept() {
    let (node, ifindex) = node("gone");
    let mut datapath = open(&node, TcPreference::Auto);
    inside(&node, || datapath.attach_pod(ifindex)).unwrap();
    assert!(datapath.sweep().unwrap().is_empty());
    node.batch("link del v0\n").unwrap();
    assert!(
        datapath
            .attachments()
            .unwrap()
            .iter()
            .all(|a| a.target == 0)
    );
    assert_eq!(datapath.sweep().unwrap().len(), 2);
    assert!(datapath.attachments().unwrap().is_empty());
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let (node, ifindex) = node("none");
    let mut datapath = open(&node, TcPreference::Auto);
    node.batch("link del v0\n").unwrap();
    let error = inside(&node, || datapath.attach_pod(ifindex)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("interface {ifindex}")), "{text}");
}

#[test]
fn without_tcx_filters_of_clsact_do_it() {
    let (node, ifindex) = node("clsact");
    for _agent in 0..2 {
        let mut datapath = open(&node, TcPreference::Clsact);
        let mode = inside(&node, || datapath.attach_pod(ifindex)).unwrap();
        assert_eq!(mode, TcMode::Clsact);
        assert!(datapath.attachments().unwrap().is_empty(), "no links");
        drop(datapath);
        for hook in [Hook::FromPod, Hook::ToPod] {
            assert_eq!(filters(&node, hook), 1, "{hook:?}");
        }
    }
    let datapath = open(&node, TcPreference::Clsact);
    inside(&node, || datapath.detach_interface(ifindex)).unwrap();
    inside(&node, || datapath.detach_interface(ifindex)).unwrap();
    assert_eq!(
        filters(&node, Hook::FromPod) + filters(&node, Hook::ToPod),
        0
    );
}

/// Filters with the program of a hook.
fn filters(node: &Node, hook: Hook) -> usize {
    let direction = if hook.is_ingress() {
        "ingress"
    } else {
        "egress"
    };
    let shown = node
        .run(&["tc", "filter", "show", "dev", "v0", direction])
        .unwrap();
    shown.matches(&format!(" name {} ", hook.program())).count()
}
