//! Nodes claim ranges of pods of a real API server, with the rights that `deploy/` gives and no others.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use proxy_agent::node::claims::book::{Book, overlap};
use serde_json::json;
use tokio::time::{Instant, sleep};
use weir_tests::controlplane::{ControlPlane, Fault, Proxy};

#[path = "controlplane_ranges/claimer.rs"]
mod claimer;

use claimer::{Claimer, KEEP, Machine};

/// An API server with what `deploy/` puts there.
struct Stage {
    plane: ControlPlane,
    client: Client,
    kubeconfig: PathBuf,
}

impl Stage {
    async fn set() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let client = plane.client().await?;
        let kubeconfig = plane.agents_rights().await?;
        plane.deploy("pod-ranges.yaml").await?;
        Ok(Self {
            plane,
            client,
            kubeconfig,
        })
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn add(&self, name: &str, spec: &[&str], annotation: Option<&str>) -> Result<()> {
        let annotations: BTreeMap<&str, &str> = annotation
            .map(|ranges| ("weir.dev/pod-cidrs", ranges))
            .into_iter()
            .collect();
        let node = json!({
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "podCIDR": spec.first(), "podCIDRs": spec },
        });
        let node: Node = serde_json::from_value(node)?;
        self.nodes().create(&PostParams::default(), &node).await?;
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.nodes().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// What a Node says that it has claimed.
    async fn said(&self, name: &str) -> Result<Option<String>> {
        let annotations = self.nodes().get(name).await?.metadata.annotations;
        Ok(annotations
            .unwrap_or_default()
            .remove("weir.dev/pod-ranges"))
    }

    async fn book(&self) -> Result<Book> {
        let objects = Api::<ConfigMap>::namespaced(self.client.clone(), "kube-system");
        let object = objects.get("weir-pod-ranges").await?;
        let version = object.metadata.resource_version.unwrap_or_default();
        Ok(Book::read(version, &object.data.unwrap_or_default()))
    }

    fn start(&self, machine: &Machine, cluster: &[&str]) -> Result<Claimer> {
        machine.start(&self.kubeconfig, None, cluster)
    }
}

fn disjoint(ranges: &[(String, IpNetwork)]) -> Result<()> {
    for (i, (a, one)) in ranges.iter().enumerate() {
        for (b, other) in &ranges[i + 1..] {
            ensure!(!overlap(*one, *other), "{one} of {a} and {other} of {b}");
        }
    }
    Ok(())
}

const CLUSTER: [&str; 2] = ["10.244.0.0/22", "fd00:10:244::/62"];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_claims_tells_others_and_gives_back() -> Result<()> {
    let stage = Stage::set().await?;
    stage.add("a", &[], None).await?;
    stage.add("b", &["10.244.3.0/24"], None).await?;
    stage
        .add("c", &["10.9.9.0/24"], Some("10.7.0.0/24"))
        .await?;
    let [a, b, c] = ["a", "b", "c"].map(Machine::new);
    let (a, b, c) = (a?, b?, c?);
    // From `spec.podCIDRs` if it is inside and free, from the annotation, or the first free one.
    let on_b = stage.start(&b, &CLUSTER)?;
    on_b.until(&["10.244.3.0/24", "fd00:10:244::/64"]).await?;
    let on_c = stage.start(&c, &CLUSTER)?;
    on_c.until(&["10.7.0.0/24", "fd00:10:244:1::/64"]).await?;
    let on_a = stage.start(&a, &CLUSTER)?;
    on_a.until(&["10.244.0.0/24", "fd00:10:244:2::/64"]).await?;
    ensure!(stage.said("a").await?.as_deref() == Some("10.244.0.0/24,fd00:10:244:2::/64"));
    ensure!(stage.book().await?.claims.len() == 3);

    // An agent that is killed finds its claim again.
    on_a.kill()?;
    let on_a = stage.start(&a, &CLUSTER)?;
    on_a.until(&["10.244.0.0/24", "fd00:10:244:2::/64"]).await?;

    // Somebody takes the annotation away: it is put back.
    let gone = json!({ "metadata": { "annotations": { "weir.dev/pod-ranges": null } } });
    stage
        .nodes()
        .patch("a", &PatchParams::default(), &Patch::Merge(gone))
        .await?;
    on_a.claims.look();
    let end = Instant::now() + Duration::from_mins(1);
    while stage.said("a").await?.is_none() {
        ensure!(Instant::now() < end, "the annotation is not put back");
        sleep(Duration::from_millis(50)).await;
    }

    // A Node that goes, and with it its agent: others give back what it had, but not at once.
    let began = Instant::now();
    on_c.kill()?;
    stage.remove("c").await?;
    let end = began + Duration::from_mins(1);
    while stage.book().await?.claims.len() == 3 {
        ensure!(Instant::now() < end, "nothing is given back");
        sleep(Duration::from_millis(50)).await;
    }
    ensure!(
        began.elapsed() >= KEEP,
        "it was kept for {:?} only",
        began.elapsed()
    );
    ensure!(
        stage
            .book()
            .await?
            .claims
            .iter()
            .all(|claim| claim.node != "c")
    );
    on_b.kill()?;
    on_a.kill()
}

