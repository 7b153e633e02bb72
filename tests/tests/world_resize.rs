//! Maps grow and shrink under traffic: because they fill, because the configuration says so, at start and while it runs.

use std::{fs, net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use weir_tests::{
    served::{Pair, await_answer, only_client, serve, service},
    told::File,
    traffic::{self, Cast},
    world::{Cluster, Node, Pod, Server, Talk, ask_tcp, http_get, until},
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
        self.with_traffic_to(&self.pair.to, change)
    }

    fn with_traffic_to<T>(
        &self,
        to: &[SocketAddr],
        change: impl FnOnce(&Cluster) -> Result<T>,
    ) -> Result<T> {
        let denied = self.denied();
        let cast = Cast {
            client: &self.pair.client,
            stranger: &self.stranger,
            to,
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
    let maps = |flows: u32, frontends: u32| {
        let cells = frontends * 16;
        format!("conntrack: {flows}, frontends: {frontends}, policyCells: {cells}")
    };
    let file = File::new(&maps(4096, 1024)).unwrap();
    let mut scene = Scene::start("reconfigured", &file.flags().unwrap()).unwrap();
    for (flows, frontends) in [(16384, 4096), (2048, 512), (8192, 2048)] {
        scene
            .during(|cluster| {
                file.tell(&maps(flows, frontends))?;
                for (map, wanted) in [
                    ("FLOWS4", flows),
                    ("FRONTENDS4", frontends),
                    ("POLICY_CELLS", frontends * 16),
                ] {
                    has_capacity(cluster, map, wanted)?;
                }
                Ok(())
            })
            .unwrap();
    }
    let mut talk = Talk::open(&scene.pair.client, scene.pair.to[0]).unwrap();
    scene.pair.cluster.agent_mut(0).crash().unwrap();
    file.tell(&maps(4096, 4096)).unwrap();
    scene.pair.cluster.agent_mut(0).restart().unwrap();
    assert_eq!(capacity(&scene.pair.cluster, "FLOWS4").unwrap(), 4096);
    assert_eq!(capacity(&scene.pair.cluster, "FRONTENDS4").unwrap(), 4096);
    talk.echo("still there").unwrap();
    scene.during(|_| Ok(())).unwrap();
}

/// The exchange of maps, which a test holds up.
const EXCHANGE: &str = "exchange of maps";

/// As `/livez` says it.
fn exchange_stands_still(node: &Node) -> Result<Option<()>> {
    let (_, text) = http_get(node, ([127, 0, 0, 1], 10256).into(), "/livez")?;
    Ok(text
        .contains(&format!("{EXCHANGE} has stood still"))
        .then_some(()))
}

/// Services, policies and pods that come and go while maps stand ready to be exchanged are served meanwhile, and after the exchange.
#[test]
fn nobody_waits_for_an_exchange_of_maps() {
    let file = File::new("frontends: 1024, policyCells: 16384").unwrap();
    let scene = Scene::start("held", &file.flags().unwrap()).unwrap();
    let Pair {
        cluster,
        client,
        far,
        ..
    } = &scene.pair;
    let node = cluster.node(0);
    let faults = node.file("/run/weir/faults");
    fs::create_dir_all(&faults).unwrap();
    // Its limit, in seconds.
    fs::write(faults.join(EXCHANGE), "1").unwrap();
    let gone = service(cluster, "gone", 90, &[far]).unwrap();
    await_answer(cluster, client, gone[0]).unwrap();
    file.tell("frontends: 4096, policyCells: 65536").unwrap();
    until("the exchange to be held up", PATIENCE, || {
        exchange_stands_still(node)
    })
    .unwrap();
    let come = service(cluster, "come", 91, &[far]).unwrap();
    await_answer(cluster, client, come[0]).unwrap();
    cluster.service("gone", 90, &[], &json!({})).unwrap();
    cluster
        .eventually("no answer", || {
            ask_tcp(client, gone[0]).is_err().then_some(())
        })
        .unwrap();
    let pod = cluster.pod(0, "late").unwrap();
    let _servers = serve(&pod).unwrap();
    await_answer(cluster, client, pod.at(8080)[0]).unwrap();
    let manifests = cluster.manifests();
    manifests
        .apply_objects("late.yaml", &many_ranges("late", 0))
        .unwrap();
    let closed = || (reaches(client, &pod) == Some(false)).then_some(());
    cluster
        .eventually("the new pod to be closed", closed)
        .unwrap();
    assert_eq!(capacity(cluster, "FRONTENDS4").unwrap(), 1024);
    fs::remove_file(faults.join(EXCHANGE)).unwrap();
    has_capacity(cluster, "FRONTENDS4", 4096).unwrap();
    has_capacity(cluster, "POLICY_CELLS", 65536).unwrap();
    await_answer(cluster, client, come[0]).unwrap();
    ask_tcp(client, gone[0]).unwrap_err();
    assert_eq!(reaches(client, &pod), Some(false));
    scene.during(|_| Ok(())).unwrap();
}

fn has_capacity(cluster: &Cluster, map: &str, wanted: u32) -> Result<()> {
    until(&format!("{map} to have {wanted}"), PATIENCE, || {
        Ok((capacity(cluster, map)? == u64::from(wanted)).then_some(()))
    })
}

/// Whether the client reaches a pod by both families, or by neither; none while that changes.
fn reaches(client: &Pod, to: &Pod) -> Option<bool> {
    let [v4, v6] = to.at(8080).map(|to| ask_tcp(client, to).is_ok());
    (v4 == v6).then_some(v4)
}

/// A policy of a pod, of so many ranges of ports, 8080 the first; none is let in by no range.
fn many_ranges(pod: &str, count: u16) -> [Value; 1] {
    let ports: Vec<Value> = (0..count)
        .map(|n| json!({ "port": 8080 + 2 * n }))
        .collect();
    // No ports would be all.
    let rules: Vec<Value> = (!ports.is_empty())
        .then(|| json!({ "ports": ports }))
        .into_iter()
        .collect();
    let spec = json!({
        "podSelector": { "matchLabels": { "app": pod } },
        "policyTypes": ["Ingress"],
        "ingress": rules,
    });
    [json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "many", "namespace": "default" }, "spec": spec,
    })]
}

