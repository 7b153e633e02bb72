//! What somebody breaks of what Weir put on a node comes back by itself, with the traffic that needs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "owned/harms.rs"]
mod harms;
#[path = "owned/lab.rs"]
mod lab;
#[path = "owned/maps.rs"]
mod maps;

use std::time::Duration;

use proxy_agent::agent::owned::{Care, OWNED, Owned};
use serde_json::Value;
use weir_tests::world::until;

use harms::{FileHarm, Harm, harm, of_files};
use lab::Lab;

#[test]
fn what_is_broken_comes_back() {
    let lab = Lab::start("auto");
    // So that the agent has something to keep.
    lab.shell("cd /proc/sys/net/ipv6/conf; echo 1 >eth0/accept_ra; echo 0 >all/forwarding");
    lab.cluster
        .eventually("advertisements to be kept", || {
            lab.shell(
                "cat /proc/sys/net/ipv6/conf/eth0/accept_ra /proc/sys/net/ipv6/conf/all/forwarding",
            )
            .eq("2\n1\n")
            .then_some(())
        })
        .unwrap();
    // Links of pods are made when the node is quiet.
    lab.cluster
        .eventually("links of pods", || {
            let links = lab.shell("find /sys/fs/bpf -path '*/links/*_pod-*' | wc -l");
            (links.trim() == "4").then_some(())
        })
        .unwrap();
    // What encrypts is broken where there is a kernel that can: `world_encryption`.
    let others = |care: &&Care| !is_of_tunnel(care) && !is_of_encryption(care);
    for care in OWNED.iter().filter(others) {
        if let Some(Harm { harm, looks }) = harm(care.what) {
            let before = lab.shell(looks);
            assert!(!before.trim().is_empty(), "{care:?}");
            lab.heals(
                care,
                || drop(lab.shell(harm)),
                || lab.shell(looks) == before,
            );
        } else {
            match care.what {
                Owned::NodeMaps => maps::node(&lab, care),
                Owned::MapEntries => maps::entries(&lab, care),
                _ => {}
            }
        }
    }
}

/// One link that is set down takes routes, neighbours and addresses with it: one thing, of a pod that has a name.
#[test]
fn what_one_pods_link_lost_is_told_as_one_thing() {
    let lab = Lab::start("auto");
    let things = || -> Vec<String> {
        let recent = lab.status()["repairs"]["recent"].as_array().cloned();
        let recent = recent.unwrap_or_default().into_iter();
        recent
            .map(|one| one["thing"].as_str().unwrap().to_owned())
            .collect()
    };
    let looks =
        "cat /sys/class/net/$veth/operstate; ip route show dev $veth; ip -6 route show dev $veth";
    let before = lab.shell(looks);
    // Only what it has seen whole is put back as something that somebody took.
    lab.cluster
        .eventually("the link to be told", || {
            lab.shell("ip link set $veth down");
            let back = || Ok((lab.shell(looks) == before).then_some(()));
            until("the link", Duration::from_secs(10), back).unwrap();
            (!things().is_empty()).then_some(())
        })
        .unwrap();
    let things = things();
    let name = lab.shell("echo $veth");
    let ends = format!(" of {}, of pod default/", name.trim());
    assert!(things.len() == 1 && things[0].contains(&ends), "{things:?}");
    lab.works();
}

/// With less than 1280 bytes the kernel has no IPv6 on an interface, and forgets all that it knew there. Less than 68 it gives none.
fn narrowed_comes_back(lab: &Lab, what: Owned, links: &str) {
    let care = OWNED.iter().find(|care| care.what == what).unwrap();
    let looks = format!(
        "for link in {links}; do cat /sys/class/net/$link/mtu; for family in 4 6; do ip -brief -$family addr show dev $link; \
         ip -$family route show dev $link | sort; ip -$family neigh show dev $link nud permanent | sort; \
         ip -$family neigh show proxy dev $link; done; cd /proc/sys/net/ipv6/conf/$link; \
         grep . addr_gen_mode accept_ra disable_ipv6 forwarding ../../../ipv4/conf/$link/rp_filter ../../../ipv4/conf/$link/forwarding; done"
    );
    let before = lab.shell(&looks);
    for mtu in [68, 1279, 1400, 9000] {
        let harm = format!("for link in {links}; do ip link set $link mtu {mtu}; done");
        lab.heals(
            care,
            || drop(lab.shell(&harm)),
            || lab.shell(&looks) == before,
        );
    }
}

