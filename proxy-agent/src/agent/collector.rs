//! Removes expired flows from `CONNTRACK*`. The datapath checks expiry itself, so this only gives room back:
//! correctness never waits for it.

use std::{collections::BTreeSet, time::Instant};

use proxy_common::conntrack::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState, REUSE_SECONDS};

use crate::{
    api::{Shared, health::FAMILIES, metrics::IpFamily},
    ctl::render::words,
    datapath::{KernelTable, Maps, Table as _, TableError},
};

/// One round over both families.
pub fn round(shared: &Shared, maps: &Maps) {
    let now = words::now();
    let v4 = |flow: &Flow4| flow.state;
    let v6 = |flow: &Flow6| flow.state;
    finish(shared, FAMILIES[0], |removed| {
        collect(&mut maps.conntrack4.clone(), now, v4, removed)
    });
    finish(shared, FAMILIES[1], |removed| {
        collect(&mut maps.conntrack6.clone(), now, v6, removed)
    });
}

fn finish(
    shared: &Shared,
    family: &'static str,
    collect: impl FnOnce(&mut u64) -> Result<(), TableError>,
) {
    let began = Instant::now();
    let mut removed = 0;
    let result = collect(&mut removed);
    let labels = IpFamily::new(family);
    shared
        .metrics
        .collected_flows
        .get_or_create(&labels)
        .inc_by(removed);
    shared
        .metrics
        .collection
        .get_or_create(&labels)
        .observe(began.elapsed().as_secs_f64());
    match result {
        Ok(()) if removed > 0 => {
            tracing::debug!(family, removed, took = ?began.elapsed(), "flows collected");
        }
        Ok(()) => {}
        Err(error) => tracing::warn!(family, removed, %error, "flows not collected"),
    }
}

/// Removes what expired; `removed` counts on even if a later chunk fails.
fn collect<K, V>(
    table: &mut KernelTable<K, V>,
    now: u32,
    state: impl Fn(&V) -> FlowState,
    removed: &mut u64,
) -> Result<(), TableError>
where
    K: aya::Pod + std::fmt::Debug + Ord,
    V: aya::Pod + std::fmt::Debug + PartialEq,
{
    let dead = |flow: &V| state(flow).expires.saturating_add(REUSE_SECONDS) <= now;
    let mut expired = Vec::new();
    table.visit(|key, flow| {
        if dead(flow) {
            expired.push(*key);
        }
    })?;
    for key in expired {
        // It may have been used again since it was read.
        if table.get(&key)?.is_some_and(|flow| dead(&flow)) {
            table.remove(&key)?;
            *removed += 1;
        }
    }
    Ok(())
}

/// Removes all flows of these endpoints.
pub fn forget(maps: &Maps, scopes: &BTreeSet<u32>) -> Result<(), TableError> {
    for table in [&maps.conntrack4, &maps.new_flows4] {
        remove_if(&mut table.clone(), |key: &FlowKey4| {
            scopes.contains(&key.scope)
        })?;
    }
    for table in [&maps.conntrack6, &maps.new_flows6] {
        remove_if(&mut table.clone(), |key: &FlowKey6| {
            scopes.contains(&key.scope)
        })?;
    }
    Ok(())
}

fn remove_if<K, V>(
    table: &mut KernelTable<K, V>,
    is_it: impl Fn(&K) -> bool,
) -> Result<(), TableError>
where
    K: aya::Pod + std::fmt::Debug + Ord,
    V: aya::Pod + std::fmt::Debug + PartialEq,
{
    let mut keys = Vec::new();
    table.visit(|key, _| {
        if is_it(key) {
            keys.push(*key);
        }
    })?;
    keys.iter().try_for_each(|key| table.remove(key))
}
