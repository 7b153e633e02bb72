//! tc programs on interfaces: attached by TCX and by clsact, replaced, detached, swept.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;

use proxy_agent::datapath::{
    Datapath, DatapathError, Hook, Lifted, TcMode, TcPreference, detach_all,
};
use weir_tests::{
    datapath,
    inside::inside,
    world::{Node, World},
};

/// A node with a veth pair, `v0` and `v0-peer`.
fn node(name: &str) -> (Node, u32) {
    let node = World::new(name).unwrap().node("a").unwrap();
    let ifindex = interface(&node, "v0");
    (node, ifindex)
}

/// One more pair.
fn interface(node: &Node, name: &str) -> u32 {
    node.batch(&format!(
        "link add {name} type veth peer name {name}-peer\nlink set {name} up\n"
    ))
    .unwrap();
    let path = format!("/sys/class/net/{name}/ifindex");
    node.run(&["cat", &path]).unwrap().trim().parse().unwrap()
}

fn open(node: &Node, tc: TcPreference) -> Datapath {
    let mut config = datapath::config(node);
    config.tc = tc;
    Datapath::open(&config).unwrap()
}

/// Attaches one interface in the calling thread's netns.
fn attach_pod(datapath: &mut Datapath, ifindex: u32) -> Result<TcMode, DatapathError> {
    datapath.attach_pods(&[ifindex])?.remove(0)
}

/// Lifts an interface as the agent does when it has time.
fn lift(datapath: &Datapath, node: &Node, ifindex: u32) {
    let lifter = datapath.lifter().unwrap();
    let lifted = inside(node, || lifter.lift(ifindex, &|| true)).unwrap();
    assert_eq!(lifted, Lifted::Done);
}

/// How the interfaces are attached.
fn modes<const N: usize>(
    datapath: &Datapath,
    node: &Node,
    interfaces: [u32; N],
) -> [Option<TcMode>; N] {
    let attached = inside(node, || datapath.attached_pods(&interfaces)).unwrap();
    interfaces.map(|ifindex| attached.get(&ifindex).copied())
}

#[test]
fn a_pod_begins_with_clsact_and_is_lifted_to_links_that_survive_and_are_replaced() {
    let (node, ifindex) = node("tcx");
    let mut first = open(&node, TcPreference::Auto);
    let mode = inside(&node, || attach_pod(&mut first, ifindex)).unwrap();
    assert_eq!(mode, TcMode::Clsact);
    assert!(first.attachments().unwrap().is_empty(), "no links yet");
    assert_eq!(modes(&first, &node, [ifindex]), [Some(TcMode::Clsact)]);
    let filters_before = programs(&node, "v0");

    lift(&first, &node, ifindex);
    assert_eq!(modes(&first, &node, [ifindex]), [Some(TcMode::Tcx)]);
    assert_eq!(programs(&node, "v0"), filters_before, "they stay below");
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
    inside(&node, || second.replace_blocks()).unwrap();
    let mode = inside(&node, || attach_pod(&mut second, ifindex)).unwrap();
    assert_eq!(mode, TcMode::Tcx);
    let after = second.attachments().unwrap();
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old.link, new.link);
        assert_ne!(old.program, new.program);
    }
    let filters_after = programs(&node, "v0");
    for (old, new) in filters_before.iter().zip(&filters_after) {
        assert_ne!(old, new, "replaced");
    }

    inside(&node, || second.attach(ifindex, &Datapath::LINK)).unwrap();
    assert_eq!(second.attachments().unwrap().len(), 4);
    inside(&node, || second.detach_interface(ifindex)).unwrap();
    inside(&node, || second.detach_interface(ifindex)).unwrap();
    assert!(second.attachments().unwrap().is_empty());
    assert_eq!(qdiscs(&node), 0);
}

#[test]
fn pods_share_filters_that_are_made_anew_when_the_last_has_gone() {
    for preference in [TcPreference::Auto, TcPreference::Clsact] {
        let (node, first) = node("share");
        let second = interface(&node, "v2");
        let mut datapath = open(&node, preference);
        for ifindex in [first, second, second] {
            let mode = inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap();
            assert_eq!(mode, TcMode::Clsact);
        }
        let shared = programs(&node, "v0");
        assert_eq!(programs(&node, "v2"), shared);
        node.batch("link del v0\n").unwrap();
        assert_eq!(programs(&node, "v2"), shared);
        assert_eq!(
            modes(&datapath, &node, [first, second]),
            [None, Some(TcMode::Clsact)]
        );
        node.batch("link del v2\n").unwrap();
        let third = interface(&node, "v4");
        inside(&node, || datapath.replace_blocks()).unwrap();
        assert_eq!(modes(&datapath, &node, [third]), [None]);
        inside(&node, || attach_pod(&mut datapath, third)).unwrap();
        assert_eq!(programs(&node, "v4"), shared);
        assert_eq!(modes(&datapath, &node, [third]), [Some(TcMode::Clsact)]);
    }
}