#[test]
fn interfaces_whose_mtu_is_changed_come_back_whole() {
    let lab = Lab::start("auto");
    // Until the agent has read the records that the plugin has just written.
    let mtu = "cat /sys/class/net/$veth/mtu /sys/class/net/$limited/mtu";
    let before = lab.shell(mtu);
    lab.shell("ip link set $veth mtu 1400; ip link set $limited mtu 1400");
    let is_back = || (lab.shell(mtu) == before).then_some(());
    lab.cluster.eventually("the MTU", is_back).unwrap();
    for (what, links) in [
        (Owned::PodMtus, "$veth $limited"),
        (Owned::PodLimits, "$entry $end"),
        (Owned::HostDevice, "weir_host weir_net"),
    ] {
        narrowed_comes_back(&lab, what, links);
    }
}

/// A file that is there need not be what it was: what is in it, who may run it and who may change it count too.
#[test]
fn files_come_back_as_they_were() {
    let lab = Lab::start("auto");
    for round in of_files() {
        let all = round
            .iter()
            .map(|spoilt| (spoilt, lab.shell(spoilt.harm.looks)));
        let all: Vec<_> = all.collect();
        for (FileHarm { name, harm, .. }, before) in &all {
            assert!(!before.trim().is_empty(), "{name}");
            lab.shell(harm.harm);
            assert_ne!(lab.shell(harm.looks), *before, "{name}: no harm was done");
        }
        for (FileHarm { what, name, harm }, before) in &all {
            let mut care = OWNED.iter().filter(|care| care.what == *what);
            let within = care.next().unwrap().within;
            let back = || Ok((lab.shell(harm.looks) == *before).then_some(()));
            until(name, within, back)
                .unwrap_or_else(|error| panic!("{error:#}: {}", lab.shell(harm.looks)));
        }
    }
    lab.cluster.pod(0, "newcomer").unwrap();
}

/// A route that is there need not lead where it led.
#[test]
fn routes_come_back_that_are_led_elsewhere() {
    let lab = Lab::start("auto");
    let [v4, v6] = lab.cluster.node(1).addresses();
    let ways = [
        ("blackhole $to", "blackhole $to"),
        ("$to dev lo", "$to dev lo"),
        (&*format!("$to via {v4}"), &*format!("$to via {v6}")),
    ];
    // Where Services' ranges are led elsewhere, that stays, and is told.
    for (what, protocol) in [(Owned::PodRoutes, 88), (Owned::NodeRoutes, 87)] {
        let care = OWNED.iter().find(|care| care.what == what).unwrap();
        let looks = format!("ip route show proto {protocol}; ip -6 route show proto {protocol}");
        let before = lab.shell(&looks);
        let others = |(v4, _): &&(&str, &str)| what == Owned::PodRoutes || !v4.contains("via");
        for (v4, v6) in ways.iter().filter(others) {
            let harm = format!(
                "for to in $(ip route show proto {protocol} | cut -d' ' -f1); do ip route replace {v4}; done; \
                 for to in $(ip -6 route show proto {protocol} | cut -d' ' -f1); do ip -6 route replace {v6}; done"
            );
            lab.heals(
                care,
                || drop(lab.shell(&harm)),
                || lab.shell(&looks) == before,
            );
        }
    }
}

/// The answer to whoever asks is of a look at that moment, not of one some seconds ago.
#[test]
fn what_is_taken_away_is_told_at_once() {
    let lab = Lab::start("auto");
    let rows = |words: &[&str]| lab.cluster.agent(0).proxyctl_verdict(words).unwrap();
    lab.cluster
        .eventually("peace", || {
            (rows(&["status", "--brief"]).1 == "OK\n").then_some(())
        })
        .unwrap();
    // Longer than what two who ask share a look for.
    std::thread::sleep(Duration::from_millis(1100));
    lab.shell("find /sys/fs/bpf -path '*/links/to_net-*' -delete");
    let (code, told) = rows(&["status", "--brief"]);
    let named = "ago what somebody changed or took away: program to_net on eth0";
    assert!(told.contains(named), "{told}");
    assert_eq!(code, 0, "a warning: {told}");
    assert_eq!(rows(&["status", "--fail-on-warning"]).0, 1);
    let there = lab.shell("find /sys/fs/bpf -path '*/links/to_net-*' | wc -l");
    assert_ne!(there.trim(), "0");
}

