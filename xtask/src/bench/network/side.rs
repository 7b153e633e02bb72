//! Two beds of the same wiring, and the same load in both.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use weir_world::{
    Pod, Process,
    load::{Kind, Report, Request, of_process},
};

use super::{
    Plan,
    row::{self, By, Cells, Row, Topic},
};
use crate::{
    bench::{
        bed::{Bare, Pods, Weir},
        load,
    },
    say,
};

/// Names of the families, in the order of addresses.
const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// A bed, and whom its client asks.
pub(super) struct Side {
    by: By,
    to: [SocketAddr; 2],
    /// Outside the cluster. They end before the bed.
    servers: Vec<Process>,
    bed: Bed,
}

enum Bed {
    Bare(Box<Bare>),
    Weir(Box<Weir>),
}

impl Side {
    /// The kernel's own.
    pub(super) fn reference(bed: Bare) -> Self {
        Self::of(By::Reference, Bed::Bare(Box::new(bed)))
    }

    /// Weir's.
    pub(super) fn weir(bed: Weir) -> Self {
        Self::of(By::Weir, Bed::Weir(Box::new(bed)))
    }

    fn of(by: By, bed: Bed) -> Self {
        let to = bed.pods().away();
        Self {
            by,
            to,
            servers: Vec::new(),
            bed,
        }
    }

    /// With servers elsewhere than in the pod of the other node.
    pub(super) fn with_servers(self, to: [SocketAddr; 2], servers: Vec<Process>) -> Self {
        Self {
            to,
            servers,
            ..self
        }
    }

    /// Processor seconds of all servers so far.
    fn spent(&self) -> Result<f64> {
        let servers = self.servers.iter().chain(&self.bed.pods().servers);
        servers.map(|server| of_process(server.id())).sum()
    }

    /// A load, and the processor seconds of client and servers.
    fn run(&self, request: &Request) -> Result<(Report, f64)> {
        let Request { kind, to, .. } = request;
        let before = self.spent()?;
        let report = load::client(self.client(), request)
            .with_context(|| format!("{kind:?} to {to} by {:?}", self.by))?;
        let spent = self.spent()? - before + report.own_seconds;
        ensure!(
            report.failed == 0,
            "{} of {kind:?} to {to} by {:?} failed",
            report.failed,
            self.by
        );
        Ok((report, spent))
    }

    fn client(&self) -> &Pod {
        &self.bed.pods().client
    }
}

impl Bed {
    fn pods(&self) -> &Pods {
        match self {
            Self::Bare(bed) => &bed.pods,
            Self::Weir(bed) => &bed.pods,
        }
    }
}

/// All rounds of a topic: each load in both families on both sides, the first of which changes.
pub(super) fn compare(
    topic: Topic,
    plan: Plan,
    sides: impl FnOnce() -> Result<[Side; 2]>,
) -> Result<Vec<Row>> {
    let mut sides = say::step(&format!("make the beds of {topic:?}"), sides)?;
    let mut cells = Cells::default();
    for round in 1..=plan.rounds {
        sides.reverse();
        say::step(
            &format!("{topic:?}: round {round} of {}", plan.rounds),
            || go_round(topic, plan, &sides, &mut cells),
        )?;
    }
    Ok(row::of(&cells))
}

fn go_round(topic: Topic, plan: Plan, sides: &[Side; 2], cells: &mut Cells) -> Result<()> {
    let wanted = |(kind, _): &(Kind, usize)| !plan.only_throughput || *kind == Kind::Bulk;
    for (kind, threads) in load::ALL.into_iter().filter(wanted) {
        for (family, what) in FAMILIES.into_iter().enumerate() {
            for side in sides {
                let request = Request {
                    kind,
                    to: side.to[family],
                    threads,
                    span: plan.span,
                };
                let (report, seconds) = side.run(&request)?;
                cells.add((topic, what), side.by, kind, &report);
                let (metric, value) = tasks(kind, &report, seconds);
                cells.put((topic, what), metric, side.by, value);
            }
        }
    }
    Ok(())
}

/// What a request (or a million bytes) costs client and server, which others on the machine do not blur as they do a rate.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^52"
)]
fn tasks(kind: Kind, report: &Report, seconds: f64) -> (&'static str, f64) {
    let each = seconds * 1e6 / report.count as f64;
    match kind {
        Kind::Connect => ("connection_tasks_us", each),
        Kind::Request => ("request_tasks_us", each),
        Kind::Bulk => ("million_bytes_tasks_us", each * 1e6),
    }
}