/// A policy of `near`, of so many blocks and of so many ports, 8080 among them, that lets the client in and the stranger not.
fn giant(count: u16) -> [Value; 1] {
    let block = |n: u16| {
        let [high, low] = n.to_be_bytes();
        json!({ "ipBlock": { "cidr": format!("100.{}.{low}.0/24", 16 + high) } })
    };
    let client = json!({ "podSelector": { "matchLabels": { "app": "client" } } });
    let from: Vec<Value> = (0..count).map(block).chain([client]).collect();
    let port = |n: u16, protocol: &str| json!({ "port": 8080 + 2 * n, "protocol": protocol });
    let ports: Vec<Value> = (0..count)
        .flat_map(|n| [port(n, "TCP"), port(n, "UDP")])
        .collect();
    let spec = json!({
        "podSelector": { "matchLabels": { "app": "near" } },
        "policyTypes": ["Ingress"],
        "ingress": [{ "from": from, "ports": ports }],
    });
    [json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "giant", "namespace": "default" }, "spec": spec,
    })]
}

/// While maps grow for a policy that has no room, nobody notices: neither pods that it does not select, nor the ones that it
/// selects, by whom it lets in; whom another policy forbids is never let in.
#[test]
fn a_giant_policy_waits_until_maps_have_grown_and_nobody_notices() {
    let small = ["maps.intervals=8", "maps.cidrs=16", "maps.policyCells=1024"];
    let flags: Vec<&str> = small.iter().flat_map(|set| ["--set", set]).collect();
    let scene = Scene::start("giant", &flags).unwrap();
    let near = &scene.pair.near;
    let _servers = serve(near).unwrap();
    let to = [&scene.pair.to[..], &near.at(8080)].concat();
    for address in &to {
        await_answer(&scene.pair.cluster, &scene.pair.client, *address).unwrap();
    }
    assert_eq!(reaches(&scene.stranger, near), Some(true));
    scene
        .with_traffic_to(&to, |cluster| {
            cluster
                .manifests()
                .apply_objects("giant.yaml", &giant(1000))?;
            until("the policy to be in force", PATIENCE, || {
                Ok((reaches(&scene.stranger, near) == Some(false)).then_some(()))
            })?;
            ensure!(capacity(cluster, "INTERVALS")? > 8);
            ensure!(capacity(cluster, "CIDRS4")? >= 1000);
            let (_, said) = cluster.agent(0).proxyctl_verdict(&["status"])?;
            ensure!(!said.contains("giant"), "{said}");
            Ok(())
        })
        .unwrap();
    let log = scene.pair.cluster.logs();
    assert!(log.contains("NetworkPolicy waits for room"), "{log}");
    assert!(!log.contains("NetworkPolicy refused"), "{log}");
}

