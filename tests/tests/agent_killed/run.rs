//! Kill, start again, compare; call by call.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use weir_tests::{
    datapath::drops,
    killed::{BY, Traced},
    length,
    watched::PATIENCE,
    world::{Cluster, Place, http_get, until},
};

use super::{
    bed::{Pods, State},
    picture::Picture,
    probes::{Ends, Probes},
};

/// What an undisturbed agent has must stay for so long to count.
const CALM: Duration = Duration::from_secs(2);
/// Calls at which the short form kills.
pub(crate) const SOME: u64 = 4;

/// When the agent is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// While it starts, and finds that much has changed.
    Starts,
    /// While it brings changes in force, having been in step.
    Changes,
}

/// How it ended: its writing calls, the last of which was not made if that is the one.
pub(crate) struct End(pub(crate) Vec<String>);

impl End {
    fn calls(&self) -> u64 {
        self.0.len() as u64
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.last().map_or("none", String::as_str);
        write!(f, "{} writing calls, last {last}", self.calls())
    }
}

/// A run of all calls, or some of them.
struct Run<'a> {
    cluster: &'a mut Cluster,
    pods: &'a Pods,
    when: When,
    /// Of both states.
    wanted: [Picture; 2],
    state: State,
    seed: u64,
}

/// Kills an agent with pods, and traffic all the time.
pub(crate) fn run(name: &str, when: When) -> Result<()> {
    let seed = length::seed_unless_long(95);
    let mut cluster = Cluster::start(name, &["a"], &[])?;
    let pods = Pods::start(&cluster)?;
    let outside = cluster.world().outside().clone();
    with_all_links(&cluster)?;
    let first = settled(&cluster)?;
    pods.write(State::Second)?;
    until("the second state", PATIENCE, || {
        Ok((picture(&cluster)? != first).then_some(()))
    })?;
    let second = settled(&cluster)?;
    let run = Run {
        cluster: &mut cluster,
        pods: &pods,
        when,
        wanted: [first, second],
        state: State::Second,
        seed,
    };
    let result = run.under_traffic(&outside);
    result.with_context(|| format!("WEIR_SEED={seed}, log of the agents:\n{}", cluster.logs()))
}

/// Kills an agent that finds nothing of an earlier one.
pub(crate) fn first_start() -> Result<()> {
    let seed = length::seed_unless_long(95);
    let mut cluster = Cluster::start("killed-first", &["a"], &[])?;
    let wanted = settled(&cluster)?;
    let result = kill_first(&mut cluster, &wanted, seed);
    result.with_context(|| format!("WEIR_SEED={seed}, log of the agents:\n{}", cluster.logs()))
}

fn kill_first(cluster: &mut Cluster, wanted: &Picture, seed: u64) -> Result<()> {
    let mut once = |target| {
        cluster.agent_mut(0).terminate()?;
        let cleaned = cluster.agent(0).command(&[])?.arg("cleanup").status()?;
        ensure!(cleaned.success(), "cleanup: {cleaned}");
        let traced = Traced::start(cluster.agent(0).command(&BY)?, target, true)?;
        let end = finish(cluster, traced, wanted)?;
        again(cluster, wanted, target, &end)?;
        Ok::<_, anyhow::Error>(end)
    };
    let calls = once(u64::MAX)?.calls();
    for target in targets(calls, seed)? {
        once(target)?;
    }
    Ok(())
}

