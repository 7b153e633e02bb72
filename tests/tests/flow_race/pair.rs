//! Two threads, each on a processor of its own, which put their packets in at the same moment.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
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

/// For longer a packet is under way only if its processor was taken away, by other threads or by another machine.
const STOPPED: Duration = Duration::from_micros(50);

/// What came of a packet, unless it was dropped.
pub(crate) type Seen = Option<Left>;

/// A packet as it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// The hardware address that its frame is for: each pod has another one.
    pub(crate) frame: [u8; 6],
}

/// What came of two packets.
pub(crate) struct Round {
    pub(crate) seen: [Seen; 2],
    /// A processor stood still within its program. The other one does not wait for it for long, and helps itself: with
    /// another port, another backend, or not at all.
    pub(crate) was_stopped: bool,
}

/// Runs the rounds of a lap.
pub(crate) fn run(bench: &Bench, scenario: &Scenario, lap: u64) -> Result<Vec<Round>> {
    let cpus = cpus()?;
    let meeting = AtomicU64::new(0);
    let side = |number: usize| {
        let (meeting, cpu) = (&meeting, cpus[number]);
        move || -> Result<Vec<(Seen, Duration)>> {
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
    let round = |((first, one), (second, other)): ((Seen, Duration), (Seen, Duration))| Round {
        seen: [first, second],
        was_stopped: one.max(other) > STOPPED,
    };
    Ok(pairs.map(round).collect())
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

/// Puts a packet in: what came of it, and how long that took.
fn put(bench: &Bench, hook: Hook, packet: &[u8]) -> Result<(Seen, Duration)> {
    let begin = Instant::now();
    let (action, bytes) = bench.put(hook, packet)?;
    let took = begin.elapsed();
    let left = || {
        let seen = see(&bytes);
        Left {
            from: seen.source,
            to: seen.destination,
            frame: std::array::from_fn(|at| bytes[at]),
        }
    };
    Ok(((action != SHOT).then(left), took))
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
