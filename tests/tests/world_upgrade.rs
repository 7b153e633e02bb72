//! The node goes over from an older version to ours, back, and to ours again, under traffic. The older version's programs
//! are those of its own commit.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use proxy_agent::datapath::Pins;
use serde_json::{Value, json};
use weir_tests::{
    older::{self, SCHEMA_1},
    served::{await_answer, only_client, serve, service},
    traffic::{self, Cast},
    world::{Cluster, Pod, Programs, Server, ask_tcp, ask_udp},
};

/// Traffic between two changes.
const REST: Duration = Duration::from_secs(1);
/// Connections by which a client's affinity is seen.
const ASKED: usize = 10;

/// Pods that serve, who may ask them, and who may not.
struct Scene {
    servers: Vec<Server>,
    web: Pod,
    /// Alive as long as the scene.
    _other: Pod,
    client: Arc<Pod>,
    stranger: Arc<Pod>,
    to: [SocketAddr; 2],
    /// A Service of both pods, whose clients keep to one.
    kept: [SocketAddr; 2],
    older: Programs,
    // Ends last.
    cluster: Cluster,
}

impl Scene {
    /// Where policy lets the client in by so many ranges of ports; by all of them, if none.
    fn start(name: &str, flags: &[&str], ranges: u16) -> Result<Self> {
        let older = older::programs(SCHEMA_1)?;
        let mut all = vec!["--map-size", "small", "--conntrack-max", "65536"];
        all.extend(flags);
        let cluster = Cluster::start_version(name, &["a"], &all, Some(&older))?;
        let [client, stranger, web, other] =
            ["client", "stranger", "web", "other"].map(|name| cluster.pod(0, name));
        let (client, stranger, web, other) = (client?, stranger?, web?, other?);
        let mut servers = serve(&web)?;
        servers.extend(serve(&other)?);
        let to = service(&cluster, "web", 80, &[&web])?;
        let affinity = json!({ "sessionAffinity": "ClientIP" });
        let kept = cluster.service("kept", 81, &[&web, &other], &affinity)?;
        let kept = kept.map(|address| SocketAddr::new(address, 80));
        cluster
            .manifests()
            .apply_objects("policy.yaml", &only_client(&ports(ranges)))?;
        for to in to.iter().chain(&kept) {
            await_answer(&cluster, &client, *to)?;
        }
        Ok(Self {
            servers,
            web,
            _other: other,
            client: Arc::new(client),
            stranger: Arc::new(stranger),
            to,
            kept,
            older,
            cluster,
        })
    }

    /// Our version takes the node over.
    fn up(&mut self) -> Result<()> {
        let agent = self.cluster.agent_mut(0);
        agent.terminate()?;
        agent.set_version(None);
        agent.restart()?;
        thread::sleep(REST);
        self.only_schema(2)
    }

    /// Our version leaves, and the older one takes the node over.
    fn down(&mut self) -> Result<()> {
        older::hand_over(self.cluster.agent_mut(0), &self.older)?;
        thread::sleep(REST);
        self.only_schema(1)
    }

    fn only_schema(&self, schema: u32) -> Result<()> {
        let folder = self.cluster.node(0).file("/sys/fs/bpf");
        let pins = Pins::new(&folder, "default")?;
        for other in [1, 2] {
            let exists = pins.schema(other).exists();
            ensure!(exists == (other == schema), "schema {other}: {exists}");
        }
        Ok(())
    }

    /// Who serves the client by its affinity, of each address and way of asking.
    fn served_by(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for to in self.kept {
            let first = ask_tcp(&self.client, to).context("ask by TCP")?.name;
            for _ in 0..ASKED {
                let again = ask_tcp(&self.client, to).context("ask by TCP")?.name;
                ensure!(again == first, "{to}: {first}, then {again}");
            }
            names.push(first);
        }
        Ok(names)
    }

    /// Nobody but friends was heard.
    fn heard_of_friends_only(&self) -> Result<()> {
        let strange = self.stranger.addresses();
        for server in &self.servers {
            let at_web = self.web.addresses().contains(&server.address().ip());
            let heard = server
                .peers()
                .iter()
                .any(|peer| strange.contains(&peer.ip()));
            ensure!(
                !(at_web && heard),
                "the stranger was heard at {}",
                server.address()
            );
        }
        Ok(())
    }
}

/// So many ranges, no two of them neighbours, TCP's 8080 in the last but one and UDP's in the last.
fn ports(ranges: u16) -> Value {
    let first = |n: u16| 8080 - 4 * n;
    let range = |n: u16| json!({ "port": first(n), "endPort": first(n) + 1 });
    let tcp = (1..ranges).map(|n| range(n - 1)).rev();
    let udp = json!({ "port": 8080, "protocol": "UDP" });
    tcp.chain((ranges > 0).then_some(udp)).collect()
}

fn up_down_and_up_again(name: &str, flags: &[&str], ranges: u16) -> Result<()> {
    let mut scene = Scene::start(name, flags, ranges)?;
    let kept = scene.served_by()?;
    let (client, stranger) = (Arc::clone(&scene.client), Arc::clone(&scene.stranger));
    let (to, denied) = (scene.to, scene.web.at(8080));
    let cast = Cast {
        client: &client,
        stranger: &stranger,
        to: &to,
        denied: &denied,
    };
    let course = traffic::during(&cast, || {
        for (step, down) in [("up", false), ("down", true), ("up again", false)] {
            if down { scene.down() } else { scene.up() }.context(step)?;
            let now = scene.served_by().context(step)?;
            ensure!(
                now == kept,
                "{step}: clients kept to {kept:?}, now to {now:?}"
            );
        }
        Ok(())
    });
    let ((), counts) = course.with_context(|| format!("agents said:\n{}", scene.cluster.logs()))?;
    counts.suffice()?;
    ask_udp(&scene.client, scene.to[0], b"?").context("the client's datagram")?;
    scene.heard_of_friends_only()?;
    Ok(())
}

#[test]
fn from_schema_1_and_back_with_balancing_at_the_socket() {
    up_down_and_up_again("updown", &[], 0).unwrap();
}

#[test]
fn from_schema_1_and_back_packet_by_packet() {
    up_down_and_up_again("updownpkt", &["--socket-balancing", "false"], 0).unwrap();
}

/// In schema 1 such a list is a chain of blocks, in ours a tree: the last range is in another block than the first.
#[test]
fn from_schema_1_and_back_with_long_lists_of_ports() {
    for (name, ranges) in [("updown21", 21), ("updown160", 160)] {
        up_down_and_up_again(name, &[], ranges).unwrap();
    }
}
