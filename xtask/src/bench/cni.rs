//! `cargo xtask bench cni`: how long ADD and DEL take, beside the reference plugins ptp and host-local.
//!
//! Weir's ADD is dual-stack and whole: with the agent's answer that programs and policy are in force. Rounds
//! go round the plugins in turn, so that a machine that slows down slows all.
//!
//! A crowd of Weir's once had two modes, 4 and 12 ms a pod: the plugin wrote `sysctl`s of IPv6 whose handlers begin the system
//! call anew as long as another one holds the RTNL lock. As soon as a few met there, they spun, and kept the one that had the
//! lock from the processors. It asks for the same by netlink now, where it sleeps, and writes only what is not there yet
//! (`cni_plugin::wiring::sysctl`).

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode, thread, time::Duration};

use anyhow::Result;
use serde::Serialize;

use super::{
    json_file::JsonFile,
    programs::Programs,
    statistics::{median, spread},
};
use crate::{say, tools::go};

mod machine;
mod runtime;

use machine::{Machine, Plugins};

/// ADD and DEL of the CNI plugin.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    json: JsonFile,
    #[command(flatten)]
    programs: Programs,
}

/// Pods that start at once.
const CROWD: u32 = 30;
/// Before each crowd. The agent looks at all links half a second after some have come or gone, and gives its programs to those of
/// the other plugins' pods: that work shall not fall into the next one's crowd.
const REST: Duration = Duration::from_secs(2);
/// What the others are compared with.
const REFERENCE: &str = "ptp-ipv4";

/// A result.
#[derive(Debug, Serialize)]
struct Row {
    /// `add`, `del`: one after the other; `add_crowd`, `del_crowd`: [`CROWD`] at once, per pod.
    metric: &'static str,
    /// Plugin and families.
    path: &'static str,
    /// Median in milliseconds.
    value: f64,
    /// Beside ptp and host-local with IPv4 only.
    ratio_to_reference: f64,
    /// Half the distance from least to greatest, as a part of the median.
    spread: f64,
    /// All values in milliseconds, in the order in which they were measured: two modes are seen, an average hides them.
    all: Vec<f64>,
    /// How many values.
    samples: usize,
}

type Samples = BTreeMap<(&'static str, &'static str), Vec<f64>>;

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    args.programs.choose()?;
    go::ensure(&go::PLUGINS)?;
    let machine = say::step("make a node with an agent", || Machine::new(CROWD as usize))?;
    let plugins = machine.plugins()?;
    let (singles, crowds) = if args.quick { (8, 2) } else { (30, 15) };
    let mut samples = Samples::new();
    say::step("call the plugins", || {
        // The first calls find the page cache cold, and the agent without the pods.
        measure(&machine, &plugins, 2, 1)?;
        samples = measure(&machine, &plugins, singles, crowds)?;
        Ok(())
    })?;
    let rows = rows(&samples);
    say::data(render(&rows));
    args.json.write(&rows)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(machine: &Machine, plugins: &Plugins, singles: usize, crowds: usize) -> Result<Samples> {
    let mut samples = Samples::new();
    for _ in 0..singles {
        for (path, plugin) in plugins {
            let [add, del] = machine.one_by_one(plugin, 1)?;
            samples.entry(("add", path)).or_default().push(ms(add));
            samples.entry(("del", path)).or_default().push(ms(del));
        }
    }
    for _ in 0..crowds {
        for (path, plugin) in plugins {
            thread::sleep(REST);
            let times = machine.at_once(plugin, CROWD as usize)?;
            let [add, del] = times.map(|time| ms(time / CROWD));
            samples.entry(("add_crowd", path)).or_default().push(add);
            samples.entry(("del_crowd", path)).or_default().push(del);
        }
    }
    Ok(samples)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn rows(samples: &Samples) -> Vec<Row> {
    let reference = |metric| {
        samples
            .get(&(metric, REFERENCE))
            .map_or(f64::NAN, |v| median(v))
    };
    samples
        .iter()
        .map(|((metric, path), values)| Row {
            metric,
            path,
            value: median(values),
            ratio_to_reference: median(values) / reference(*metric),
            spread: spread(values),
            all: values.clone(),
            samples: values.len(),
        })
        .collect()
}

fn render(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<10} {:<10} {:>10} {:>12} {:>8}\n",
        "METRIC", "PATH", "MEDIAN ms", "TO ptp-ipv4", "SPREAD"
    );
    for row in rows {
        let Row {
            metric,
            path,
            value,
            ratio_to_reference,
            spread,
            ..
        } = row;
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{metric:<10} {path:<10} {value:>10.2} {ratio_to_reference:>12.2} {:>7.0}%",
            spread * 100.0
        )
        .ok();
    }
    text
}
