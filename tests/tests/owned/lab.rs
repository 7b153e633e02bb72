//! Two nodes whose traffic needs all that is broken.

use std::net::SocketAddr;

use proxy_agent::agent::owned::{Care, Owned};
use serde_json::{Value, json};
use weir_tests::{
    served::{Served, await_answer, near_then_far},
    world::{Cluster, Node, Place, Pod, ask_tcp, until},
};

/// Two nodes, a pod on each, one behind a Service each, and a client.
pub(crate) struct Lab {
    far: Served,
    near: Served,
    client: Pod,
    /// Of what is broken, for a shell.
    names: String,
    pub(crate) cluster: Cluster,
}

/// The host's side of a pod's interface.
fn veth(cluster: &Cluster, pod: &Pod) -> String {
    let route = ["ip", "-o", "route", "get", &pod.ipv4().to_string()];
    let route = cluster.node(0).run(&route).unwrap();
    let mut words = route.split_whitespace();
    words.find(|word| *word == "dev").unwrap();
    words.next().unwrap().to_owned()
}

/// Assignments of a shell, of a pod and of a limited one.
fn names(cluster: &Cluster, pods: [&Pod; 2]) -> String {
    let [veth, limited] = pods.map(|pod| veth(cluster, pod));
    let list = ["sh", "-c", "ls /sys/class/net | grep ^weirq"];
    let pair = cluster.node(0).run(&list).unwrap();
    let of = |end| pair.lines().find(|name| name.ends_with(end)).unwrap();
    let (entry, end) = (of('i'), of('o'));
    format!("veth={veth}; limited={limited}; entry={entry}; end={end}")
}

impl Lab {
    pub(crate) fn start(routing: &str) -> Self {
        let flags = [
            "--map-size",
            "small",
            "--routing",
            routing,
            "--xdp",
            "native",
        ];
        let cluster = Cluster::start("owned", &["a", "b"], &flags).unwrap();
        let limits = json!({
            "kubernetes.io/ingress-bandwidth": "1G", "kubernetes.io/egress-bandwidth": "1G",
        });
        let client = cluster.annotated_pod(0, "client", &limits, &json!({}));
        let client = client.unwrap();
        let mut served = near_then_far(&cluster).map(Result::unwrap);
        let (near, far) = (served.next().unwrap(), served.next().unwrap());
        drop(served);
        let names = names(&cluster, [&near.pod, &client]);
        let lab = Self {
            far,
            near,
            client,
            names,
            cluster,
        };
        for to in lab.near.to.into_iter().chain(lab.far.to) {
            await_answer(&lab.cluster, &lab.client, to).unwrap();
        }
        lab
    }

    pub(crate) fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    pub(crate) fn shell(&self, script: &str) -> String {
        let script = format!("{}; {script}", self.names);
        let done = self.node().run(&["sh", "-c", &script]);
        done.unwrap_or_else(|error| error.to_string())
    }

    /// The host without hooks, to Services and to pods; a pod to both.
    fn everything_works(&self) -> bool {
        let outsider = self.node().outsider().unwrap();
        let pods = self
            .near
            .pod
            .at(8080)
            .into_iter()
            .chain(self.far.pod.at(8080));
        let all: Vec<SocketAddr> = pods.chain(self.near.to).chain(self.far.to).collect();
        let asks = |place: &Place| all.iter().all(|to| ask_tcp(place, *to).is_ok());
        asks(&outsider) && asks(&self.client) && asks(self.node())
    }

    /// Waits until traffic goes everywhere.
    pub(crate) fn works(&self) {
        let works = || self.everything_works().then_some(());
        self.cluster.eventually("traffic", works).unwrap();
    }

    pub(crate) fn heals(&self, care: &Care, harm: impl Fn(), well: impl Fn() -> bool) {
        assert!(well(), "{care:?}: not well to begin with");
        let before = self.repairs(care.what);
        harm();
        let back = until(&format!("{care:?} to be back"), care.within, || {
            Ok(well().then_some(()))
        });
        back.unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.agent(0).log()));
        self.cluster
            .eventually(&format!("traffic after {care:?}"), || {
                self.everything_works().then_some(())
            })
            .unwrap();
        let told = || (self.repairs(care.what) > before).then_some(());
        self.cluster
            .eventually(&format!("{care:?} to be told"), told)
            .unwrap();
    }

    pub(crate) fn status(&self) -> Value {
        let words = ["status", "-o", "json"];
        let (_, told) = self.cluster.agent(0).proxyctl_verdict(&words).unwrap();
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
    }

    /// How often such a thing was put back, by the agent's own word.
    fn repairs(&self, what: Owned) -> u64 {
        // A pair that is gone is one whose limits are gone.
        let what = match what {
            Owned::PodQueues => Owned::PodLimits,
            what => what,
        };
        let times = &self.status()["repairs"]["times"][what.name()];
        times.as_u64().unwrap_or_default()
    }
}
