//! Maps grow and shrink under traffic: because they fill, because the configuration says so, at start and while it runs.

use std::{fs, net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use weir_tests::{
    served::{Pair, await_answer, only_client, serve, service},
    traffic::{self, Cast},
    world::{Cluster, Pod, Talk, until},
};

/// How long a map may take to be resized on a busy machine: the programs are loaded meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);

/// Capacity of a map, as `proxyctl` tells it.
fn capacity(cluster: &Cluster, map: &str) -> Result<u64> {
    let text = cluster
        .agent(0)
        .proxyctl(&["dump", "maps", "--output", "json"])?;
    let maps: Value = serde_json::from_str(&text).context("parse the maps")?;
    let mut maps = maps["items"].as_array().context("no maps")?.iter();
    let found = maps.find(|found| found["name"] == map);
    let found = found.and_then(|found| found["maxEntries"].as_u64());
    found.with_context(|| format!("no map {map} in {text}"))
}

/// A client, who may, a stranger, who may not, and a pod of theirs.
struct Scene {
    stranger: Pod,
    // Ends last.
    pair: Pair,
}

impl Scene {
    fn start(name: &str, flags: &[&str]) -> Result<Self> {
        let cluster = Cluster::start(name, &["a"], flags)?;
        let client = cluster.pod(0, "client")?;
        let stranger = cluster.pod(0, "stranger")?;
        let web = cluster.pod(0, "web")?;
        let servers = serve(&web)?;
        let to = service(&cluster, "web", 80, &[&web])?;
        cluster
            .manifests()
            .apply_objects("policy.yaml", &only_client(&json!([])))?;
        let pair = Pair {
            servers,
            far: web,
            near: cluster.pod(0, "near")?,
            client,
            to,
            cluster,
        };
        pair.await_answers()?;
        Ok(Self { stranger, pair })
    }

    fn denied(&self) -> [SocketAddr; 2] {
        self.pair.far.at(8080)
    }

    fn during<T>(&self, change: impl FnOnce(&Cluster) -> Result<T>) -> Result<T> {
        let denied = self.denied();
        let cast = Cast {
            client: &self.pair.client,
            stranger: &self.stranger,
            to: &self.pair.to,
            denied: &denied,
        };
        let (result, counts) = traffic::during(&cast, || change(&self.pair.cluster))
            .with_context(|| format!("agents said:\n{}", self.pair.cluster.logs()))?;
        counts.suffice()?;
        for server in &self.pair.servers {
            let ours = self.stranger.addresses();
            ensure!(
                server.peers().iter().all(|peer| !ours.contains(&peer.ip())),
                "the stranger was heard"
            );
        }
        Ok(result)
    }
}

#[test]
fn maps_that_fill_grow_under_traffic_and_shrink_again() {
    let small = [
        "maps.frontends=8",
        "maps.backends=8",
        "maps.backendSlots=16",
        "maps.backendMembers=8",
        "maps.conntrack=512",
        "maps.endpoints=16",
        "maps.peers=16",
    ];
    let flags: Vec<&str> = small
        .iter()
        .flat_map(|setting| ["--set", setting])
        .collect();
    let scene = Scene::start("grow", &flags).unwrap();
    scene
        .during(|cluster| {
            for number in 0..30 {
                let name = format!("more{number}");
                service(cluster, &name, 100 + number, &[&scene.pair.far])?;
            }
            for number in 0..30 {
                let to = [10, 96, 0, 100 + number];
                await_answer(cluster, &scene.pair.client, (to, 80).into())?;
            }
            ensure!(capacity(cluster, "FRONTENDS4")? >= 64);
            Ok(())
        })
        .unwrap();
    // As many connections as there were flows, and more.
    let talks: Vec<Talk> = (0..540)
        .map(|_| {
            // No faster than the agent can follow.
            thread::sleep(Duration::from_millis(50));
            Talk::open(&scene.pair.client, scene.pair.to[0]).unwrap_or_else(|error| {
                panic!("{error}; agents said:\n{}", scene.pair.cluster.logs())
            })
        })
        .collect();
    let grown = |map: &str, least: u64| {
        let cluster = &scene.pair.cluster;
        until(&format!("{map} to hold {least}"), PATIENCE, || {
            Ok(capacity(cluster, map).ok().filter(|found| *found >= least))
        })
    };
    grown("FLOWS4", 1024).unwrap();
    for mut talk in talks {
        talk.echo("still there").unwrap();
    }
    let pods = |numbers: std::ops::Range<u32>| -> Vec<Pod> {
        let pod = |number| scene.pair.cluster.pod(0, &format!("pod{number}")).unwrap();
        numbers.map(pod).collect()
    };
    let first = pods(0..8);
    grown("ENDPOINTS", 32).unwrap();
    drop((first, pods(8..16)));
    scene
        .during(|cluster| {
            for number in 0..30 {
                cluster
                    .manifests()
                    .remove(&format!("service-more{number}.yaml"))?;
                cluster
                    .manifests()
                    .remove(&format!("endpoints-more{number}.yaml"))?;
            }
            until("FRONTENDS4 to shrink", PATIENCE, || {
                Ok((capacity(cluster, "FRONTENDS4")? == 8).then_some(()))
            })?;
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_configuration_resizes_maps_under_traffic_and_so_does_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.yaml");
    let tell = |flows: u32, frontends: u32| {
        let text = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\nmaps: {{ size: small, conntrack: {flows}, frontends: {frontends}, policyCells: {} }}\n",
            frontends * 16
        );
        fs::write(folder.path().join("new"), text)?;
        fs::rename(folder.path().join("new"), &path)
    };
    tell(4096, 1024).unwrap();
    let mut scene = Scene::start("reconfigured", &["--config", path.to_str().unwrap()]).unwrap();
    for (flows, frontends) in [(16384, 4096), (2048, 512), (8192, 2048)] {
        scene
            .during(|cluster| {
                tell(flows, frontends)?;
                for (map, wanted) in [
                    ("FLOWS4", flows),
                    ("FRONTENDS4", frontends),
                    ("POLICY_CELLS", frontends * 16),
                ] {
                    until(&format!("{map} to have {wanted}"), PATIENCE, || {
                        Ok((capacity(cluster, map)? == u64::from(wanted)).then_some(()))
                    })?;
                }
                Ok(())
            })
            .unwrap();
    }
    let mut talk = Talk::open(&scene.pair.client, scene.pair.to[0]).unwrap();
    scene.pair.cluster.agent_mut(0).crash().unwrap();
    tell(4096, 4096).unwrap();
    scene.pair.cluster.agent_mut(0).restart().unwrap();
    assert_eq!(capacity(&scene.pair.cluster, "FLOWS4").unwrap(), 4096);
    assert_eq!(capacity(&scene.pair.cluster, "FRONTENDS4").unwrap(), 4096);
    talk.echo("still there").unwrap();
    scene.during(|_| Ok(())).unwrap();
}
