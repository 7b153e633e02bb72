//! What an outside hand does to the maps, the running agent finds and sets right.

use proxy_agent::datapath::{Maps, Table as _, Words as _};
use proxy_common::{
    address::address4,
    policy::{
        cells::{ALLOW_ALL, ROW_STRIDE},
        peers::PeerKey4,
        words::{PolicyWord, ROW_ALLOW_ALL},
    },
};
use serde_json::json;
use weir_tests::{
    datapath::reader,
    served::{only_client, serve, service},
    world::{Cluster, Node, Pod, ask_tcp, cluster::POD_PORT, until},
};

use super::fixture::{PATIENCE, service_maps};

const CONFIGURATION: &str =
    "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\nsync: { fullPeriod: 1s }\n";

/// An agent that compares every second.
pub(super) fn start(name: &str) -> Cluster {
    let configuration = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(configuration.path(), CONFIGURATION).unwrap();
    let path = configuration.path().to_str().unwrap();
    Cluster::start(name, &["a"], &["--map-size", "small", "--config", path]).unwrap()
}

fn reaches(from: &Pod, to: &Pod) -> bool {
    ask_tcp(from, to.at(POD_PORT)[0]).is_ok()
}

fn key(maps: &Maps, pod: &Pod, endpoint: u32) -> PeerKey4 {
    PeerKey4 {
        side: PolicyWord::unpack(maps.policy_words.get(endpoint)).side,
        address: address4(pod.ipv4().octets()),
    }
}

fn endpoint(maps: &Maps, pod: &Pod) -> u32 {
    let address = address4(pod.ipv4().octets());
    maps.local_pods4.get(&address).unwrap().unwrap()
}

/// Waits until policy is as it was, but for the epoch of an endpoint, which must have grown.
fn await_policy(node: &Node, endpoint: u32, before: &Policy, what: &str) {
    until(what, PATIENCE, || {
        let now = Policy::read(node, endpoint);
        let newer = now.word.epoch > before.word.epoch;
        let word = PolicyWord {
            epoch: before.word.epoch,
            ..now.word
        };
        Ok((newer && Policy { word, ..now } == *before).then_some(()))
    })
    .unwrap();
}

/// What judges an endpoint.
#[derive(Debug, PartialEq)]
struct Policy {
    peers: Vec<String>,
    ranges: Vec<String>,
    row: Vec<u64>,
    word: PolicyWord,
}

impl Policy {
    fn read(node: &Node, endpoint: u32) -> Self {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let word = PolicyWord::unpack(maps.policy_words.get(endpoint));
        let header = word.ingress_row * ROW_STRIDE;
        let classes = maps.policy_cells.get(header) as u32;
        let row = (header..=header + classes).map(|i| maps.policy_cells.get(i));
        let mut peers: Vec<_> = maps
            .peers4
            .entries()
            .unwrap()
            .iter()
            .map(|e| format!("{e:?}"))
            .collect();
        let mut ranges: Vec<_> = maps
            .cidrs4
            .entries()
            .unwrap()
            .iter()
            .map(|e| format!("{e:?}"))
            .collect();
        peers.sort();
        ranges.sort();
        Self {
            peers,
            ranges,
            row: row.collect(),
            word,
        }
    }
}

#[test]
fn changed_policy_is_set_right() {
    let cluster = start("drift-policy");
    let node = cluster.node(0);
    let [client, web, stranger] =
        ["client", "web", "stranger"].map(|name| cluster.pod(0, name).unwrap());
    let _servers = serve(&web).unwrap();
    cluster
        .manifests()
        .apply_objects("policy.yaml", &only_client(&json!([])))
        .unwrap();
    let settled = || reaches(&client, &web) && !reaches(&stranger, &web);
    cluster
        .eventually("policy to be in force", || settled().then_some(()))
        .unwrap();
    // What the change replaced is freed a second later.
    std::thread::sleep(std::time::Duration::from_secs(2));

    let reader = reader(node).unwrap();
    let maps = reader.maps();
    let web_id = endpoint(maps, &web);
    let before = Policy::read(node, web_id);
    let (mut peers, mut cells, mut words) = (
        maps.peers4.clone(),
        maps.policy_cells.clone(),
        maps.policy_words.clone(),
    );

    // A peer is another's, one is gone.
    let (good, bad) = (key(maps, &client, web_id), key(maps, &stranger, web_id));
    let friend = peers.get(&good).unwrap().unwrap();
    peers.set(&bad, &friend).unwrap();
    peers.remove(&good).unwrap();
    await_policy(node, web_id, &before, "the peers to be set right");
    assert!(settled());

    // A cell lets everything through.
    let before = Policy::read(node, web_id);
    let stranger_class = peers.get(&bad).unwrap().unwrap().class;
    let index = before.word.ingress_row * ROW_STRIDE + 1 + stranger_class;
    assert_eq!(cells.get(index), 0, "the stranger is denied");
    cells.set(index, ALLOW_ALL);
    await_policy(node, web_id, &before, "the cell to be set right");
    assert!(settled());

    // A word names the row that allows everything.
    let before = Policy::read(node, web_id);
    let open = PolicyWord {
        ingress_row: ROW_ALLOW_ALL,
        ..before.word
    };
    words.set(web_id, open.pack());
    await_policy(node, web_id, &before, "the word to be set right");
    assert!(settled());

    await_told(&cluster, "maps of policy were changed by somebody else");
    no_difference(&cluster);
}

fn no_difference(cluster: &Cluster) {
    until("maps to be as they should be", PATIENCE, || {
        let told = cluster.agent(0).proxyctl(&["diff"])?;
        Ok(told.is_empty().then_some(()))
    })
    .unwrap();
}

/// A comparison tells when it has come to its end, after what it found is set right.
fn await_told(cluster: &Cluster, what: &str) {
    let agent = cluster.agent(0);
    until("the log to tell", PATIENCE, || {
        Ok(agent.log().contains(what).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {what}\n{}", agent.log()));
}

#[test]
fn changed_services_are_set_right() {
    let cluster = start("drift-services");
    let node = cluster.node(0);
    let [client, web] = ["client", "web"].map(|name| cluster.pod(0, name).unwrap());
    let _servers = serve(&web).unwrap();
    let [vip, _] = service(&cluster, "web", 10, &[&web]).unwrap();
    cluster
        .eventually("the Service to answer", || ask_tcp(&client, vip).ok())
        .unwrap();
    let before = service_maps(node);

    let reader = reader(node).unwrap();
    let maps = reader.maps();
    let mut frontends = maps.frontends4.clone();
    for (key, _) in frontends.entries().unwrap() {
        frontends.remove(&key).unwrap();
    }
    let mut backends = maps.backends4.clone();
    for (id, mut backend) in backends.entries().unwrap() {
        backend.port ^= 1;
        backends.set(&id, &backend).unwrap();
    }
    assert_ne!(service_maps(node), before);
    until("the Services' frontends to be back", PATIENCE, || {
        Ok(ask_tcp(&client, vip).ok().map(drop))
    })
    .unwrap();
    until("all frontends to be back", PATIENCE, || {
        Ok((service_maps(node)["frontends4"].len() == before["frontends4"].len()).then_some(()))
    })
    .unwrap();
    await_told(&cluster, "maps of Services were changed by somebody else");
    no_difference(&cluster);
}