#[tokio::test(flavor = "multi_thread")]
async fn exhaustion_is_told_and_a_range_that_is_added_ends_it() -> Result<()> {
    let stage = Stage::set().await?;
    let small = ["10.244.0.0/24"];
    for name in ["a", "b"] {
        stage.add(name, &[], None).await?;
    }
    let (a, b) = (Machine::new("a")?, Machine::new("b")?);
    let on_a = stage.start(&a, &small)?;
    on_a.until(&small).await?;
    let on_b = stage.start(&b, &small)?;
    on_b.until_told("PodRangesExhausted", "no /24 of 10.244.0.0/24 is free")
        .await?;
    ensure!(on_b.valid().is_empty());
    on_b.configure(&["10.244.0.0/24", "10.245.0.0/16"])?;
    on_b.until(&["10.245.0.0/24"]).await?;
    ensure!(on_b.claims.notices("b").is_empty());

    // A range that another has, by annotation: it is told, and nothing changes.
    let wanted =
        json!({ "metadata": { "annotations": { "weir.dev/pod-cidrs": "10.244.0.128/25" } } });
    stage
        .nodes()
        .patch("b", &PatchParams::default(), &Patch::Merge(wanted))
        .await?;
    on_b.claims.look();
    on_b.until_told(
        "PodRangeTaken",
        "10.244.0.128/25 is not free: node a has it",
    )
    .await?;
    on_b.until(&["10.245.0.0/24"]).await?;
    on_b.kill()?;
    on_a.kill()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_stops_before_others_have_its_range() -> Result<()> {
    let stage = Stage::set().await?;
    let proxy = Proxy::start(&stage.plane).await?;
    let one = ["10.244.0.0/24"];
    for name in ["a", "b"] {
        stage.add(name, &[], None).await?;
    }
    let (a, b) = (Machine::new("a")?, Machine::new("b")?);
    let on_a = a.start(&stage.kubeconfig, Some(proxy.url()), &one)?;
    on_a.until(&one).await?;
    let on_b = stage.start(&b, &one)?;
    on_b.until_told("PodRangesExhausted", "10.244.0.0/24")
        .await?;
    // Cut off, and its Node is deleted: it stops by its own clock, and then b has the range.
    proxy.freeze();
    stage.remove("a").await?;
    on_b.reached("the range", |b| {
        let both = !on_a.valid().is_empty() && !b.valid().is_empty();
        assert!(!both, "both give out addresses");
        !b.valid().is_empty()
    })
    .await?;
    let why = on_a.claims.closed().context("it is not closed")?;
    ensure!(why.contains("could not be confirmed"), "{why}");
    // It comes back, as another Node: its range is gone, and it says that.
    stage.add("a", &[], None).await?;
    proxy.thaw();
    on_a.until_told("PodRangesExhausted", "10.244.0.0/24")
        .await?;
    ensure!(on_a.valid().is_empty() && !on_b.valid().is_empty());
    on_b.kill()?;
    on_a.kill()
}

/// Dice: the runner's, whose seed is told where a test fails.
fn dice(runner: &mut TestRunner, sides: usize) -> Result<usize> {
    let tree = (0..sides).new_tree(runner);
    Ok(tree.map_err(|why| anyhow::anyhow!("{why}"))?.current())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_no_range_is_two_nodes() -> Result<()> {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let stage = Stage::set().await?;
    let proxy = Proxy::start(&stage.plane).await?;
    let mut runner = TestRunner::default();
    let mut machines = BTreeMap::new();
    let mut running: BTreeMap<&str, Claimer> = BTreeMap::new();
    for name in NAMES {
        stage.add(name, &[], None).await?;
        machines.insert(name, Machine::new(name)?);
    }
    // Four ranges for five nodes.
    let end = Instant::now() + Duration::from_secs(40);
    while Instant::now() < end {
        let name = NAMES[dice(&mut runner, NAMES.len())?];
        match dice(&mut runner, 10)? {
            0..=3 => {
                running.remove(name).map_or(Ok(()), Claimer::kill)?;
                let claimer =
                    machines[name].start(&stage.kubeconfig, Some(proxy.url()), &CLUSTER)?;
                running.insert(name, claimer);
            }
            4 => running.remove(name).map_or(Ok(()), Claimer::kill)?,
            5 => drop(stage.remove(name).await),
            6 => drop(stage.add(name, &[], None).await),
            // The answer to a write that was done is lost.
            7 => proxy.fault(&["configmaps/weir-pod-ranges"], Fault::CutAfter(1), Some(2)),
            8 => {
                proxy.freeze();
                sleep(Duration::from_millis(300)).await;
                proxy.thaw();
            }
            _ => running.values().for_each(|claimer| claimer.claims.look()),
        }
        for _ in 0..5 {
            let valid = running.iter().flat_map(|(name, claimer)| {
                let ranges = claimer.valid().into_iter();
                ranges.map(|range| ((*name).to_owned(), range))
            });
            disjoint(&valid.collect::<Vec<_>>())?;
            let book = stage.book().await?;
            ensure!(book.broken.is_empty(), "{:?}", book.broken);
            let claims = book.claims.into_iter().flat_map(|claim| {
                let who = format!("{} {}", claim.node, claim.uid);
                claim
                    .ranges
                    .into_iter()
                    .map(move |range| (who.clone(), range))
            });
            disjoint(&claims.collect::<Vec<_>>())?;
            sleep(Duration::from_millis(40)).await;
        }
    }
    proxy.clear();
    running.into_values().try_for_each(Claimer::kill)
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_one_object() -> Result<()> {
    let stage = Stage::set().await?;
    stage.add("a", &[], None).await?;
    let read = Kubeconfig::read_from(&stage.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    let limited = Client::try_from(config)?;
    let objects = Api::<ConfigMap>::namespaced(limited.clone(), "kube-system");
    objects
        .get("weir-pod-ranges")
        .await
        .context("its own object")?;
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "x": "y" } } }));
    let params = PatchParams::default();
    let forbidden = |what: &str, result: kube::Result<()>| match result {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        other => Err(anyhow::anyhow!("{what}: {other:?}")),
    };
    let other = ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some("other".to_owned()),
            ..Default::default()
        },
        ..ConfigMap::default()
    };
    let all = Api::<ConfigMap>::namespaced(stage.client.clone(), "kube-system");
    all.create(&PostParams::default(), &other).await?;
    forbidden("read", objects.get("other").await.map(drop))?;
    forbidden(
        "patch",
        objects.patch("other", &params, &patch).await.map(drop),
    )?;
    let create = objects.create(&PostParams::default(), &other).await;
    forbidden("create", create.map(drop))?;
    let own = "weir-pod-ranges";
    forbidden(
        "delete",
        objects
            .delete(own, &DeleteParams::default())
            .await
            .map(drop),
    )?;
    let list = objects.list(&kube::api::ListParams::default()).await;
    forbidden("list", list.map(drop))?;
    // What of a Node may be patched shows `controlplane_rights`.
    let nodes = Api::<Node>::all(limited);
    let delete = nodes.delete("a", &DeleteParams::default()).await;
    forbidden("delete of a Node", delete.map(drop))
}
