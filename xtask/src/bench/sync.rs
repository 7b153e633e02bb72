//! `cargo xtask bench sync`: how long a proxy takes to bring the kernel in step with a real API server, and
//! what it costs in memory. Weir and kube-proxy, one after the other, on the same node and objects.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use weir_world::{Node, World, manifests::node_object};

use super::{api::Api, json_file::JsonFile, objects, programs::Programs};
use crate::say;

mod changes;
mod kube_proxy;
mod weir;

/// From the lists of a real API server to the kernel: time, memory, and what one change takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many Services there are.
    #[arg(long, default_value_t = 10_000)]
    services: u32,
    /// How many endpoints each has.
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// How many single changes of an endpoint are measured with Weir; kube-proxy gets a fortieth of them.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Only Weir.
    #[arg(long)]
    without_kube_proxy: bool,
    #[command(flatten)]
    json: JsonFile,
    #[command(flatten)]
    programs: Programs,
}

/// One result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    metric: &'static str,
    path: &'static str,
    services: u32,
    endpoints: usize,
    value: f64,
}

/// What a proxy shows.
struct Results {
    path: &'static str,
    figures: Vec<(&'static str, f64)>,
}

/// Where the proxies run.
struct Bench<'a> {
    node: &'a Node,
    api: &'a Api,
    args: &'a Args,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    args.programs.choose()?;
    let world = World::new("sync")?;
    let node = world.node("a")?;
    let api = say::step("start the API server", || Api::start(&world))?;
    api.create(&[node_object(&node)])?;
    let bench = Bench {
        node: &node,
        api: &api,
        args,
    };
    let idle = say::step("memory of Weir without Services", || weir::idle(&bench))?;
    let what = format!("create {} Services × {}", args.services, args.endpoints);
    say::step(&what, || {
        api.create(&objects::fillers(0, args.services as usize, args.endpoints))
    })?;
    let mut results = vec![say::step("measure Weir", || weir::measure(&bench, idle))?];
    if !args.without_kube_proxy {
        results.push(say::step("measure kube-proxy", || {
            kube_proxy::measure(&bench)
        })?);
    }
    report(args, &results)
}

fn report(args: &Args, results: &[Results]) -> Result<ExitCode> {
    let rows: Vec<Row> = results
        .iter()
        .flat_map(|result| {
            result.figures.iter().map(|(metric, value)| Row {
                metric,
                path: result.path,
                services: args.services,
                endpoints: args.endpoints,
                value: *value,
            })
        })
        .collect();
    say::data(format!("{:<34} {:<12} {:>14}", "METRIC", "PATH", "VALUE"));
    for row in &rows {
        say::data(format!(
            "{:<34} {:<12} {:>14.4}",
            row.metric, row.path, row.value
        ));
    }
    args.json.write(&rows)?;
    Ok(ExitCode::SUCCESS)
}