/// What finds no room within the memory that maps may have is refused, by name, until they may have more; others do not notice.
#[test]
fn maps_grow_as_far_as_memory_allows_and_on_when_it_allows_more() {
    let file = File::new("intervals: 8, memory: 1").unwrap();
    let scene = Scene::start("memory", &file.flags().unwrap()).unwrap();
    let (client, near) = (&scene.pair.client, &scene.pair.near);
    let _servers = serve(near).unwrap();
    assert_eq!(reaches(client, near), Some(true));
    let status = |cluster: &Cluster| cluster.agent(0).proxyctl_verdict(&["status"]);
    scene
        .during(|cluster| {
            cluster
                .manifests()
                .apply_objects("many.yaml", &many_ranges("near", 400))?;
            until("the policy to be refused", PATIENCE, || {
                let (_, said) = status(cluster)?;
                let told = said.contains("default/many: INTERVALS has no room");
                Ok((told && reaches(client, near) == Some(false)).then_some(()))
            })?;
            // It is looked every second, and never will be there room.
            thread::sleep(Duration::from_secs(3));
            ensure!(capacity(cluster, "INTERVALS")? == 8);
            ensure!(reaches(client, near) == Some(false), "still refused");
            file.tell("intervals: 8, memory: 64")?;
            until("the policy to be in force", PATIENCE, || {
                Ok((reaches(client, near) == Some(true)).then_some(()))
            })?;
            ensure!(capacity(cluster, "INTERVALS")? >= 20);
            until("nothing to be refused any more", PATIENCE, || {
                let (_, said) = status(cluster)?;
                ensure!(!said.contains("has no room"), "{said}");
                Ok(Some(()))
            })?;
            cluster.manifests().remove("many.yaml")?;
            has_capacity(cluster, "INTERVALS", 8)
        })
        .unwrap();
    assert_eq!(reaches(client, near), Some(true));
}

/// A map that the kernel does not make holds up no other, neither while the agent runs nor when it starts.
#[test]
fn what_the_kernel_refuses_stays_as_it_is_and_holds_up_nothing() {
    let file = File::new("frontends: 1024").unwrap();
    let mut scene = Scene::start("nomemory", &file.flags().unwrap()).unwrap();
    // More buckets than a table may have.
    let huge = |frontends: u32| format!("affinity: {}, frontends: {frontends}", 1_u32 << 31);
    let affinity = capacity(&scene.pair.cluster, "AFFINITY").unwrap();
    scene
        .during(|cluster| {
            file.tell(&huge(2048))?;
            has_capacity(cluster, "FRONTENDS4", 2048)
        })
        .unwrap();
    scene.pair.cluster.agent_mut(0).crash().unwrap();
    file.tell(&huge(4096)).unwrap();
    scene.pair.cluster.agent_mut(0).restart().unwrap();
    assert_eq!(capacity(&scene.pair.cluster, "FRONTENDS4").unwrap(), 4096);
    assert_eq!(capacity(&scene.pair.cluster, "AFFINITY").unwrap(), affinity);
    scene.during(|_| Ok(())).unwrap();
}

/// What pods send out of the cluster, in the node's name, past the stack and through it.
#[test]
fn masqueraded_flows_are_kept_when_maps_are_resized() {
    for (name, forwarding) in [("masqbpf", "bpf"), ("masqstack", "stack")] {
        let file = File::new("conntrack: 4096").unwrap();
        let flags = [&file.flags().unwrap()[..], &["--forwarding", forwarding]].concat();
        let scene = Scene::start(name, &flags).unwrap();
        let internet = scene.pair.cluster.world().internet().unwrap();
        let to = internet.at(7000);
        let servers = to.into_iter().flat_map(|at| {
            [
                Server::tcp(internet.place(), at, "there"),
                Server::udp(internet.place(), at, "there"),
            ]
        });
        let servers: Vec<Server> = servers.collect::<Result<_>>().unwrap();
        for to in to {
            await_answer(&scene.pair.cluster, &scene.pair.client, to).unwrap();
        }
        for flows in [16384, 2048] {
            scene
                .with_traffic_to(&to, |cluster| {
                    file.tell(&format!("conntrack: {flows}"))?;
                    has_capacity(cluster, "FLOWS4", flows)
                })
                .unwrap();
        }
        let own = scene.pair.cluster.node(0).addresses();
        for peer in servers.iter().flat_map(Server::peers) {
            assert!(own.contains(&peer.ip()), "{peer}");
        }
        assert_eq!(
            internet.leaked().unwrap(),
            0,
            "packets with a pod's address"
        );
    }
}
