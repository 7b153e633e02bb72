//! Two threads, each on a processor of its own, which put their packets in at the same moment.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use weir_tests::packets::{Bench, Hook, SHOT, see};

use crate::scenario::{Scenario, packets};

/// Pairs of packets between two looks at the table.
pub(crate) const ROUNDS: u64 = 64;
/// Turns of waiting before the other thread may have our processor.
const PATIENCE: u32 = 1000;

/// What came of a packet: its ends, unless it was dropped.
pub(crate) type Seen = Option<(SocketAddr, SocketAddr)>;

/// Runs the rounds of a lap.
pub(crate) fn run(bench: &Bench, scenario: &Scenario, lap: u64) -> Result<Vec<[Seen; 2]>> {
    let cpus = cpus()?;
    let meeting = AtomicU64::new(0);
    let side = |number: usize| {
        let (meeting, cpu) = (&meeting, cpus[number]);
        move || -> Result<Vec<Seen>> {
            // Whoever fails lets the other go on.
            let result = stay_on(cpu);
            let rounds = (0..ROUNDS).map(|round| {
                let (hook, packet) = packets(scenario, lap * ROUNDS + round).swap_remove(number);
                meet(meeting, 2 * (round + 1));
                put(bench, hook, &packet)
            });
            let seen = rounds.collect();
            result.and(seen)
        }
    };
    let both = thread::scope(|scope| {
        let threads = [0, 1].map(|number| scope.spawn(side(number)));
        threads.map(|thread| thread.join().expect("a thread of the race"))
    });
    let [first, second] = both;
    let pairs = first?.into_iter().zip(second?);
    Ok(pairs.map(|(first, second)| [first, second]).collect())
}

/// Waits for the other.
fn meet(meeting: &AtomicU64, arrived: u64) {
    meeting.fetch_add(1, SeqCst);
    let mut turns = 0;
    while meeting.load(SeqCst) < arrived {
        turns += 1;
        if turns % PATIENCE == 0 {
            thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

fn put(bench: &Bench, hook: Hook, packet: &[u8]) -> Result<Seen> {
    let (action, bytes) = bench.put(hook, packet)?;
    let ends = || {
        let seen = see(&bytes);
        (seen.source, seen.destination)
    };
    Ok((action != SHOT).then(ends))
}

fn stay_on(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &one).context("stay on a CPU")
}

/// Two that we may use.
fn cpus() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("ask for the CPUs")?;
    let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let cpus: Vec<usize> = cpus.take(2).collect();
    ensure!(cpus.len() == 2, "a race takes two CPUs");
    Ok([cpus[0], cpus[1]])
}
