//! `cargo xtask bench scale`: one agent in a cluster as large as they get, from a real API server: how long the first sync
//! takes, what one change takes, alone and while everything is compared, what many changes and none cost, and how long a
//! changed label of a pod takes to be in force.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_world::{Node, Process, World, manifests::node_object};

use self::pods::Pods;
use super::{
    agent,
    api::Api,
    figures::{Figures, quantile},
    json_file::JsonFile,
    memory, objects,
    programs::Programs,
};
use crate::say;

mod changes;
mod cost;
mod labels;
mod pods;

/// A large cluster: first sync, changes, labels, memory, and processor time
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many Services there are.
    #[arg(long, default_value_t = 50_000)]
    services: u32,
    /// How many endpoints each has.
    #[arg(long, default_value_t = 5)]
    endpoints: usize,
    /// How many pods of other nodes there are.
    #[arg(long, default_value_t = 10_000)]
    pods: u32,
    /// How many policies there are.
    #[arg(long, default_value_t = 1_000)]
    policies: u32,
    /// How many changes are measured of each kind.
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// For how many seconds nothing happens.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    #[command(flatten)]
    json: JsonFile,
    #[command(flatten)]
    programs: Programs,
}

/// One result.
#[derive(Debug, Serialize)]
struct Row {
    metric: &'static str,
    value: f64,
    /// What it is to be at most.
    bar: Option<f64>,
}

/// Where the agent runs, and what it has shown.
struct Bench<'a> {
    node: &'a Node,
    api: &'a Api,
    args: &'a Args,
    rows: Vec<Row>,
}

/// The agent compares everything again and again.
const COMPARING: [&str; 2] = ["--set", "sync.fullPeriod=1s"];

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    args.programs.choose()?;
    let world = World::new("scale")?;
    let node = world.node("a")?;
    let api = say::step("start the API server", || Api::start(&world))?;
    api.create(&[node_object(&node)])?;
    let mut bench = Bench {
        node: &node,
        api: &api,
        args,
        rows: Vec::new(),
    };
    bench.measure()?;
    say::data(format!(
        "{:<34} {:>14} {:>14}",
        "METRIC", "VALUE", "AT MOST"
    ));
    for row in &bench.rows {
        let bar = row
            .bar
            .map_or_else(String::new, |bar| format!("{bar:>14.6}"));
        say::data(format!("{:<34} {:>14.6} {bar}", row.metric, row.value));
    }
    args.json.write(&bench.rows)?;
    Ok(ExitCode::SUCCESS)
}

impl Bench<'_> {
    fn measure(&mut self) -> Result<()> {
        let args = self.args;
        let empty = say::step("measure an empty cluster", || self.alone(&[]))?;
        self.note("memory_idle_bytes", empty, Some(30.0 * 1024.0 * 1024.0));
        let what = format!("create {} Services × {}", args.services, args.endpoints);
        say::step(&what, || {
            self.api
                .fill(&objects::fillers(0, args.services as usize, args.endpoints))
        })?;
        let services = say::step("measure Services", || self.alone(&["first_sync_services"]))?;
        let per_service = (services - empty) / f64::from(args.services.max(1));
        self.note("memory_bytes_per_service", per_service, Some(1024.0));
        let what = format!("create {} policies", args.policies);
        say::step(&what, || self.api.fill(&pods::policies(args.policies)))?;
        let policies = say::step("measure policies", || self.alone(&[]))?;
        let per_policy = (policies - services) / f64::from(args.policies.max(1));
        self.note("memory_bytes_per_policy", per_policy, None);
        let what = format!("create {} pods", args.pods);
        say::step(&what, || self.api.fill(&pods::elsewhere(args.pods)))?;
        let agent = self.start(&[])?;
        self.note_first_sync("first_sync_all", 5.0)?;
        let all = memory::steady(agent.id())?;
        let per_pod = (all - policies) / f64::from(args.pods.max(1));
        self.note("memory_bytes_per_pod", per_pod, Some(300.0));
        say::step("change endpoints", || self.lone_changes("change", 0))?;
        say::step("change endpoints as fast as can be", || self.crowd(&agent))?;
        say::step("change labels", || self.labels())?;
        say::step("do nothing", || self.idle(&agent))?;
        agent.terminate()?;
        let comparing = self.start(&COMPARING)?;
        let what = "change endpoints while everything is compared";
        say::step(what, || {
            self.lone_changes("change_comparing", 2 * args.changes)
        })?;
        comparing.terminate().map(drop)
    }

    fn note(&mut self, metric: &'static str, value: f64, bar: Option<f64>) {
        self.rows.push(Row { metric, value, bar });
    }

    fn start(&self, flags: &[&str]) -> Result<Process> {
        agent::start(self.node, self.api, flags)
    }

    /// Resident bytes of an agent that has come to rest; its first sync is noted under the name given, if one is.
    fn alone(&mut self, first_sync: &[&'static str]) -> Result<f64> {
        let agent = self.start(&[])?;
        for metric in first_sync {
            self.note_first_sync(metric, 1.0)?;
        }
        let bytes = memory::steady(agent.id())?;
        agent.terminate()?;
        Ok(bytes)
    }

    fn note_first_sync(&mut self, metric: &'static str, bar: f64) -> Result<()> {
        let figures = Figures::read(self.node)?;
        let seconds = figures.value(agent::FIRST_SYNC);
        self.note(metric, seconds.context("no first sync")?, Some(bar));
        Ok(())
    }

    fn lone_changes(&mut self, name: &str, from: usize) -> Result<()> {
        let before = Figures::read(self.node)?.buckets(agent::CHANGE);
        changes::one_by_one(self.api, self.args, from)?;
        let after = Figures::read(self.node)?.buckets(agent::CHANGE);
        let [p50, p99] = if name == "change" {
            ["change_p50_seconds", "change_p99_seconds"]
        } else {
            [
                "change_comparing_p50_seconds",
                "change_comparing_p99_seconds",
            ]
        };
        self.note(p50, quantile(&before, &after, 0.5), Some(0.001));
        self.note(p99, quantile(&before, &after, 0.99), Some(0.010));
        Ok(())
    }

    fn crowd(&mut self, agent: &Process) -> Result<()> {
        let before = cost::processor_time(agent.id())?;
        let (count, seconds) = changes::at_once(self.api, self.args)?;
        // The last ones are gathered before they are written.
        std::thread::sleep(Duration::from_secs(1));
        let spent = cost::processor_time(agent.id())? - before;
        self.note("changes_per_second", count / seconds, None);
        self.note(
            "core_at_1000_changes_per_second",
            spent / count * 1000.0,
            Some(0.5),
        );
        Ok(())
    }

    fn labels(&mut self) -> Result<()> {
        let pods = Pods::new(self.node, self.api)?;
        let times = labels::measure(self.api, &pods, self.args.changes / 4)?;
        self.note("label_p50_seconds", labels::rank(&times, 0.5), Some(0.050));
        self.note("label_p99_seconds", labels::rank(&times, 0.99), None);
        Ok(())
    }

    fn idle(&mut self, agent: &Process) -> Result<()> {
        let bytes = memory::steady(agent.id())?;
        let before = cost::processor_time(agent.id())?;
        std::thread::sleep(Duration::from_secs(self.args.idle));
        let spent = cost::processor_time(agent.id())? - before;
        #[expect(clippy::cast_precision_loss, reason = "seconds of a bench")]
        self.note("idle_core", spent / self.args.idle as f64, Some(0.005));
        self.note(
            "idle_growth_bytes",
            memory::steady(agent.id())? - bytes,
            None,
        );
        Ok(())
    }
}
