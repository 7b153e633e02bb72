//! Every program of the object passes the verifier of the kernel that runs this test, and leaves room for the next
//! feature. Run on the kernels of the matrix too (`cargo xtask kernels`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "verifier/calls.rs"]
mod calls;
#[path = "verifier/judge.rs"]
mod judge;
#[path = "verifier/log.rs"]
mod log;

use std::io::{Write as _, stdout};

use calls::Calls;
use judge::{Judgement, judge};

/// Bytes of stack that the deepest chain of calls of a program may need, of the kernel's 512 (`MAX_BPF_STACK`).
const STACK_BAR: u32 = 384;

#[test]
fn every_program_loads_and_leaves_room() {
    every_program_passes(false);
}

#[test]
fn every_program_that_tells_of_dropped_packets_loads_and_leaves_room() {
    every_program_passes(true);
}

fn every_program_passes(tells: bool) {
    let judgements = judge(tells);
    assert!(!judgements.is_empty(), "the object has no programs");
    let calls = Calls::read();
    let mut faults = Vec::new();
    let mut out = stdout();
    // The runner's line about this test has no end yet.
    writeln!(out).unwrap();
    for Judgement { program, verdict } in judgements {
        let verdict = verdict.and_then(|log| {
            let facts = log::Facts::parse(&log).ok_or_else(|| format!("no figures in: {log}"))?;
            let deepest = calls.deepest(&program, &facts.frames)?;
            let (bytes, instructions) = (deepest.bytes, facts.processed);
            let telling = if tells { ", telling of drops" } else { "" };
            // Beside the capture of tests' words: whoever runs the tests shall see it.
            writeln!(
                out,
                "stack of {program}{telling}: {bytes} of {STACK_BAR} bytes ({deepest}), {instructions} instructions processed"
            )
            .unwrap();
            if bytes > STACK_BAR {
                return Err(format!("its stack is {bytes} bytes deep: {deepest}"));
            }
            Ok(())
        });
        faults.extend(verdict.err().map(|fault| format!("{program}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
