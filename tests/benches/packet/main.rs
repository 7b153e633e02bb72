//! What packets cost in the programs of the per-packet path, by the kernel's own clock; called by
//! `cargo xtask bench packet`, which renders what this prints.
//!
//! The packets of whole connections go through `BPF_PROG_TEST_RUN` one by one, each connection from a port of its
//! own: maps are as cold as on a node, what the stack and the devices do is left out. Then those of a long one, warm.
//! What a packet that no program looks at costs is taken off each.
//!
//! Arguments: connections and repeats of a round, and optionally an object to measure instead of the agent's. Each
//! line on stdin asks for a round, whose rows are printed as a line of JSON: so rounds of two commits alternate.
//!
//! `--against` compiles these files on top of another commit. They use of `packets::Bench` what older ones have too.

use std::{
    env, fs,
    io::{self, BufRead as _, Write as _},
};

use anyhow::{Context as _, Result, ensure};
use aya::EbpfLoader;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use proxy_agent::datapath::{capacities::Capacities, object::OBJECT};
use proxy_common::address::TCP;
use serde_json::{Value, json};
use weir_tests::packets::{Bench, FAMILIES};

mod measure;
mod rules;
mod way;

use measure::{Amount, Measured, median};

/// More flows than a run begins.
const MANY: u32 = 1 << 20;

/// What only some commits know. Their own methods of the name hide these.
trait Earlier {
    /// Commits before the one that gave a flow one record bound how many begin where they may stay.
    fn allow_unanswered(&mut self, _flows: u32) -> Result<()> {
        Ok(())
    }
}

impl Earlier for Bench {}

fn main() -> Result<()> {
    // Cargo says `--bench` to every bench.
    let mut arguments = env::args().skip(1).filter(|word| word != "--bench");
    let mut number = |what: &'static str| -> Result<u16> {
        let word = arguments
            .next()
            .with_context(|| format!("how many {what}?"))?;
        word.parse().with_context(|| format!("{what}: {word}"))
    };
    let amount = Amount {
        connections: number("connections")?,
        repeats: number("repeats")?,
    };
    let object = match arguments.next() {
        Some(path) => fs::read(&path).with_context(|| format!("read {path}"))?,
        None => OBJECT.to_vec(),
    };
    stay_on_one_cpu()?;
    let mut bench = prepare(&object)?;
    let mut port = way::CLIENTS;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        line.context("be asked for a round")?;
        let rows = round(&mut bench, &mut port, amount)?;
        serde_json::to_writer(&mut out, &rows).context("print the results")?;
        writeln!(out).context("print the results")?;
        out.flush().context("print the results")?;
    }
    Ok(())
}

/// The last one that we may use: interrupts mostly go to the first. Not the world's own, which older commits have not.
fn stay_on_one_cpu() -> Result<()> {
    let here = Pid::from_raw(0);
    let allowed = sched_getaffinity(here).context("ask for the CPUs")?;
    let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.context("no CPU")?)?;
    sched_setaffinity(here, &one).context("stay on a CPU")
}

/// The bench, with maps as large as an agent makes them, and the Services.
fn prepare(object: &[u8]) -> Result<Bench> {
    let capacities = Capacities::default();
    let mut loader = EbpfLoader::new();
    for (map, entries) in capacities.by_map() {
        loader.map_max_entries(map, entries);
    }
    // Older commits have no such slots.
    loader.override_global("FLOW_SLOTS", &capacities.conntrack, false);
    let mut bench = Bench::of(object, &mut loader)?;
    bench.allow_unanswered(MANY)?;
    way::serve(&mut bench)?;
    rules::prepare(&mut bench, rules::RULES[1])?;
    Ok(bench)
}

/// All ways, each connection from a port that none has warmed.
fn round(bench: &mut Bench, port: &mut u16, amount: Amount) -> Result<Vec<Value>> {
    let own_cost = Measured::nothing(bench, amount)?;
    let mut rows = vec![json!({
        "case": "nothing", "family": "none", "protocol": "none", "rules": 0,
        "metric": "packet", "value": own_cost,
    })];
    for rules in rules::RULES {
        rules::enforce(bench, rules)?;
        for (plan, family) in FAMILIES.iter().zip(["IPv4", "IPv6"]) {
            for way in &way::WAYS {
                for protocol in way.protocols {
                    let mut measured = Measured { bench, own_cost };
                    let samples = measured.way((way, plan, *protocol), *port, amount)?;
                    let protocol = if *protocol == TCP { "TCP" } else { "UDP" };
                    rows.extend(samples.into_iter().map(|(metric, values)| {
                        json!({
                            "case": way.name, "family": family, "protocol": protocol,
                            "rules": rules, "metric": metric, "value": median(values),
                        })
                    }));
                }
            }
        }
        let used = amount.connections + 1;
        ensure!(
            *port <= u16::MAX - 2 * used,
            "no ports are left for a round"
        );
        *port += used;
    }
    Ok(rows)
}
