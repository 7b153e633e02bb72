//! Killed while maps and programs take the place of others: because maps grow and shrink, and because those of schema 1 are
//! taken over.
//!
//! Meanwhile no flow begins, for five seconds at the most: what would have begun one is sent again.

use std::{net::SocketAddr, thread};

use anyhow::{Context as _, Result, ensure};
use weir_tests::{
    killed::{BY, Traced},
    length,
    older::{self, SCHEMA_1},
    served::await_answer,
    told::File,
    watched::PATIENCE,
    world::{Cluster, ask_tcp, cluster::POD_PORT, until},
};

use super::{
    bed::{Pods, State},
    picture::Picture,
    probes::{Ends, Probes},
    run::{End, SOME, again, finish, is_ready, picture, ready, settled, with_all_links},
};

/// Kills an agent while it resizes maps.
pub(crate) fn resizes(name: &str) -> Result<()> {
    let file = File::new(sizes(State::First))?;
    let mut cluster = Cluster::start(name, &["a"], &file.flags()?)?;
    let pods = Pods::start(&cluster)?;
    with_all_links(&cluster)?;
    let first = settled(&cluster)?;
    file.tell(sizes(State::Second))?;
    until("maps of other sizes", PATIENCE, || {
        Ok((picture(&cluster)? != first).then_some(()))
    })?;
    let wanted = [first, settled(&cluster)?];
    let mut state = State::Second;
    every_under_traffic(&mut cluster, &pods, |cluster, target| {
        state = state.other();
        let wanted = &wanted[usize::from(state == State::Second)];
        cluster.agent_mut(0).crash()?;
        let traced = Traced::start(cluster.agent(0).command(&BY)?, target, false)?;
        ready(cluster)?;
        traced.count_from_now();
        file.tell(sizes(state))?;
        let end = finish(cluster, traced, wanted)?;
        again(cluster, wanted, target, &end)?;
        Ok(end)
    })
}

/// Maps of the agent's, of the programs' and of policy, and arrays among them.
const fn sizes(state: State) -> &'static str {
    match state {
        State::First => "conntrack: 32768, frontends: 512, affinity: 512, policyCells: 16384",
        State::Second => "conntrack: 65536, frontends: 1024, affinity: 1024, policyCells: 32768",
    }
}

/// Kills an agent while it takes a node over from schema 1.
pub(crate) fn takes_over(name: &str) -> Result<()> {
    let older = older::programs(SCHEMA_1)?;
    let flags = ["--map-size", "small", "--conntrack-max", "65536"];
    let mut cluster = Cluster::start_version(name, &["a"], &flags, Some(&older))?;
    let pods = Pods::start(&cluster)?;
    for to in [10, 11, 12].into_iter().flat_map(Pods::vips) {
        await_answer(&cluster, &pods.friend, SocketAddr::new(to, 80))?;
    }
    for to in pods.web.at(POD_PORT) {
        cluster.eventually("the stranger to be denied", || {
            ask_tcp(&pods.stranger, to).err()
        })?;
    }
    let mut wanted: Option<Picture> = None;
    every_under_traffic(&mut cluster, &pods, |cluster, target| {
        if wanted.is_some() {
            older::hand_over(cluster.agent_mut(0), &older)?;
        }
        cluster.agent_mut(0).terminate()?;
        cluster.agent_mut(0).set_version(None);
        let traced = Traced::start(cluster.agent(0).command(&BY)?, target, true)?;
        until("the traced agent to be killed or ready", PATIENCE, || {
            Ok((traced.is_over() || is_ready(cluster)).then_some(()))
        })?;
        let end = End(traced.calls());
        traced.end()?;
        // What only sockets of that time need goes with the second start.
        cluster.agent_mut(0).restart()?;
        cluster.agent_mut(0).crash()?;
        cluster.agent_mut(0).restart()?;
        with_all_links(cluster)?;
        match &wanted {
            Some(wanted) => {
                cluster.agent_mut(0).crash()?;
                again(cluster, wanted, target, &end)?;
            }
            None => wanted = Some(settled(cluster)?),
        }
        Ok(end)
    })
}

/// Without a kill, then with one at some calls, or all, from the one by which the new maps become of importance.
fn every_under_traffic(
    cluster: &mut Cluster,
    pods: &Pods,
    mut once: impl FnMut(&mut Cluster, u64) -> Result<End>,
) -> Result<()> {
    let seed = length::seed_unless_long(95);
    let probes = Probes::that_send_again();
    let outside = cluster.world().outside().clone();
    let mut every = || {
        let undisturbed = once(cluster, u64::MAX)?;
        probes.judge(pods).context("without a kill")?;
        for target in targets(&undisturbed, seed)? {
            let end = once(cluster, target)?;
            let told = || format!("with the kill before call {target}: {end}");
            probes.judge(pods).with_context(told)?;
        }
        Ok(())
    };
    let done: Result<()> = thread::scope(|scope| {
        let _ends = Ends(&probes);
        probes.begin(scope, pods, &outside);
        every()
    });
    let done = done.and_then(|()| {
        let counts = probes.counts();
        ensure!(
            counts.iter().all(|count| *count > 1000),
            "answers and attempts: {counts:?}"
        );
        Ok(())
    });
    done.with_context(|| format!("WEIR_SEED={seed}, log of the agents:\n{}", cluster.logs()))
}

fn targets(End(calls): &End, seed: u64) -> Result<Vec<u64>> {
    let renamed = calls.iter().position(|call| call.starts_with("rename"));
    let first = renamed.with_context(|| format!("nothing was renamed: {calls:?}"))? as u64;
    let all = calls.len() as u64 - first;
    ensure!(all >= SOME, "only {all} calls of importance: {calls:?}");
    let count = length::steps(SOME, all);
    let targets = (0..count).map(|n| first + (n * all / count + seed) % all + 1);
    Ok(targets.collect())
}
