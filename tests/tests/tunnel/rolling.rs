//! `routing` changes on a live cluster, agent by agent.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::{
    length::steps,
    world::{Cluster, Place, Pod, Talk, ask_tcp, ask_udp, cluster::SERVICE_PORT, until},
};

use super::bed::{Bed, MODES, PATIENCE, PORT};

/// Between two agents; the long form waits longer than what is sent by a former way is still taken by what nobody needs.
fn apart() -> Duration {
    Duration::from_secs(steps(4, 13))
}
/// Between two asks.
const BEAT: Duration = Duration::from_millis(5);
/// Ports of nodes, by which the pod of the other node is reached.
const NODE_PORTS: [u16; 2] = [30081, 30082];

fn node_ports(port: u16) -> Value {
    let of = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": PORT, "nodePort": port });
    json!({ "type": "NodePort", "ports": [of("tcp", "TCP"), of("udp", "UDP")] })
}

/// What went on meanwhile, and what was lost of it.
#[derive(Default)]
struct Course {
    over: AtomicBool,
    asked: AtomicUsize,
    lost: Mutex<Vec<String>>,
    /// What is being changed.
    now: Mutex<String>,
}

impl Course {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn lose(&self, what: &str) {
        let now = self.now.lock().unwrap().clone();
        self.lost.lock().unwrap().push(format!("{now}: {what}"));
    }

    /// Connections and datagrams, one after the other.
    fn ask(&self, who: &str, place: &Place, to: SocketAddr) {
        while self.goes_on() {
            self.asked.fetch_add(2, Ordering::Relaxed);
            if let Err(error) = ask_udp(place, to, b"?") {
                self.lose(&format!("a datagram of {who} to {to}: {error}"));
            }
            if let Err(error) = ask_tcp(place, to) {
                self.lose(&format!("a connection of {who} to {to}: {error}"));
            }
            thread::sleep(BEAT);
        }
    }

    /// One connection all the while, with full packets in both directions.
    fn stream(&self, who: &str, mut talk: Talk) {
        while self.goes_on() {
            if let Err(error) = talk.stream(1 << 16) {
                return self.lose(&format!("the stream of {who}: {error}"));
            }
            thread::sleep(BEAT);
        }
    }
}

/// Ends the traffic, also when what goes on meanwhile fails.
struct End<'a>(&'a Course);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Replaces the agent of each node in this order by one with another `routing`.
fn roll(cluster: &mut Cluster, course: &Course, mode: &[&str], routing: &str, order: [usize; 2]) {
    for node in order {
        *course.now.lock().unwrap() = format!("{mode:?}: node {node} to {routing}");
        let flags = [&["--map-size", "small", "--routing", routing], mode].concat();
        let agent = cluster.agent_mut(node);
        agent.terminate().unwrap();
        agent.set_flags(&flags);
        agent.restart().unwrap();
        let way = if routing == "tunnel" {
            "tunnel 2"
        } else {
            "direct 2"
        };
        // The other node may ask for the tunnel still, which is told to this one by nobody.
        until(way, PATIENCE, || {
            let (_, status) = agent.proxyctl_verdict(&["status"])?;
            let ways = status.lines().find(|line| line.starts_with("Ways"));
            Ok(ways.is_some_and(|line| line.contains(way)).then_some(()))
        })
        .unwrap();
        thread::sleep(apart());
    }
}

#[test]
fn routing_changes_agent_by_agent_and_nothing_is_lost() {
    let modes = [MODES[0], MODES[2]];
    for mode in modes.into_iter().take(steps(1, 2) as usize) {
        let flags = [&["--map-size", "small", "--routing", "direct"], mode].concat();
        let bed = Bed::on(Cluster::start("rolling", &["a", "b"], &flags).unwrap());
        // Pods end before their cluster.
        let Bed {
            mut cluster,
            near,
            far,
            other: _other,
            ..
        } = bed;
        let services: [(&Pod, &str, u16); 2] =
            [(&far, "far", NODE_PORTS[0]), (&near, "near", NODE_PORTS[1])];
        for (number, (pod, name, port)) in services.into_iter().enumerate() {
            let number = 80 + u8::try_from(number).unwrap();
            cluster
                .service(name, number, &[pod], &node_ports(port))
                .unwrap();
        }
        let outside = cluster.world().outside().clone();
        let nodes = [0, 1].map(|node| cluster.node(node).clone());
        let mut asks: Vec<(&str, &Place, SocketAddr)> = Vec::new();
        for family in [0, 1] {
            let [to_far, to_near] = [far.at(PORT)[family], near.at(PORT)[family]];
            let at = |node: usize| (nodes[node].addresses()[family], NODE_PORTS[node]).into();
            asks.push(("the near pod", &near, to_far));
            asks.push(("the far pod", &far, to_near));
            asks.push(("the near node", &nodes[0], to_far));
            asks.push(("the far node", &nodes[1], to_near));
            asks.push(("the outside", &outside, at(0)));
            asks.push(("the outside", &outside, at(1)));
        }
        for (who, place, to) in &asks {
            until(&format!("an answer of {to} to {who}"), PATIENCE, || {
                Ok(ask_tcp(place, *to).ok())
            })
            .unwrap();
        }
        let course = Course::default();
        thread::scope(|scope| {
            let course = &course;
            for (who, place, to) in asks {
                scope.spawn(move || course.ask(who, place, to));
                // Through the stack, what pods send to nodes has its length from before: docs/platforms.md.
                if mode.is_empty() || who.ends_with("pod") {
                    let talk = Talk::open(place, to).unwrap();
                    scope.spawn(move || course.stream(who, talk));
                }
            }
            let end = End(course);
            let changes = [
                ("tunnel", [0, 1]),
                ("direct", [1, 0]),
                ("tunnel", [1, 0]),
                ("auto", [1, 0]),
            ];
            for (routing, order) in changes.into_iter().take(steps(2, 4) as usize) {
                roll(&mut cluster, course, mode, routing, order);
            }
            drop(end);
        });
        let lost = course.lost.into_inner().unwrap();
        let asked = course.asked.into_inner();
        assert!(asked > 1000, "{asked}");
        assert!(
            lost.is_empty(),
            "{} of {asked}: {:#?}",
            lost.len(),
            &lost[..lost.len().min(20)]
        );
    }
}