#[test]
fn what_someone_takes_off_is_missed_and_attached_again() {
    let (node, ifindex) = node("missed");
    let other = interface(&node, "v2");
    let mut datapath = open(&node, TcPreference::Auto);
    let both = [ifindex, other];
    for ifindex in both {
        inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap();
    }
    let clsact = Some(TcMode::Clsact);
    node.run(&["tc", "qdisc", "del", "dev", "v0", "clsact"])
        .unwrap();
    assert_eq!(modes(&datapath, &node, both), [None, clsact]);
    inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap();
    assert_eq!(modes(&datapath, &node, both), [clsact, clsact]);

    let shown = node.run(&["tc", "qdisc", "show", "dev", "v0"]).unwrap();
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "egress_block").unwrap();
    let block = words.next().unwrap();
    node.run(&["tc", "filter", "del", "block", block]).unwrap();
    assert_eq!(modes(&datapath, &node, both), [None, None]);
    inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap();
    assert_eq!(modes(&datapath, &node, both), [clsact, clsact]);
}

#[test]
fn anothers_clsact_is_left_to_its_owner() {
    for (preference, mode) in [
        (TcPreference::Auto, TcMode::Tcx),
        (TcPreference::Clsact, TcMode::Clsact),
    ] {
        let (node, ifindex) = node("foreign");
        node.run(&["tc", "qdisc", "add", "dev", "v0", "clsact"])
            .unwrap();
        let mut datapath = open(&node, preference);
        assert_eq!(
            inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap(),
            mode
        );
        let expected = usize::from(mode == TcMode::Clsact);
        for hook in [Hook::FromPod, Hook::ToPod] {
            assert_eq!(filters(&node, hook), expected, "{hook:?}");
        }
        inside(&node, || datapath.detach_interface(ifindex)).unwrap();
        for hook in [Hook::FromPod, Hook::ToPod] {
            assert_eq!(filters(&node, hook), 0, "{hook:?}");
        }
        assert_eq!(qdiscs(&node), 1, "not ours to remove");
    }
}

#[test]
fn one_that_is_gone_does_not_keep_others_from_their_programs() {
    let (node, ifindex) = node("crowd");
    let other = interface(&node, "v2");
    let mut datapath = open(&node, TcPreference::Auto);
    node.batch("link del v0\n").unwrap();
    let interfaces = [ifindex, other];
    let attached = inside(&node, || datapath.attach_pods(&interfaces)).unwrap();
    assert!(attached[0].is_err());
    assert_eq!(*attached[1].as_ref().unwrap(), TcMode::Clsact);
    assert_eq!(
        modes(&datapath, &node, interfaces),
        [None, Some(TcMode::Clsact)]
    );
}

#[test]
fn instances_in_one_namespace_have_blocks_of_their_own() {
    let (node, ifindex) = node("two");
    let other = interface(&node, "v2");
    let mut one = open(&node, TcPreference::Auto);
    let mut config = datapath::config(&node);
    config.instance = "another".to_owned();
    let mut two = Datapath::open(&config).unwrap();
    inside(&node, || attach_pod(&mut one, ifindex)).unwrap();
    inside(&node, || attach_pod(&mut two, other)).unwrap();
    let both = [ifindex, other];
    let clsact = Some(TcMode::Clsact);
    assert_eq!(modes(&one, &node, both), [clsact, None]);
    assert_eq!(modes(&two, &node, both), [None, clsact]);
    inside(&node, || two.detach_interface(other)).unwrap();
    assert_eq!(modes(&one, &node, both), [clsact, None]);
}

#[test]
fn the_clean_up_takes_links_and_blocks_off() {
    let (node, ifindex) = node("clean");
    let mut datapath = open(&node, TcPreference::Auto);
    inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap();
    lift(&datapath, &node, ifindex);
    let config = datapath::config(&node);
    let pins = datapath.pins().clone();
    drop(datapath);
    let errors = inside(&node, || detach_all(&pins, &config.instance, [ifindex]));
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(qdiscs(&node), 0);
    assert!(std::fs::read_dir(pins.links()).unwrap().next().is_none());
}

#[test]
fn links_of_a_deleted_interface_are_swept() {
    let (node, ifindex) = node("gone");
    let mut datapath = open(&node, TcPreference::Auto);
    inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap();
    lift(&datapath, &node, ifindex);
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
    let error = inside(&node, || attach_pod(&mut datapath, ifindex)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("interface {ifindex}")), "{text}");
}

