//! Agents and settings come and go; flows stay.

use std::{net::SocketAddr, time::Duration};

use weir_tests::world::{Talk, ask_tcp, until};

use super::bed::{Bed, MODES, PORT};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn flows_outlive_the_agent_and_every_resync() {
    for mode in MODES {
        let mut bed = Bed::start("outlive", mode, &["--set", "sync.fullPeriod=1s"]);
        let mut talks: Vec<Talk> = bed
            .internet
            .at(PORT)
            .map(|to| bed.talks(&bed.pod, to))
            .into();
        let mut goes_on = |bed: &Bed, when: &str| {
            for talk in &mut talks {
                talk.stream(1 << 16)
                    .unwrap_or_else(|error| panic!("{when}: {error}\n{}", bed.said()));
            }
            for to in bed.internet.at(PORT) {
                bed.asks(&bed.other, to);
            }
        };
        goes_on(&bed, "before");
        bed.cluster.agent_mut(0).crash().unwrap();
        goes_on(&bed, "without an agent");
        bed.cluster.agent_mut(0).restart().unwrap();
        goes_on(&bed, "with another agent");
        std::thread::sleep(Duration::from_secs(2));
        goes_on(&bed, "after a full comparison");
        bed.seen_only(bed.node().addresses());
        bed.is_tight();
    }
}

#[test]
fn each_family_may_be_off() {
    for mode in MODES {
        for (flag, off) in [("--masquerade-ipv4", 0), ("--masquerade-ipv6", 1)] {
            let bed = Bed::start("off", mode, &[flag, "never"]);
            let to = bed.internet.at(PORT);
            bed.asks(&bed.pod, to[1 - off]);
            ask_tcp(&bed.pod, to[off]).unwrap_err();
            assert!(bed.seen(off == 0).is_empty(), "nobody came");
            assert!(
                bed.internet.leaked().unwrap() > 0,
                "under the pod's address"
            );
            let (_, status) = bed.cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
            let words = ["IPv4 no   IPv6 yes", "IPv4 yes   IPv6 no"][off];
            let line = status.lines().find(|line| line.starts_with("Masquerade"));
            assert!(line.unwrap().contains(words), "{status}");
            for family in 0..2 {
                let (pod, to) = (
                    bed.pod.addresses()[family],
                    bed.internet.addresses()[family],
                );
                let (pod, to) = (pod.to_string(), to.to_string());
                let words = ["policy", "why", &pod, &to, "7000"];
                let (_, why) = bed.cluster.agent(0).proxyctl_verdict(&words).unwrap();
                let said = why.contains("leaves the cluster in the node's name");
                assert_eq!(said, family != off, "{why}");
            }
            let inside = bed.cluster.agent(0).proxyctl(&["dump", "inside"]).unwrap();
            for range in [
                "10.244.2.0/24",
                "fd00:244:2::/64",
                "172.30.0.12/32",
                "10.96.0.0/16",
            ] {
                assert!(inside.contains(range), "{inside}");
            }
        }
    }
}

/// ip-masq-agent's file is followed in its own time, and changes no flow that has begun.
#[test]
fn the_file_of_ip_masq_agent_is_followed() {
    let path = "/run/ip-masq-agent";
    let setting = format!("masquerade.ipMasqAgentFile={path}");
    let bed = Bed::start("file", &[], &["--set", &setting]);
    let file = bed.node().file(path);
    let to = bed.internet.at(PORT)[0];
    let mut talk = bed.talks(&bed.pod, to);
    talk.echo("before").unwrap();
    let range = "203.0.113.0/24";
    std::fs::write(
        &file,
        format!("nonMasqueradeCIDRs: [{range}]\nresyncInterval: 1s\n"),
    )
    .unwrap();
    until("a flow under the pod's own address", PATIENCE, || {
        // Nobody answers that.
        Ok(ask_tcp(&bed.other, to).is_err().then_some(()))
    })
    .unwrap();
    assert!(bed.internet.leaked().unwrap() > 0);
    talk.echo("what has begun goes on").unwrap();
    std::fs::write(&file, "nonMasqueradeCIDRs: [300.0.0.0/8]").unwrap();
    let agent = bed.cluster.agent(0);
    until("a word about the mistake", PATIENCE, || {
        let (_, status) = agent.proxyctl_verdict(&["status"])?;
        let told = status.contains("what was in force stays");
        Ok((told && status.contains(path)).then_some(()))
    })
    .unwrap();
    std::fs::remove_file(&file).unwrap();
    until("an answer without the file", PATIENCE, || {
        Ok(ask_tcp(&bed.other, to).ok())
    })
    .unwrap();
    talk.echo("and on").unwrap();
}

/// Its ports go back with it, and nobody gets its answers.
#[test]
fn a_pod_that_dies_gives_its_ports_back() {
    let bed = Bed::start("death", &[], &["--source-ports", "20000-20003"]);
    let to = bed.internet.at(PORT)[0];
    let pod = bed.cluster.pod(0, "short").unwrap();
    let from = |port| SocketAddr::new(pod.addresses()[0], port);
    let talks: Vec<Talk> = (1..=4)
        .map(|port| Talk::open_from(&pod, from(4000 + port), to).unwrap())
        .collect();
    ask_tcp(&bed.other, to).unwrap_err();
    let (_, text) = bed
        .cluster
        .agent(0)
        .proxyctl_verdict(&["dump", "conntrack", "-o", "wide"])
        .unwrap();
    let marks = text
        .lines()
        .filter(|line| line.contains("source-translated,masqueraded"));
    assert_eq!(marks.count(), 4, "{text}");
    let dropped = weir_tests::datapath::drops(bed.node()).unwrap();
    assert!(dropped.contains_key("no-source-port"), "{dropped:?}");
    drop((talks, pod));
    until("ports of a dead pod", PATIENCE, || {
        Ok(ask_tcp(&bed.other, to).ok())
    })
    .unwrap();
    bed.is_tight();
}
