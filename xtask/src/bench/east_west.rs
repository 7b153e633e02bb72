//! `cargo xtask bench east-west`: connections, round trips and bytes between pods, by every path.
//!
//! All beds stand at once; short runs go round them in turn, with and without policy rules, so that a machine that
//! slows down slows all.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use super::{
    bed::{Bare, KubeProxy, Reach, Weir},
    cells::Cells,
    json_file::JsonFile,
    load,
    programs::Programs,
};
use crate::say;
use weir_world::load::{Kind, Report, Request};

pub(super) mod path;
mod row;

use path::{Beds, Path};
use row::Circumstances;
pub(crate) use row::Row;

/// Pod to pod and pod to Service, on one node and across two.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer Services, fewer and shorter runs: minutes instead of half an hour.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    json: JsonFile,
    /// Only these paths (`bare` is always measured).
    #[arg(long, value_delimiter = ',', value_enum)]
    paths: Vec<Path>,
    /// Only these numbers of Services.
    #[arg(long, value_delimiter = ',')]
    services: Vec<usize>,
    /// Only these numbers of policy rules.
    #[arg(long, value_delimiter = ',')]
    rules: Vec<usize>,
    /// Runs of each kind.
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a run in milliseconds.
    #[arg(long)]
    span: Option<u64>,
    #[command(flatten)]
    programs: Programs,
}

struct Plan {
    paths: Vec<Path>,
    services: Vec<usize>,
    rules: Vec<usize>,
    rounds: usize,
    span: Duration,
}

impl Args {
    fn plan(&self) -> Plan {
        let (services, rules, rounds, span): (&[usize], &[usize], usize, u64) = if self.quick {
            (&[1, 1000], &[0], 3, 400)
        } else {
            (&[1, 1000, 10_000], &[0, 1000], 7, 700)
        };
        let or = |given: &[usize], usual: &[usize]| {
            if given.is_empty() { usual } else { given }.to_vec()
        };
        let mut paths = if self.paths.is_empty() {
            Path::value_variants().to_vec()
        } else {
            self.paths.clone()
        };
        paths.retain(|path| *path != Path::Bare);
        paths.insert(0, Path::Bare);
        Plan {
            paths,
            services: or(&self.services, services),
            rules: or(&self.rules, rules),
            rounds: self.rounds.unwrap_or(rounds),
            span: Duration::from_millis(self.span.unwrap_or(span)),
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let plan = args.plan();
    let mut beds = beds(&plan.paths, &args.programs)?;
    let mut cells = Cells::default();
    for services in &plan.services {
        say::step(&format!("set {services} Services"), || {
            beds.set_services(*services)
        })?;
        measure(&plan, &beds, *services, &mut cells)?;
    }
    let rows = row::of(&cells);
    say::data(super::table::render(&rows));
    args.json.write(&rows)?;
    // What it measured is told whatever becomes of the beds.
    drop(beds);
    Ok(ExitCode::SUCCESS)
}

/// The beds that these paths need.
pub(super) fn beds(paths: &[Path], programs: &Programs) -> Result<Beds> {
    let wants = |any: &[Path]| paths.iter().any(|path| any.contains(path));
    let by_socket = wants(&[Path::Direct, Path::Socket]);
    let by_packet = wants(&[Path::Packet]);
    if by_socket || by_packet {
        programs.choose()?;
    }
    let optional = |wanted: bool, make: &dyn Fn() -> Result<Weir>| wanted.then(make).transpose();
    say::step("make the test beds", || {
        Ok(Beds {
            bare: Bare::new()?,
            socket: optional(by_socket, &|| Weir::new("socket", true))?,
            packet: optional(by_packet, &|| Weir::new("packet", false))?,
            kube_proxy: wants(&[Path::KubeProxy]).then(KubeProxy::new).transpose()?,
        })
    })
}

/// All rounds: with each number of rules in turn, each of them first as often as the others.
fn measure(
    plan: &Plan,
    beds: &Beds,
    services: usize,
    cells: &mut Cells<Circumstances, Path>,
) -> Result<()> {
    let mut paths = plan.paths.clone();
    let mut rules = plan.rules.clone();
    for round in 1..=plan.rounds {
        // Who is first finds cold caches.
        paths.rotate_left(1);
        rules.rotate_left(1);
        say::step(&format!("round {round} of {}", plan.rounds), || {
            for rules in &rules {
                beds.set_rules(*rules)?;
                // kube-proxy enforces no policy.
                let enforces = |path: &&Path| *rules == 0 || **path != Path::KubeProxy;
                let paths: Vec<Path> = paths.iter().filter(enforces).copied().collect();
                go_round(plan, beds, &paths, |path, reach, kind, report| {
                    cells.add((services, *rules, reach.nodes()), path, kind, report);
                })?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One run of each load, near and far, by each path in turn.
fn go_round(
    plan: &Plan,
    beds: &Beds,
    paths: &[Path],
    mut add: impl FnMut(Path, Reach, Kind, &Report),
) -> Result<()> {
    let loads = load::ALL
        .into_iter()
        .flat_map(|load| [(load, Reach::Near), (load, Reach::Far)]);
    for ((kind, threads), reach) in loads {
        for path in paths {
            let (client, to) = beds.target(*path, reach)?;
            let request = Request {
                kind,
                to,
                threads,
                span: plan.span,
            };
            let report = load::client(client, &request)
                .with_context(|| format!("{kind:?} by path {path:?} to {to} ({reach:?})"))?;
            if report.failed > 0 {
                say::line(format!("{path:?} to {to}: {} failed", report.failed));
            }
            add(*path, reach, kind, &report);
        }
    }
    Ok(())
}
