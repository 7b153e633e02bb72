//! The random packet machine: the programs get sequences of packets, expiries and changes, and do with each what a model
//! says that was written from the semantics alone.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "packet_machine/begin.rs"]
mod begin;
#[path = "packet_machine/fate.rs"]
mod fate;
#[path = "packet_machine/flow.rs"]
mod flow;
#[path = "packet_machine/generate.rs"]
mod generate;
#[path = "packet_machine/hooks.rs"]
mod hooks;
#[path = "packet_machine/machine.rs"]
mod machine;
#[path = "packet_machine/model.rs"]
mod model;
#[path = "packet_machine/packet.rs"]
mod packet;
#[path = "packet_machine/real.rs"]
mod real;
#[path = "packet_machine/run.rs"]
mod run;
#[path = "packet_machine/world.rs"]
mod world;

use weir_tests::length;

/// So few that they do not last.
const SLOTS: u32 = 16;

#[test]
fn the_programs_do_what_the_model_says() {
    let seed = length::seed();
    let machine = real::Real::new().unwrap();
    let mut run = run::Run::new(machine, seed).unwrap();
    run.steps(length::steps(20_000, 1_000_000))
        .unwrap_or_else(|error| panic!("WEIR_SEED={seed}: {error:#}"));
}

#[test]
fn the_programs_masquerade_what_the_model_would() {
    let seed = length::seed();
    let machine = real::Real::new().and_then(real::Real::masquerading);
    let run = run::Run::new(machine.unwrap(), seed).unwrap();
    run.masquerading()
        .steps(length::steps(20_000, 1_000_000))
        .unwrap_or_else(|error| panic!("WEIR_SEED={seed}: {error:#}"));
}

#[test]
fn with_xdp_before_tc_the_programs_do_the_same() {
    let seed = length::seed();
    let machine = real::Real::new().and_then(real::Real::wired);
    let mut run = run::Run::new(machine.unwrap(), seed).unwrap();
    run.steps(length::steps(20_000, 1_000_000))
        .unwrap_or_else(|error| panic!("WEIR_SEED={seed}: {error:#}"));
}

#[test]
fn under_pressure_only_flows_that_are_not_established_are_lost() {
    let seed = length::seed();
    let machine = real::Real::with_slots(SLOTS).unwrap();
    let run = run::Run::new(machine, seed).unwrap();
    run.with_slots(SLOTS as usize)
        .steps(length::steps(4_000, 100_000))
        .unwrap_or_else(|error| panic!("WEIR_SEED={seed}: {error:#}"));
}
