//! Agents give addresses to Services of a real API server, with the rights that `deploy/` gives and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Service};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_tests::controlplane::{ControlPlane, Proxy};

#[path = "controlplane_pools/giver.rs"]
mod giver;

use giver::{Giver, settings};

/// Far beyond what any change takes, the end of a Lease included.
const PATIENCE: Duration = Duration::from_mins(2);
const CLASS: &str = "weir.dev/load-balancer";
const POOL: (&str, &[&str]) = ("lan", &["192.0.2.1-192.0.2.3", "2001:db8::1-2001:db8::2"]);

/// An API server with what `deploy/` puts there.
struct Stage {
    plane: ControlPlane,
    services: Api<Service>,
    kubeconfig: PathBuf,
}

impl Stage {
    async fn set() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let kubeconfig = plane.agents_kubeconfig().await?;
        plane.deploy("load-balancer.yaml").await?;
        Ok(Self {
            services: Api::default_namespaced(plane.client().await?),
            plane,
            kubeconfig,
        })
    }

    fn start(&self, node: &str) -> Result<Giver> {
        Giver::start(node, &self.kubeconfig, None, settings(&[POOL])?)
    }

    async fn add(&self, name: &str, annotations: Value, more: Value) -> Result<()> {
        let mut spec = json!({
            "type": "LoadBalancer",
            "loadBalancerClass": CLASS,
            "ports": [{ "port": 80 }],
            "allocateLoadBalancerNodePorts": false,
        });
        let more = more.as_object().context("an object")?.clone();
        spec.as_object_mut().context("an object")?.extend(more);
        let object =
            json!({ "metadata": { "name": name, "annotations": annotations }, "spec": spec });
        let object = serde_json::from_value(object)?;
        self.services
            .create(&PostParams::default(), &object)
            .await?;
        Ok(())
    }

    /// All Services' addresses.
    async fn given(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let all = self.services.list(&ListParams::default()).await?;
        let given = all.into_iter().map(|service| {
            let name = service.name_any();
            let ingress = service.status.and_then(|s| s.load_balancer?.ingress);
            let ips = ingress.unwrap_or_default().into_iter();
            (name, ips.filter_map(|one| one.ip).collect())
        });
        Ok(given.collect())
    }

    async fn until(
        &self,
        what: &str,
        reached: impl Fn(&BTreeMap<String, Vec<String>>) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let given = self.given().await?;
            if reached(&given) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("waited {PATIENCE:?} for {what}: {given:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a Service has these addresses.
    async fn has(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let what = format!("{name} to have {addresses:?}");
        self.until(&what, |given| {
            given.get(name).is_some_and(|ips| ips == addresses)
        })
        .await
    }

    async fn holder(&self) -> Result<Option<String>> {
        let leases = Api::<Lease>::namespaced(self.plane.client().await?, "kube-system");
        let lease = leases.get("weir-load-balancer").await?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity))
    }
}

