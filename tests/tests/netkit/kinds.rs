//! Which kind of interface pods get, as it is configured.

use weir_tests::{
    devices::{best, has_netkit},
    served::serve,
    world::{Cluster, Pod, Programs, ask_tcp, cluster::POD_PORT, program},
};

use super::bed::{is_of_kind, recorded};

const SMALL: [&str; 2] = ["--map-size", "small"];

/// Our programs, whose agent is told this.
fn told(device: &str) -> Programs {
    Programs {
        agent: program("proxy-agent").unwrap(),
        plugin: program("cni-plugin").unwrap(),
        flags: ["--cni-device", device].map(str::to_owned).to_vec(),
    }
}

fn restart(cluster: &mut Cluster, programs: Option<Programs>) {
    let agent = cluster.agent_mut(0);
    agent.terminate().unwrap();
    agent.set_version(programs);
    agent.restart().unwrap();
}

fn answers(from: &Pod, to: &Pod) {
    for at in to.at(POD_PORT) {
        let answer = ask_tcp(from, at).unwrap();
        assert_eq!(answer.name, to.name());
    }
}

#[test]
fn pods_keep_theirs_when_new_ones_get_another() {
    let mut cluster = Cluster::start_version("kinds", &["a"], &SMALL, Some(&told("veth"))).unwrap();
    let old = cluster.pod(0, "old").unwrap();
    is_of_kind(&old, "veth");
    restart(&mut cluster, None);
    let new = cluster.pod(0, "new").unwrap();
    is_of_kind(&new, best().name());
    is_of_kind(&old, "veth");
    let expected = [("default/new", best().name()), ("default/old", "veth")];
    let expected = expected.map(|(pod, device)| (pod.to_owned(), device.to_owned()));
    assert_eq!(recorded(&cluster, 0), expected);
    let _servers = [&old, &new].map(|pod| serve(pod).unwrap());
    answers(&old, &new);
    answers(&new, &old);
    restart(&mut cluster, Some(told("veth")));
    answers(&old, &new);
    answers(&new, &old);
}

#[test]
fn netkit_where_there_is_none_is_refused_clearly_and_nothing_else_breaks() {
    let mut cluster = Cluster::start("refused", &["a"], &SMALL).unwrap();
    let old = cluster.pod(0, "old").unwrap();
    restart(&mut cluster, Some(told("netkit")));
    let made = cluster.pod(0, "new");
    let (_, status) = cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
    let new = if has_netkit() {
        made.unwrap()
    } else {
        let error = format!("{:#}", made.err().unwrap());
        for words in ["this kernel has no netkit", "hint: set cni.device"] {
            assert!(error.contains(words), "{error}");
            assert!(status.contains(words), "{status}");
        }
        restart(&mut cluster, None);
        cluster.pod(0, "newer").unwrap()
    };
    is_of_kind(&new, best().name());
    let _servers = [&old, &new].map(|pod| serve(pod).unwrap());
    answers(&old, &new);
    answers(&new, &old);
}

#[test]
fn they_let_packets_of_many_segments_grow_as_the_nodes_link_does() {
    let mut cluster = Cluster::start("sizes", &["a", "b"], &SMALL).unwrap();
    let size = |pod: &Pod| {
        let told = pod
            .run(&["ip", "-details", "link", "show", "eth0"])
            .unwrap();
        let mut words = told.split_whitespace();
        words.find(|word| *word == "gso_max_size").unwrap();
        words.next().unwrap().to_owned()
    };
    let usual = cluster.pod(0, "usual").unwrap();
    assert_eq!(size(&usual), "65536");
    for node in [0, 1] {
        let node = cluster.node(node);
        node.batch("link set eth0 gso_max_size 150000 gro_max_size 150000\n")
            .unwrap();
    }
    for node in [0, 1] {
        let agent = cluster.agent_mut(node);
        agent.terminate().unwrap();
        agent.restart().unwrap();
    }
    let [near, other] = ["near", "other"].map(|name| cluster.pod(0, name).unwrap());
    let far = cluster.pod(1, "far").unwrap();
    for pod in [&near, &other, &far] {
        assert_eq!(size(pod), "150000");
    }
    assert_eq!(size(&usual), "65536");
    // Of whatever size, all of it arrives, in Services too.
    let _servers = [&near, &far].map(|pod| serve(pod).unwrap());
    for pod in [&near, &far] {
        let service = cluster.service("web", 80, &[pod], &serde_json::json!({}));
        let at = service.unwrap().map(|ip| (ip, 80).into());
        for to in pod.at(POD_PORT).into_iter().chain(at) {
            let mut talk = cluster
                .eventually("an answer", || {
                    let talk = weir_tests::world::Talk::open(&other, to).ok();
                    talk.filter(|talk| talk.name() == pod.name())
                })
                .unwrap();
            talk.stream(2 << 20).unwrap();
        }
    }
}