#[test]
fn without_tcx_filters_of_clsact_do_it_on_an_uplink() {
    let (node, ifindex) = node("clsact");
    for _agent in 0..2 {
        let mut datapath = open(&node, TcPreference::Clsact);
        assert!(datapath.lifter().is_none());
        let mode = inside(&node, || datapath.attach(ifindex, &Datapath::LINK)).unwrap();
        assert_eq!(mode, TcMode::Clsact);
        assert!(datapath.attachments().unwrap().is_empty(), "no links");
        drop(datapath);
        for hook in [Hook::FromNet, Hook::ToNet] {
            assert_eq!(filters(&node, hook), 1, "{hook:?}");
        }
    }
    let datapath = open(&node, TcPreference::Clsact);
    inside(&node, || datapath.detach_interface(ifindex)).unwrap();
    inside(&node, || datapath.detach_interface(ifindex)).unwrap();
    assert_eq!(
        filters(&node, Hook::FromNet) + filters(&node, Hook::ToNet),
        0
    );
}

#[test]
fn what_is_preferred_may_change_and_nothing_of_the_former_way_stays() {
    for hooks in [Datapath::LINK, Datapath::BARE_LINK] {
        let (node, ifindex) = node("switch");
        for (tc, links, count) in [
            (TcPreference::Tcx, 2, 0),
            (TcPreference::Clsact, 0, 1),
            (TcPreference::Auto, 2, 0),
        ] {
            let mut datapath = open(&node, tc);
            inside(&node, || datapath.attach(ifindex, &hooks)).unwrap();
            assert_eq!(datapath.attachments().unwrap().len(), links, "{tc:?}");
            for hook in hooks {
                assert_eq!(filters(&node, hook), count, "{hook:?} {tc:?}");
            }
            let there = inside(&node, || datapath.are_attached(ifindex, &hooks));
            assert!(there.unwrap(), "{tc:?}");
            for other in [Hook::FromHost, Hook::FromLo] {
                let other = inside(&node, || datapath.are_attached(ifindex, &[other]));
                assert!(!other.unwrap(), "{tc:?}");
            }
        }
    }
}

#[test]
fn what_is_loaded_when_it_is_attached_is_exchanged_with_the_maps_too() {
    for tc in [TcPreference::Tcx, TcPreference::Clsact] {
        for hooks in [Datapath::TUNNEL, Datapath::BARE_LINK] {
            let (node, ifindex) = node("later");
            let mut datapath = open(&node, tc);
            inside(&node, || datapath.attach(ifindex, &hooks)).unwrap();
            let before = attached(&datapath, &node, &hooks);
            enlarge(&mut datapath, &node);
            let after = attached(&datapath, &node, &hooks);
            for (hook, (before, after)) in hooks.iter().zip(before.iter().zip(&after)) {
                assert_ne!(before, after, "{hook:?} {tc:?}");
            }
            // Nobody needed it until now: it goes by the same maps.
            inside(&node, || datapath.attach_xdp(ifindex)).unwrap();
            assert!(datapath.has_xdp(ifindex).unwrap());
        }
    }
}

/// Exchanges maps for larger ones.
fn enlarge(datapath: &mut Datapath, node: &Node) {
    let mut larger = datapath::config(node).capacities;
    larger.affinity *= 2;
    let resizer = datapath.resizer();
    let prepared = inside(node, || resizer.prepare(&larger, &BTreeMap::new()));
    let prepared = prepared.unwrap().unwrap();
    inside(node, || datapath.put_in_force(prepared)).unwrap();
}

/// Ids of the programs of hooks on `v0`, by link or by filter.
fn attached(datapath: &Datapath, node: &Node, hooks: &[Hook]) -> Vec<String> {
    let links = datapath.attachments().unwrap();
    let id = |hook: &Hook| {
        let of_link = links.iter().find(|link| {
            let program = link.name.rsplit_once('-').map(|(program, _)| program);
            program == Some(hook.program())
        });
        of_link.map_or_else(
            || program(node, "v0", *hook),
            |link| link.program.to_string(),
        )
    };
    hooks.iter().map(id).collect()
}

/// Filters with the program of a hook on `v0`.
fn filters(node: &Node, hook: Hook) -> usize {
    let shown = show(node, "v0", hook);
    shown.matches(&format!(" name {} ", hook.program())).count()
}

/// Ids of the programs of a pod's filters on an interface.
fn programs(node: &Node, interface: &str) -> Vec<String> {
    let hooks = [Hook::FromPod, Hook::ToPod].into_iter();
    hooks.map(|hook| program(node, interface, hook)).collect()
}

/// Id of the program of a hook's filter on an interface.
fn program(node: &Node, interface: &str, hook: Hook) -> String {
    let shown = show(node, interface, hook);
    let name = format!(" name {} ", hook.program());
    assert!(shown.contains(&name), "{hook:?} on {interface}: {shown:?}");
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "id").unwrap();
    words.next().unwrap().to_owned()
}

fn show(node: &Node, interface: &str, hook: Hook) -> String {
    let direction = if hook.is_ingress() {
        "ingress"
    } else {
        "egress"
    };
    node.run(&["tc", "filter", "show", "dev", interface, direction])
        .unwrap()
}

/// Interfaces with clsact.
fn qdiscs(node: &Node) -> usize {
    let shown = node.run(&["tc", "qdisc", "show"]).unwrap();
    shown.matches("qdisc clsact").count()
}