impl Run<'_> {
    fn under_traffic(mut self, outside: &Place) -> Result<()> {
        let (pods, probes) = (self.pods, Probes::default());
        let done = thread::scope(|scope| {
            let _ends = Ends(&probes);
            probes.begin(scope, pods, outside);
            self.every(&probes)
        });
        done?;
        probes.judge(pods)?;
        let counts = probes.counts();
        ensure!(
            counts.iter().all(|count| *count > 1000),
            "answers and attempts: {counts:?}"
        );
        Ok(())
    }

    fn every(&mut self, probes: &Probes) -> Result<()> {
        let end = self.once(u64::MAX, probes)?;
        for target in targets(end.calls(), self.seed)? {
            self.once(target, probes)?;
        }
        Ok(())
    }

    /// From one state to the other, with a kill before a call.
    fn once(&mut self, target: u64, probes: &Probes) -> Result<End> {
        self.state = self.state.other();
        let wanted = &self.wanted[usize::from(self.state == State::Second)];
        self.cluster.agent_mut(0).crash()?;
        let starts = self.when == When::Starts;
        if starts {
            self.pods.write(self.state)?;
        }
        let command = self.cluster.agent(0).command(&BY)?;
        let traced = Traced::start(command, target, starts)?;
        if !starts {
            ready(self.cluster)?;
            traced.count_from_now();
            self.pods.write(self.state)?;
        }
        let end = finish(self.cluster, traced, wanted)?;
        let (node, state) = (self.cluster.node(0).clone(), self.state);
        let told = |what: &str| {
            let drops = drops(&node);
            format!(
                "{what} the kill before call {target} on the way to {state:?}: {end}; dropped {drops:?}"
            )
        };
        probes.judge(self.pods).with_context(|| told("until"))?;
        again(self.cluster, wanted, target, &end)?;
        probes.judge(self.pods).with_context(|| told("after"))?;
        Ok(end)
    }
}

/// Waits until the traced agent has been killed, or is in step for good; it is over then.
pub(crate) fn finish(cluster: &Cluster, traced: Traced, wanted: &Picture) -> Result<End> {
    let mut since = None;
    until("the traced agent to be killed or in step", PATIENCE, || {
        if traced.is_over() {
            return Ok(Some(()));
        }
        let now = picture(cluster)?;
        if now != *wanted {
            since = None;
            ensure!(now == *wanted, "{}", now.differs(wanted));
        }
        let since = *since.get_or_insert_with(Instant::now);
        Ok((since.elapsed() >= CALM).then_some(()))
    })?;
    let end = End(traced.calls());
    traced.end()?;
    Ok(end)
}

/// The next start converges.
pub(crate) fn again(cluster: &mut Cluster, wanted: &Picture, target: u64, end: &End) -> Result<()> {
    let started = cluster.agent_mut(0).restart();
    let converged = started.and_then(|()| {
        until("what an undisturbed agent has", PATIENCE, || {
            let now = picture(cluster)?;
            ensure!(now == *wanted, "{}", now.differs(wanted));
            cluster.agent(0).proxyctl(&["diff"])?;
            Ok(Some(()))
        })
    });
    converged.with_context(|| format!("after the kill before call {target}: {end}"))
}

/// Pods get links of their own a while after they came.
pub(crate) fn with_all_links(cluster: &Cluster) -> Result<()> {
    until("links of all pods", PATIENCE, || {
        Ok((picture(cluster)?.count("links/to_pod") == 4).then_some(()))
    })
}

pub(crate) fn ready(cluster: &Cluster) -> Result<()> {
    until("the traced agent to be ready", PATIENCE, || {
        Ok(is_ready(cluster).then_some(()))
    })
}

pub(crate) fn is_ready(cluster: &Cluster) -> bool {
    let health = http_get(cluster.node(0), ([127, 0, 0, 1], 10256).into(), "/readyz");
    health.is_ok_and(|(code, _)| code == 200)
}

pub(crate) fn picture(cluster: &Cluster) -> Result<Picture> {
    Picture::of(cluster.agent(0), cluster.node(0))
}

/// What stays as it is for a while; nothing while maps are made, which takes longer.
pub(crate) fn settled(cluster: &Cluster) -> Result<Picture> {
    let mut last = (picture(cluster)?, Instant::now());
    until("the node to settle", PATIENCE, || {
        let now = picture(cluster)?;
        if now != last.0 || !now.is_whole() {
            last = (now, Instant::now());
        }
        Ok((last.1.elapsed() >= CALM).then(|| last.0.clone()))
    })
}

/// All calls, or some, evenly, other ones in each run.
fn targets(calls: u64, seed: u64) -> Result<Vec<u64>> {
    ensure!(calls >= SOME, "only {calls} writing calls");
    let count = length::steps(SOME, calls);
    let offset = seed % calls;
    Ok((0..count)
        .map(|n| (n * calls / count + offset) % calls + 1)
        .collect())
}
