//! Every program of the object passes the verifier of the kernel that runs this test, and leaves room for the next
//! feature. Run on the kernels of the matrix too (`cargo xtask kernels`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "verifier/calls.rs"]
mod calls;
#[path = "verifier/judge.rs"]
mod judge;
#[path = "verifier/log.rs"]
mod log;

use std::{
    fmt,
    io::{Write as _, stdout},
};

use calls::{Calls, Chain};
use judge::{Judgement, judge};
use log::Facts;

/// Bytes of stack that the deepest chain of calls of a program may need, of the kernel's 512 (`MAX_BPF_STACK`).
const STACK_BAR: u32 = 320;
/// Instructions that the verifier may go through for one program. The kernel allows a million; but an agent loads a dozen
/// programs at its start, and each hundred thousand takes a tenth of a second of a processor.
const PROCESSED_BAR: u32 = 125_000;

/// What a program needs.
struct Need {
    chain: Chain,
    /// Instructions that the verifier went through.
    processed: u32,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, processed } = self;
        write!(f, "{} bytes, {processed} instructions", chain.bytes)
    }
}

fn need(calls: &Calls, judgement: &Judgement) -> Result<Need, String> {
    let Judgement { program, verdict } = judgement;
    let log = verdict
        .as_ref()
        .map_err(|why| format!("{program}: {why}"))?;
    let facts = Facts::parse(log).ok_or_else(|| format!("{program}: no figures in: {log}"))?;
    let chain = calls
        .deepest(program, &facts.frames)
        .map_err(|why| format!("{program}: {why}"))?;
    Ok(Need {
        chain,
        processed: facts.processed,
    })
}

/// What each program needs, or why it is refused.
fn needs(tells: bool) -> Vec<(String, Result<Need, String>)> {
    let calls = Calls::read();
    let judgements = judge(tells);
    assert!(!judgements.is_empty(), "the object has no programs");
    let needs = judgements.into_iter();
    needs
        .map(|judgement| (judgement.program.clone(), need(&calls, &judgement)))
        .collect()
}

/// As those that tell of drops: these do all that the others do.
#[test]
fn every_program_loads_and_leaves_room() {
    let mut faults = Vec::new();
    let mut out = stdout();
    // Beside the capture of tests' words, for whoever runs the tests shall see it; the runner's line has no end yet.
    writeln!(out).unwrap();
    for (program, need) in needs(true) {
        match need {
            Ok(need) => {
                writeln!(out, "stack of {program}: {need}; {}", need.chain).unwrap();
                if need.chain.bytes > STACK_BAR || need.processed > PROCESSED_BAR {
                    faults.push(format!("{program}: {need}: {}", need.chain));
                }
            }
            Err(why) => faults.push(why),
        }
    }
    assert!(
        faults.is_empty(),
        "bars {STACK_BAR} bytes, {PROCESSED_BAR} instructions:\n{}",
        faults.join("\n")
    );
}

/// So what holds of those that tell holds of these.
#[test]
fn programs_that_do_not_tell_of_drops_load_and_need_no_more() {
    for ((program, silent), (_, telling)) in needs(false).into_iter().zip(needs(true)) {
        let (silent, telling) = (silent.unwrap(), telling.unwrap());
        assert!(
            silent.chain.bytes <= telling.chain.bytes && silent.processed <= telling.processed,
            "{program}: {silent}; telling of drops {telling}"
        );
    }
}
