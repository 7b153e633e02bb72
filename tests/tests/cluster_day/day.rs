//! The day: step after step, and a look at the maps after each.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    net::IpAddr,
};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::{Value, json};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, ready, start_agent},
    world::{Node, Plugin, Pod, Process, program, until},
};

use super::{
    api::{self, Id, Kind, Write},
    check::Check,
    dice::Dice,
    model::{HERE, Model, Wired, text},
    nodes::Nodes,
    objects::{self, NAMESPACES},
    steps::{self, Step},
};

/// Steps between two looks for what nobody uses any more: that is kept for a while.
const BETWEEN_REST: u64 = 50;
/// Steps that are told when something is wrong.
const TOLD: usize = 12;

/// Everything that goes on.
struct Day<'a> {
    node: &'a Node,
    plane: &'a ControlPlane,
    client: Client,
    agent: Option<Process>,
    pods: BTreeMap<String, Pod>,
    model: Model,
    check: Check<'a>,
    dice: Dice,
    last: VecDeque<String>,
    accepted: u64,
    refused: u64,
    /// After so many steps a load balancer served some clients only.
    restricted: u64,
}

/// Lives a day of so many steps.
pub(crate) async fn live(node: &Node, seed: u64, steps: u64) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let mut day = Day {
        node,
        plane: &plane,
        client: plane.client().await?,
        agent: None,
        pods: BTreeMap::new(),
        model: Model::default(),
        check: Check { node },
        dice: Dice::new(seed),
        last: VecDeque::new(),
        accepted: 0,
        refused: 0,
        restricted: 0,
    };
    day.morning().await?;
    for number in 0..steps {
        let done = day.step(number).await;
        done.with_context(|| day.told(number))?;
    }
    ensure!(
        day.accepted > day.refused,
        "{} writes accepted, {} refused: the day is not what it should be",
        day.accepted,
        day.refused
    );
    ensure!(day.restricted > 0, "no load balancer had source ranges");
    day.evening().await.with_context(|| day.told(steps))
}

