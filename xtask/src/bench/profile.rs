//! `cargo xtask bench profile`: where a connection's processor time goes, by path.
//!
//! The load of `bench east-west`, with the kernel's sampling profiler over the whole machine meanwhile. The price of
//! a request is the machine's busy time; the samples say how it falls into [`Part`]s.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path as File,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;
use serde::Serialize;
use weir_world::load::{Kind, Request};

use super::{
    bed::Reach,
    east_west::{
        self,
        path::{Beds, Path},
    },
    json_file::JsonFile,
    load,
    programs::Programs,
    statistics,
};
use crate::{run as command, say};

mod part;
mod samples;

use part::Part;

/// Processor time of a connection by what it is spent on, for each path.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these paths (`bare` is always measured).
    #[arg(long, value_delimiter = ',', value_enum)]
    paths: Vec<Path>,
    /// Number of Services.
    #[arg(long, default_value_t = 1)]
    services: usize,
    /// Number of policy rules.
    #[arg(long, default_value_t = 0)]
    rules: usize,
    /// Runs of each path.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a run in milliseconds.
    #[arg(long, default_value_t = 1000)]
    span: u64,
    #[command(flatten)]
    programs: Programs,
    #[command(flatten)]
    json: JsonFile,
}

/// A line of the result.
#[derive(Debug, Serialize)]
struct Row {
    nodes: u8,
    path: &'static str,
    part: &'static str,
    /// Median over the rounds, processor time of the whole machine.
    microseconds_per_connection: f64,
    /// Half of the distance from least to greatest, over the median.
    spread: f64,
}

/// Microseconds a connection, by circumstances, in the order of the rounds.
type Spent = BTreeMap<(u8, Part, Path), Vec<f64>>;

/// Samples a second: not in step with the timer.
const FREQUENCY: &str = "3999";
/// Threads of the load.
const THREADS: usize = 4;

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    command::output(Command::new("perf").arg("--version"))
        .context("hint: install the kernel's profiler (Debian: linux-perf)")?;
    let mut paths = if args.paths.is_empty() {
        Path::value_variants().to_vec()
    } else {
        args.paths.clone()
    };
    paths.retain(|path| *path != Path::Bare);
    paths.insert(0, Path::Bare);
    let mut beds = east_west::beds(&paths, &args.programs)?;
    let (services, rules) = (args.services, args.rules);
    say::step(&format!("set {services} Services, {rules} rules"), || {
        beds.set_services(services)?;
        beds.set_rules(rules)
    })?;
    let mut spent = Spent::new();
    for round in 1..=args.rounds {
        paths.rotate_left(1);
        say::step(&format!("round {round} of {}", args.rounds), || {
            go_round(args, &beds, &paths, &mut spent)
        })?;
    }
    let rows = rows(&spent);
    say::data(render(&rows));
    args.json.write(&rows)?;
    // What it measured is told whatever becomes of the beds.
    drop(beds);
    Ok(ExitCode::SUCCESS)
}

fn go_round(args: &Args, beds: &Beds, paths: &[Path], spent: &mut Spent) -> Result<()> {
    for reach in [Reach::Near, Reach::Far] {
        for path in paths {
            let parts = sample(args, beds, *path, reach)
                .with_context(|| format!("profile path {path:?} ({reach:?})"))?;
            for part in Part::ALL {
                let time = parts.get(&part).copied().unwrap_or_default();
                let row = spent.entry((reach.nodes(), part, *path)).or_default();
                row.push(time);
            }
        }
    }
    Ok(())
}

/// One run: microseconds a connection, by part.
fn sample(args: &Args, beds: &Beds, path: Path, reach: Reach) -> Result<BTreeMap<Part, f64>> {
    let (client, to) = beds.target(path, reach)?;
    let span = Duration::from_millis(args.span);
    let request = Request {
        kind: Kind::Connect,
        to,
        threads: THREADS,
        span,
    };
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let data = folder.path().join("perf.data");
    let mut recorder = recorder(&data, span)
        .spawn()
        .context("start the profiler")?;
    let report = load::client(client, &request)?;
    let status = recorder.wait().context("wait for the profiler")?;
    ensure!(status.success(), "the profiler ended: {status}");
    let text = command::output(
        Command::new("perf")
            .args(["script", "--fields", "event,ip,sym", "--input"])
            .arg(&data),
    )?;
    let counts = samples::count(&text);
    let busy: u32 = counts
        .iter()
        .filter(|(part, _)| **part != Part::Idle)
        .map(|(_, count)| count)
        .sum();
    ensure!(busy > 0, "the profiler saw nothing");
    let price = report.cpu_us_per_request() / f64::from(busy);
    let priced = counts.into_iter().filter(|(part, _)| *part != Part::Idle);
    let mut parts: BTreeMap<Part, f64> = priced
        .map(|(part, count)| (part, f64::from(count) * price))
        .collect();
    parts.insert(Part::All, report.cpu_us_per_request());
    Ok(parts)
}

/// Samples all processors, with the kernel's call chains, for as long as the load runs.
fn recorder(data: &File, span: Duration) -> Command {
    let mut perf = Command::new("perf");
    perf.args([
        "record",
        "--quiet",
        "--all-cpus",
        "--no-buildid-cache",
        "--event",
        "cpu-clock",
        "-g",
        "--kernel-callchains",
    ])
    .args(["--freq", FREQUENCY, "--output"])
    .arg(data)
    .args(["--", "sleep", &span.as_secs_f64().to_string()]);
    perf
}

fn rows(spent: &Spent) -> Vec<Row> {
    spent
        .iter()
        .map(|((nodes, part, path), values)| Row {
            nodes: *nodes,
            path: path.name(),
            part: part.name(),
            microseconds_per_connection: statistics::median(values),
            spread: statistics::spread(values),
        })
        .collect()
}

/// A block for each number of nodes, a line for each part, a column for each path.
fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut head = None;
    for block in rows.chunk_by(|a, b| (a.nodes, a.part) == (b.nodes, b.part)) {
        let [first, ..] = block else { continue };
        // Writing to a String cannot fail, here and below.
        if head != Some(first.nodes) {
            head = Some(first.nodes);
            write!(
                text,
                "\n{:<26}",
                format!("{} node(s), µs each", first.nodes)
            )
            .ok();
            for row in block {
                write!(text, " {:>10}", row.path).ok();
            }
            text.push('\n');
        }
        write!(text, "  {:<24}", first.part).ok();
        for row in block {
            write!(text, " {:>10.2}", row.microseconds_per_connection).ok();
        }
        text.push('\n');
    }
    text
}
