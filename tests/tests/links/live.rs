//! Links that come, go, change hands and names while the agent runs.

use weir_tests::world::{Node, until};

use super::lab::Lab;

/// Whether it has our programs: its index names their pins.
fn has_programs(node: &Node, link: &str) -> bool {
    let index = node.run(&["cat", &format!("/sys/class/net/{link}/ifindex")]);
    let Ok(index) = index else {
        return false;
    };
    pins(node, index.trim()) == 2
}

fn pins(node: &Node, index: &str) -> usize {
    let name = format!("*_net*-{index}");
    let found = node.run(&["find", "/sys/fs/bpf", "-path", "*/links/*", "-name", &name]);
    found.unwrap().lines().count()
}

fn await_programs(lab: &Lab, link: &str, there: bool) {
    let what = format!("{link} with programs: {there}");
    lab.cluster
        .eventually(&what, || {
            (has_programs(lab.node(), link) == there).then_some(())
        })
        .unwrap();
}

#[test]
fn programs_follow_links() {
    let lab = Lab::start("live", &["--exclude-link", "no*"]);
    let node = lab.node();
    await_programs(&lab, "eth0", true);
    node.batch("link add v0 type veth peer name v1\nlink add no0 type veth peer name no1\n")
        .unwrap();
    await_programs(&lab, "v0", true);
    assert!(!has_programs(node, "no0"), "excluded");
    let index = node.run(&["cat", "/sys/class/net/v0/ifindex"]).unwrap();

    // A member's traffic is its bridge's.
    node.batch("link add br9 type bridge\nlink set v0 master br9\n")
        .unwrap();
    await_programs(&lab, "v0", false);
    await_programs(&lab, "br9", true);
    node.batch("link set v0 nomaster\n").unwrap();
    await_programs(&lab, "v0", true);

    node.batch("link set v1 name no9\nlink set v0 down\n")
        .unwrap();
    await_programs(&lab, "no9", false);
    assert!(has_programs(node, "v0"), "for when it comes up again");

    node.batch("link del v0\n").unwrap();
    until(
        "pins of the link to go",
        std::time::Duration::from_secs(10),
        || Ok((pins(node, index.trim()) == 0).then_some(())),
    )
    .unwrap();
}

/// An agent that comes back finds links changed.
#[test]
fn what_changed_without_an_agent_is_set_right_at_its_start() {
    let mut lab = Lab::start("live-restart", &[]);
    lab.node()
        .batch("link add v0 type veth peer name v1\nlink add br9 type bridge\n")
        .unwrap();
    await_programs(&lab, "v0", true);
    lab.cluster.agent_mut(0).crash().unwrap();
    lab.node().batch("link set v0 master br9\n").unwrap();
    assert!(has_programs(lab.node(), "v0"), "nobody has taken them off");
    lab.cluster.agent_mut(0).restart().unwrap();
    await_programs(&lab, "v0", false);
    await_programs(&lab, "br9", true);
    lab.serves(lab.cluster.world().outside(), lab.node().addresses());
}