impl Day<'_> {
    async fn morning(&mut self) -> Result<()> {
        for name in NAMESPACES {
            let id = Id::new(Kind::Namespace, "", name);
            self.write(&Write::Create(id.clone(), json!({}))).await?;
            self.learn(&id).await?;
            let account = format!(
                "{{ apiVersion: v1, kind: ServiceAccount, metadata: {{ name: default, namespace: {name} }} }}"
            );
            self.plane.apply(&account).await?;
        }
        let here = Id::new(Kind::Node, "", HERE);
        let mut object = objects::node(&mut self.dice, HERE);
        object["status"] = objects::node_status(&mut self.dice, HERE);
        self.write(&Write::Create(here.clone(), object.clone()))
            .await?;
        self.write(&Write::Status(here, object)).await?;
        // The API server's own.
        self.learn(&Id::new(Kind::Service, "default", "kubernetes"))
            .await?;
        self.start(Nodes::default())
    }

    async fn step(&mut self, number: u64) -> Result<()> {
        let overdue = self.model.nodes.overdue().next().map(str::to_owned);
        let step = match overdue {
            Some(node) => Step::Write(steps::node_named(&mut self.dice, &self.model, &node)),
            None => steps::next(&mut self.dice, &self.model),
        };
        self.last.truncate(TOLD - 1);
        let mut told = format!("step {number}:");
        match &step {
            Step::Write(writes) | Step::Kill(writes) => {
                let kill = if matches!(step, Step::Kill(_)) {
                    " (agent killed)"
                } else {
                    ""
                };
                told += kill;
                for write in writes {
                    write!(told, "\n  {write}")?;
                }
            }
            Step::Begin(..) | Step::End(_) => write!(told, " {step:?}")?,
        }
        self.last.push_front(told);
        match step {
            Step::Write(writes) => self.write_all(&writes).await?,
            Step::Begin(pod, host_port) => self.begin(&pod, host_port).await?,
            Step::End(pod) => self.end(&pod).await?,
            Step::Kill(writes) => {
                self.await_kept()?;
                let known = self.model.nodes.clone();
                self.agent.take().context("no agent")?.crash()?;
                self.write_all(&writes).await?;
                self.start(known)?;
            }
        }
        self.in_step()?;
        if number % BETWEEN_REST == BETWEEN_REST - 1 {
            self.rest()?;
        }
        Ok(())
    }

    /// All goes; nothing is left of it.
    async fn evening(&mut self) -> Result<()> {
        let own = Id::new(Kind::Node, "", HERE);
        let kubernetes = Id::new(Kind::Service, "default", "kubernetes");
        let all: Vec<Id> = self.model.objects.keys().cloned().collect();
        for pod in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.end(&pod).await?;
        }
        for id in all {
            if id != own && id != kubernetes && id.kind != Kind::Namespace {
                self.write(&Write::Delete(id.clone(), 0)).await?;
            }
        }
        self.in_step()?;
        self.rest()?;
        until("nothing to be left", PATIENCE, || self.check.empty())
    }

    /// Starts the agent (again).
    /// Waits until the next agent would know what this one does.
    fn await_kept(&self) -> Result<()> {
        let file = self.node.file("/run/weir/nodes.json");
        until("nodes.json to be in step", PATIENCE, || {
            let kept: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
            ensure!(
                self.model.nodes.are_kept(&kept),
                "{kept} {:?}",
                self.model.nodes
            );
            Ok(Some(()))
        })
    }

    /// Starts an agent; `known` is what one before it knew of nodes.
    fn start(&mut self, known: Nodes) -> Result<()> {
        self.agent = Some(start_agent(
            self.node,
            self.plane,
            &["--service-cidr", "10.96.0.0/16,fd00:10:96::/112"],
        )?);
        let objects = &self.model.objects;
        self.model.nodes.recall(known, |name| {
            objects.get(&Id::new(Kind::Node, "", name)).cloned()
        });
        ready(self.node)
    }

    /// A pod comes to the node: the API server knows it before its runtime wires it.
    async fn begin(&mut self, name: &str, host_port: Option<(u16, u16)>) -> Result<()> {
        let id = Id::new(Kind::Pod, "default", name);
        let object = objects::pod(&mut self.dice, HERE);
        ensure!(
            self.write(&Write::Create(id.clone(), object)).await?,
            "a pod is refused"
        );
        let object = self.model.objects.get(&id).context("no pod")?.clone();
        let mut plugin = Plugin::weir()?.with_uid(text(&object, "/metadata/uid"));
        if let Some((outer, inner)) = host_port {
            plugin = plugin.with_ports(
                &json!([{ "hostPort": outer, "containerPort": inner, "protocol": "tcp" }]),
            );
        }
        let pod = self.node.pod(&plugin, name)?;
        let addresses = pod.addresses();
        self.pods.insert(name.to_owned(), pod);
        self.model.wired.insert(
            name.to_owned(),
            Wired {
                addresses,
                host_port,
            },
        );
        let texts = addresses.map(|ip: IpAddr| ip.to_string());
        let ips: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut known = object;
        known["status"] = objects::status("Running", &ips);
        self.write(&Write::Status(id, known)).await.map(drop)
    }

    async fn end(&mut self, name: &str) -> Result<()> {
        drop(self.pods.remove(name));
        self.model.wired.remove(name);
        let id = Id::new(Kind::Pod, "default", name);
        self.write(&Write::Delete(id, 0)).await.map(drop)
    }

    async fn write_all(&mut self, writes: &[Write]) -> Result<()> {
        for write in writes {
            if self.write(write).await? {
                self.accepted += 1;
            } else {
                self.refused += 1;
            }
        }
        Ok(())
    }

    /// Writes, and takes note of what the API server has then.
    async fn write(&mut self, write: &Write) -> Result<bool> {
        let accepted = api::write(&self.client, write).await?;
        if accepted {
            self.learn(write.id()).await?;
        }
        Ok(accepted)
    }

    async fn learn(&mut self, id: &Id) -> Result<()> {
        let object: Option<Value> = api::get(&self.client, id).await?;
        self.model.note(id, object);
        Ok(())
    }

    fn in_step(&mut self) -> Result<()> {
        let services = self.model.services();
        let mut claims = services.claims.values().flatten();
        self.restricted += u64::from(claims.any(|claim| !claim.sources.is_empty()));
        let local = services.local.into_iter();
        let disputed = local.filter(|(_, said)| said.len() > 1).map(|(at, _)| at);
        self.model.disputed.extend(disputed);
        let (check, model) = (&self.check, &self.model);
        until("the maps to be what the model says", PATIENCE, || {
            check.in_step(model).map(Some)
        })
    }

    fn rest(&self) -> Result<()> {
        until("what nobody uses to be gone", PATIENCE, || {
            self.check.rest(&self.model)
        })
    }

    fn told(&self, number: u64) -> String {
        let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
        let status = program("proxyctl").and_then(|proxyctl| {
            // It ends with 1 if not all is well.
            let asked = format!("{} status || true", proxyctl.display());
            self.node.run(&["sh", "-c", &asked])
        });
        let status = status.unwrap_or_else(|error| format!("no status: {error:#}"));
        format!(
            "step {number}; the last ones, latest first:\n{}\nagent: {status}",
            last.join("\n")
        )
    }
}