/// With the folder of pins goes all that is pinned: one cause, and told as one thing. With the file system it goes too.
#[test]
fn a_folder_of_pins_comes_back_as_one_thing() {
    let lab = Lab::start("auto");
    let pins = "find /sys/fs/bpf/weir -name '*_pod-*' -prune -o -type f -print | sort";
    let before = lab.shell(pins);
    let is_missed = || {
        let told = lab.status()["sync"]["errors"].to_string();
        told.contains("/sys/fs/bpf").then_some(())
    };
    let mounted_anew = || {
        lab.shell("mount -t tmpfs tmpfs /sys/fs/bpf");
        let told = lab
            .cluster
            .eventually("no file system to be told", is_missed);
        told.unwrap();
        // The agent holds its folder of pins, so that the file system lives on.
        let done = lab
            .shell("umount /sys/fs/bpf && umount -l /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf");
        assert_eq!(done, "");
    };
    let removed = || drop(lab.shell("rm -rf /sys/fs/bpf/weir"));
    let harms: [(&dyn Fn(), &str); 2] = [
        (&removed, " pins\""),
        (
            &mounted_anew,
            " pins, on a BPF file system that somebody has mounted anew\"",
        ),
    ];
    for (harm, named) in harms {
        harm();
        lab.cluster
            .eventually("pins", || (lab.shell(pins) == before).then_some(()))
            .unwrap();
        let recent = || lab.status()["repairs"]["recent"].as_array().cloned();
        let is_folder =
            |one: &String| one.contains("folder /sys/fs/bpf/weir/") && one.ends_with(named);
        let things = lab
            .cluster
            .eventually("it to be told", || {
                let recent = recent()?.into_iter();
                let things: Vec<String> = recent.map(|one| one["thing"].to_string()).collect();
                things.iter().any(is_folder).then_some(things)
            })
            .unwrap();
        assert!(things.len() <= 6, "{things:?}");
        let log = lab.cluster.agent(0).log();
        assert!(!log.contains("to interface lo (1): No such file"), "{log}");
        lab.works();
    }
}

/// Somebody who sets a setting again and again is named, without a line of the log for each time.
#[test]
fn a_fight_is_told_and_does_not_fill_the_log() {
    let lab = Lab::start("auto");
    let thing = "sysctl ipv4/ip_forward";
    let fights = |status: &Value| -> u64 {
        let recent = status["repairs"]["recent"].as_array().cloned();
        let mut recent = recent.unwrap_or_default().into_iter();
        let ours = recent.find(|one| one["thing"] == thing);
        ours.map_or(0, |one| one["times"].as_u64().unwrap())
    };
    lab.cluster
        .eventually("seven repairs", || {
            lab.shell("echo 0 >/proc/sys/net/ipv4/ip_forward");
            (fights(&lab.status()) >= 7).then_some(())
        })
        .unwrap();
    let (_, told) = lab.cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
    let row = "WARNING Repairs: put back 7 times, the last ";
    let named = "what somebody changes: sysctl ipv4/ip_forward: find";
    let mut lines = told.lines();
    let is_told = lines.any(|line| line.starts_with(row) && line.contains(named));
    assert!(is_told, "{told}");
    let log = lab.cluster.agent(0).log();
    let is_of_it =
        |line: &&str| line.contains("put back what somebody changed") && line.contains(thing);
    let lines: Vec<&str> = log.lines().filter(is_of_it).collect();
    assert_eq!(
        lines.len(),
        3,
        "the first, the second, the fourth: {lines:?}"
    );
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
}

const fn is_of_tunnel(care: &Care) -> bool {
    matches!(
        care.what,
        Owned::TunnelDevice | Owned::TunnelSettings | Owned::TunnelPrograms
    )
}

const fn is_of_encryption(care: &Care) -> bool {
    matches!(
        care.what,
        Owned::EncryptionDevice | Owned::EncryptionSettings | Owned::EncryptionPrograms
    )
}

#[test]
fn the_tunnel_whose_mtu_is_changed_comes_back_whole() {
    let lab = Lab::start("tunnel");
    narrowed_comes_back(&lab, Owned::TunnelDevice, "weir_vxlan");
}

#[test]
fn what_is_broken_of_the_tunnel_comes_back() {
    let lab = Lab::start("tunnel");
    let concerned = |care: &&Care| is_of_tunnel(care) || care.what == Owned::NodeRoutes;
    for care in OWNED.iter().filter(concerned) {
        let Harm { harm, looks } = harm(care.what).unwrap();
        let before = lab.shell(looks);
        assert!(!before.trim().is_empty(), "{care:?}");
        lab.heals(
            care,
            || drop(lab.shell(harm)),
            || lab.shell(looks) == before,
        );
    }
}
