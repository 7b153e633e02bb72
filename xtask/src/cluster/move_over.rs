//! `cargo xtask cluster move-over`: from another network to Weir and back, node by node, as docs/move-over.md says, while pods of
//! both talk to each other; and whether each node is in the end as it was.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::lab::{Lab, MAX_NODES, Node};
use super::routes::PodCidrs;
use super::shape::{Families, Network, Shape};
use super::{down, up};
use crate::say;

mod by_helm;
mod connections;
mod dump;
mod former;
mod matrix;
mod node_state;
mod objects;
mod programs;
mod report;
mod talk;
mod the_way_back;
mod the_way_there;
mod turn;
mod workload;

use former::Former;
use node_state::NodeState;
use report::Report;

pub(super) use talk::Talk;

/// Move a cluster over to Weir and back, node by node.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Args {
    /// The network before.
    #[arg(long, value_enum)]
    from: Former,
    /// By what Weir is installed. By Helm it is upgraded, rolled back, and taken from all nodes at once in the end; the way back node by
    /// node is kubectl's.
    #[arg(long, value_enum, default_value = "kubectl")]
    by: By,
    /// Number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=i64::from(MAX_NODES)))]
    nodes: u8,
    /// Only there, and not back.
    #[arg(long)]
    stay: bool,
    /// Leave the cluster up.
    #[arg(long)]
    keep: bool,
}

/// By what Weir's objects are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The folders for kustomize.
    Kubectl,
    /// The chart.
    Helm,
}

/// What all steps need.
struct Journey<'a> {
    lab: &'a Lab,
    shape: Shape,
    from: Former,
    by: By,
    cidrs: Vec<PodCidrs>,
    report: Report,
}

/// Runs the verb; exit code 1 if anything that was judged is not as it should be.
pub(super) fn run(lab: &Lab, args: Args) -> Result<ExitCode> {
    let shape = Shape {
        nodes: args.nodes,
        proxy: args.from.proxy(),
        network: Network::L2,
        families: Families::Dual,
        links: 1,
    };
    up::up(lab, shape)?;
    let mut journey = Journey {
        lab,
        shape,
        from: args.from,
        by: args.by,
        cidrs: Vec::new(),
        report: Report::default(),
    };
    let done = journey.go(args.stay);
    let failed = done.is_err() || !journey.report.is_well();
    if failed {
        dump::all(lab, shape)?;
    }
    if !args.keep {
        say::step("take the cluster away", || down::down(lab))?;
    }
    done?;
    journey.report.print();
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl Journey<'_> {
    fn go(&mut self, stay: bool) -> Result<()> {
        self.cidrs = PodCidrs::read(self.lab, self.shape)?;
        programs::import(self.lab, self.shape)?;
        workload::dns(self.lab, 0)?;
        let before = self.states("before")?;
        workload::dns(self.lab, 2)?;
        workload::create(self.lab, self.shape)?;
        self.matrix("before")?;
        self.former_sends_by_routes()?;
        self.there()?;
        if self.by == By::Helm {
            self.upgraded()?;
        }
        match (stay, self.by) {
            (true, _) => return Ok(()),
            (false, By::Helm) => return self.left_at_once(),
            (false, By::Kubectl) => self.back()?,
        }
        workload::delete(self.lab)?;
        workload::dns(self.lab, 0)?;
        let after = self.states("after")?;
        // flannel's own routes, rules and devices are not the same from one start of the daemon to the next.
        if self.from == Former::Flannel {
            return Ok(());
        }
        for (was, is) in before.iter().zip(&after) {
            let what = format!("{}: as it was before", was.node.name());
            self.report.judge(what, was.compare(is));
        }
        Ok(())
    }

    fn nodes(&self) -> Vec<Node> {
        self.shape.all().collect()
    }

    fn states(&self, when: &str) -> Result<Vec<NodeState>> {
        let nodes = self.shape.all();
        self.former_knows_no_dns()?;
        say::step(&format!("write down how nodes are {when}"), || {
            nodes
                .map(|node| {
                    NodeState::read(self.lab, node)
                        .with_context(|| format!("cannot look at {}", node.name()))
                })
                .collect()
        })
    }
}
