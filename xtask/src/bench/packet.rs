//! `cargo xtask bench packet`: what a connection costs in the programs of the per-packet path.
//!
//! Times are the kernel's own, of each program on each packet; what the stack and the devices do is left out.
//! They are given beside that of a packet that no program looks at, which is mostly the price of measuring.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::json_file::JsonFile;
use crate::{run as command, say, tools};

/// Nanoseconds a packet, by kind of connection.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer connections.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    json: JsonFile,
    /// Measure this eBPF object instead of the one of this checkout.
    #[arg(long)]
    object: Option<PathBuf>,
}

/// The case that all others are compared with.
const NOTHING: &str = "nothing";
/// What is measured of a connection: packets by what they are for, and all its packets together.
const METRICS: [&str; 6] = [
    "open",
    "answer",
    "data_forth",
    "data_back",
    "close",
    "connection",
];

/// A result.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    /// From where to where.
    case: String,
    /// Of which family.
    family: String,
    /// Policy rules in force for each pod.
    rules: u16,
    /// One of [`METRICS`].
    metric: String,
    /// Median in nanoseconds.
    value: f64,
    /// Beside a packet that no program looks at.
    #[serde(default)]
    ratio_to_nothing: f64,
    /// Beside the same without rules.
    #[serde(default)]
    ratio_to_no_rules: f64,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    tools::toolchain::ensure()?;
    let connections = if args.quick { 500 } else { 5000 };
    let mut rows = say::step("send packets through the programs", || {
        measure(connections, args.object.as_deref())
    })?;
    compare(&mut rows)?;
    say::data(render(&rows));
    args.json.write(&rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Fills in the ratios.
fn compare(rows: &mut [Row]) -> Result<()> {
    let name = |row: &Row| (row.case.clone(), row.family.clone(), row.metric.clone());
    let free = rows.iter().filter(|row| row.rules == 0);
    let free: BTreeMap<_, f64> = free.map(|row| (name(row), row.value)).collect();
    let nothing = rows.iter().find(|row| row.case == NOTHING);
    let nothing = nothing
        .context("the cheapest packet was not measured")?
        .value;
    for row in rows {
        row.ratio_to_nothing = row.value / nothing;
        row.ratio_to_no_rules = row.value / free.get(&name(row)).copied().unwrap_or(f64::NAN);
    }
    Ok(())
}

/// The kernel holds the clock, so a quick build of what asks it does.
fn measure(connections: u16, object: Option<&Path>) -> Result<Vec<Row>> {
    let mut cargo = command::cargo();
    cargo
        .args(["bench", "--quiet", "--locked", "--profile", "dev"])
        .args(["--workspace", "--bench", "packet", "--"])
        .arg(connections.to_string());
    if let Some(object) = object {
        cargo.arg(object.canonicalize().context("find the object")?);
    }
    let printed = command::output(&mut cargo)?;
    serde_json::from_str(&printed).with_context(|| format!("read the results: {printed}"))
}

fn render(rows: &[Row]) -> String {
    let mut cases: BTreeMap<_, BTreeMap<&str, &Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.case != NOTHING) {
        let case = (row.family.as_str(), row.case.as_str(), row.rules);
        cases.entry(case).or_default().insert(&row.metric, row);
    }
    let mut text = format!("{:<5} {:<22} {:>6}", "", "NANOSECONDS", "RULES");
    for metric in METRICS {
        write!(text, " {:>10}", metric.to_uppercase()).ok();
    }
    text.push_str(" TO NOTHING TO NO RULES\n");
    for ((family, case, rules), metrics) in cases {
        // Writing to a String cannot fail.
        write!(text, "{family:<5} {case:<22} {rules:>6}").ok();
        for metric in METRICS {
            let value = metrics.get(metric).map_or(f64::NAN, |row| row.value);
            write!(text, " {value:>10.0}").ok();
        }
        let ratio = |of: fn(&Row) -> f64| metrics.get("connection").map_or(f64::NAN, |row| of(row));
        let (nothing, free) = (
            ratio(|row| row.ratio_to_nothing),
            ratio(|row| row.ratio_to_no_rules),
        );
        writeln!(text, " {nothing:>10.1} {free:>11.2}").ok();
    }
    text
}
