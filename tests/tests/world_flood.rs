//! Floods at the highest rate that the machine gives, from senders that are nobody: who was there before stays, who
//! comes meanwhile is served, and the table is what it was soon after; with the agent and without.
//!
//! The short form floods a small table for seconds, the long one (`WEIR_LONG`) both sizes for a minute each.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod flood {
    pub(crate) mod bed;
    pub(crate) mod honest;
    pub(crate) mod live;
    pub(crate) mod table;
}

use std::{
    io::{Write as _, stdout},
    time::{Duration, Instant},
};

use flood::{bed::Bed, honest::Honest, live::Live, table::Table};
use weir_tests::{
    flood::{Flood, Forge},
    length::steps,
    world::until,
};

/// Of a hundred honest newcomers so many are served at least.
const SERVED: u64 = 95;
/// A flood has left the table after that.
const OVER: Duration = Duration::from_mins(2);

/// What the flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Openings of connections to an open port, whose answers go out to nobody.
    Syn,
    /// Datagrams that a server answers.
    Datagram,
}

#[test]
fn openings_with_the_agent() {
    floods(Kind::Syn, true);
}

#[test]
fn openings_without_the_agent() {
    floods(Kind::Syn, false);
}

#[test]
fn datagrams_with_the_agent() {
    floods(Kind::Datagram, true);
}

#[test]
fn datagrams_without_the_agent() {
    floods(Kind::Datagram, false);
}

/// A table that is full at once; in the long form also one as nodes have it.
fn floods(kind: Kind, agent: bool) {
    let sizes: &[&str] = if is_long() {
        &["small", "large"]
    } else {
        &["small"]
    };
    for size in sizes {
        withstands(kind, agent, size);
    }
}

fn is_long() -> bool {
    steps(0, 1) == 1
}

fn withstands(kind: Kind, agent: bool, size: &str) {
    let mut bed = Bed::start(size);
    let table = Table::of(bed.node());
    let live = Live::open(&bed);
    let (before, standing) = (table.live(0), table.standing());
    assert!(
        standing.len() >= live.len(),
        "{} of {} flows are assured",
        standing.len(),
        live.len()
    );
    if !agent {
        bed.cluster.agent_mut(0).crash().unwrap();
    }
    let (mac, targets) = (bed.mac(), bed.targets());
    let forges = targets.map(|to| match kind {
        Kind::Syn => Forge::syn(mac, to),
        Kind::Datagram => Forge::datagram(mac, to),
    });
    let span = Duration::from_secs(steps(4, 60));
    let answered = bed.answers();
    let outside = bed.cluster.world().outside();
    let flood = Flood::start(outside, "port1", &forges, span).unwrap();
    let (live, honest) = (live.keep_talking(), Honest::come(&bed));
    let peak = table.peak_during(span);
    let sent = flood.wait().unwrap();
    let (mut live, honest) = (live.stop(), honest.stop());
    let (ended, answered) = (Instant::now(), bed.answers() - answered);

    let with = if agent { "with" } else { "without" };
    let mut out = stdout();
    // Beside the capture of tests' words, for people; the runner's line has no end yet.
    writeln!(
        out,
        "\nflood of {kind:?}, {size} table, {with} the agent: {sent}; {answered} packets out; {} live flows ({} datagrams again); \
         newcomers: {honest}; table {before} > {peak} of {}; drops {:?}",
        live.len(),
        live.repeated(),
        table.capacity(),
        bed.drops(),
    )
    .unwrap();
    assert_eq!(live.faults(), [""; 0], "flows that were there before");
    assert_eq!(
        table.missing(&standing),
        [""; 0],
        "records of flows that were there before"
    );
    assert!(
        honest.tried() > 0 && honest.served() * 100 >= honest.tried() * SERVED,
        "{honest}"
    );
    assert!(
        answered * 5 >= sent.packets,
        "{answered} packets out, {sent}"
    );
    if size == "small" {
        assert!(peak * 10 >= table.capacity() * 9, "no pressure: {peak}");
    }
    calms_down(kind, &table, before, ended);
    live.talk_once();
    assert_eq!(live.faults(), [""; 0], "after the flood");
    if !agent {
        bed.cluster.agent_mut(0).restart().unwrap();
    }
    let after = Honest::once(&bed);
    assert_eq!(after.served(), after.tried(), "after the flood: {after}");
    live.talk_once();
    assert_eq!(live.faults(), [""; 0], "at the end");
}

/// In the short form half-open connections, whose minute nobody can shorten, are not waited for: no record of them may
/// outlast the two minutes.
fn calms_down(kind: Kind, table: &Table, before: u32, ended: Instant) {
    let normal = before + table.capacity() / 20;
    let later = table.live(OVER.as_secs() as u32);
    assert!(
        later <= normal,
        "{later} flows live on, {before} were there before"
    );
    if kind == Kind::Syn && !is_long() {
        return;
    }
    until(
        "the table to be as before",
        OVER.saturating_sub(ended.elapsed()),
        || Ok((table.live(0) <= normal && table.shown() <= normal).then_some(())),
    )
    .unwrap();
    let mut out = stdout();
    let calm = ended.elapsed();
    writeln!(out, "the table is as before {calm:.0?} after the flood").unwrap();
}