async fn until_refused(giver: &Giver, reason: &str, words: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let told: Vec<String> = {
            let said = giver.said.get();
            let refused = said.refused.values();
            refused
                .map(|why| format!("{}: {why}", why.reason().name()))
                .collect()
        };
        if told
            .iter()
            .any(|t| t.starts_with(reason) && t.contains(words))
        {
            return Ok(());
        }
        ensure!(Instant::now() < end, "not told {reason}, {words}: {told:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_given_what_they_ask_for_and_give_it_back() -> Result<()> {
    let stage = Stage::set().await?;
    let dual = json!({ "ipFamilyPolicy": "RequireDualStack" });
    stage.add("both", json!({}), dual.clone()).await?;
    let giver = stage.start("a")?;
    stage.has("both", &["192.0.2.1", "2001:db8::1"]).await?;
    ensure!(stage.holder().await?.as_deref() == Some("a"));

    // Others' Services are left alone.
    stage
        .add(
            "theirs",
            json!({}),
            json!({ "loadBalancerClass": "example.com/x" }),
        )
        .await?;
    // Requested: by the field, and by the annotation for both families.
    stage
        .add("field", json!({}), json!({ "loadBalancerIP": "192.0.2.3" }))
        .await?;
    stage.has("field", &["192.0.2.3"]).await?;
    let asks = json!({ "weir.dev/load-balancer-ips": "192.0.2.2,2001:db8::2" });
    stage.add("annotation", asks, dual.clone()).await?;
    stage
        .has("annotation", &["192.0.2.2", "2001:db8::2"])
        .await?;
    // Nothing is left.
    stage.add("late", json!({}), json!({})).await?;
    until_refused(
        &giver,
        "AddressesExhausted",
        "no IPv4 address is free in lan",
    )
    .await?;
    stage
        .add(
            "taken",
            json!({ "weir.dev/load-balancer-ips": "192.0.2.1" }),
            json!({}),
        )
        .await?;
    until_refused(
        &giver,
        "AddressTaken",
        "192.0.2.1 is Service default/both's",
    )
    .await?;

    // One that is deleted, and one that is not of this type any more, give back what they had.
    stage
        .services
        .delete("field", &DeleteParams::default())
        .await?;
    stage.has("late", &["192.0.2.3"]).await?;
    let other = json!({ "spec": { "type": "ClusterIP", "loadBalancerClass": null, "allocateLoadBalancerNodePorts": null } });
    let params = PatchParams::default();
    stage
        .services
        .patch("both", &params, &Patch::Merge(other))
        .await?;
    stage.has("taken", &["192.0.2.1"]).await?;
    let given = stage.given().await?;
    ensure!(
        given["theirs"].is_empty() && given["both"].is_empty(),
        "{given:?}"
    );
    giver.kill()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_shared_by_those_that_agree_and_have_other_ports() -> Result<()> {
    let stage = Stage::set().await?;
    let giver = stage.start("a")?;
    let share = |key: &str| json!({ "weir.dev/allow-shared-ip": key });
    let port = |number: u16| json!({ "ports": [{ "port": number }] });
    stage.add("one", share("k"), port(80)).await?;
    stage.has("one", &["192.0.2.1"]).await?;
    stage.add("two", share("k"), port(443)).await?;
    stage.has("two", &["192.0.2.1"]).await?;
    stage.add("same-port", share("k"), port(80)).await?;
    stage.has("same-port", &["192.0.2.2"]).await?;
    stage.add("other-key", share("l"), port(8080)).await?;
    stage.has("other-key", &["192.0.2.3"]).await?;
    giver.kill()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agent_goes_on_when_the_one_that_gives_is_killed() -> Result<()> {
    let stage = Stage::set().await?;
    let first = stage.start("a")?;
    stage.add("one", json!({}), json!({})).await?;
    stage.has("one", &["192.0.2.1"]).await?;
    let second = stage.start("b")?;
    first.kill()?;
    stage.add("two", json!({}), json!({})).await?;
    stage.has("two", &["192.0.2.2"]).await?;
    stage.has("one", &["192.0.2.1"]).await?;
    ensure!(stage.holder().await?.as_deref() == Some("b"));
    // It is there again, and does not give.
    let first = stage.start("a")?;
    stage.add("three", json!({}), json!({})).await?;
    stage.has("three", &["192.0.2.3"]).await?;
    ensure!(!first.said.get().leads && second.said.get().leads);
    second.kill()?;
    first.kill()
}

/// Dice: the runner's, whose seed is told where a test fails.
fn dice(runner: &mut TestRunner, sides: usize) -> Result<usize> {
    let tree = (0..sides).new_tree(runner);
    Ok(tree.map_err(|why| anyhow::anyhow!("{why}"))?.current())
}

/// Agents are killed, cut off and come back, Services come and go: once it is quiet no address is two Services', and each has
/// one as long as there are enough.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_no_address_stays_two_services() -> Result<()> {
    const NODES: [&str; 3] = ["a", "b", "c"];
    let stage = Stage::set().await?;
    let proxy = Proxy::start(&stage.plane).await?;
    let mut runner = TestRunner::default();
    let mut running: BTreeMap<&str, Giver> = BTreeMap::new();
    let pools = || settings(&[("lan", &["192.0.2.0/29"])]);
    let end = Instant::now() + Duration::from_secs(40);
    while Instant::now() < end {
        let (node, n) = (NODES[dice(&mut runner, 3)?], dice(&mut runner, 6)?);
        let name = format!("s{n}");
        match dice(&mut runner, 8)? {
            0 | 1 => {
                running.remove(node).map_or(Ok(()), Giver::kill)?;
                let giver = Giver::start(node, &stage.kubeconfig, Some(proxy.url()), pools()?)?;
                running.insert(node, giver);
            }
            2 => running.remove(node).map_or(Ok(()), Giver::kill)?,
            3 | 4 => drop(stage.add(&name, json!({}), json!({})).await),
            5 => drop(stage.services.delete(&name, &DeleteParams::default()).await),
            _ => {
                proxy.freeze();
                sleep(Duration::from_millis(300)).await;
                proxy.thaw();
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    for node in NODES {
        if !running.contains_key(node) {
            let giver = Giver::start(node, &stage.kubeconfig, Some(proxy.url()), pools()?)?;
            running.insert(node, giver);
        }
    }
    stage.add("last", json!({}), json!({})).await?;
    stage
        .until("each to have an address of its own", |given| {
            let all: Vec<&String> = given.values().flatten().collect();
            let each: BTreeSet<&String> = all.iter().copied().collect();
            let ours = given.iter().filter(|(name, _)| *name != "kubernetes");
            all.len() == each.len() && ours.into_iter().all(|(_, ips)| ips.len() == 1)
        })
        .await?;
    running.into_values().try_for_each(Giver::kill)
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_one_lease_and_of_services_status() -> Result<()> {
    let stage = Stage::set().await?;
    stage.add("one", json!({}), json!({})).await?;
    let read = Kubeconfig::read_from(&stage.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    let limited = Client::try_from(config)?;
    let forbidden = |what: &str, result: kube::Result<()>| match result {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        other => Err(anyhow::anyhow!("{what}: {other:?}")),
    };
    let leases = Api::<Lease>::namespaced(limited.clone(), "kube-system");
    leases
        .get("weir-load-balancer")
        .await
        .context("its own Lease")?;
    let params = PatchParams::default();
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "x": "y" } } }));
    forbidden("other Lease", leases.get("other").await.map(drop))?;
    let lease = Lease {
        metadata: kube::api::ObjectMeta {
            name: Some("other".to_owned()),
            ..Default::default()
        },
        ..Lease::default()
    };
    forbidden(
        "create",
        leases
            .create(&PostParams::default(), &lease)
            .await
            .map(drop),
    )?;
    let own = leases
        .delete("weir-load-balancer", &DeleteParams::default())
        .await;
    forbidden("delete", own.map(drop))?;
    let services = Api::<Service>::default_namespaced(limited);
    forbidden(
        "a Service itself",
        services.patch("one", &params, &patch).await.map(drop),
    )
}
