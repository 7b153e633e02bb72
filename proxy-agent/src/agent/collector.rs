//! Removes expired flows from `CONNTRACK*`. The datapath checks expiry itself, so this only gives room back:
//! correctness never waits for it.

use std::{collections::BTreeSet, time::Instant};

use proxy_common::conntrack::{FlowState, REUSE_SECONDS};

use crate::{
    api::{Shared, health::FAMILIES, metrics::IpFamily},
    ctl::render::words,
    datapath::{Maps, TableError},
};

/// One round over both families.
pub fn round(shared: &Shared, maps: &Maps) {
    let now = words::now();
    finish(shared, FAMILIES[0], |removed| {
        let mut table = maps.conntrack4.clone();
        table.remove_where(|_, flow| dead(&flow.state, now), removed)
    });
    finish(shared, FAMILIES[1], |removed| {
        let mut table = maps.conntrack6.clone();
        table.remove_where(|_, flow| dead(&flow.state, now), removed)
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

/// Whether a flow is over, and nobody will begin it anew in place.
const fn dead(state: &FlowState, now: u32) -> bool {
    state.expires.saturating_add(REUSE_SECONDS) <= now
}

/// Removes all flows of these endpoints.
pub fn forget(maps: &Maps, scopes: &BTreeSet<u32>) -> Result<(), TableError> {
    let mut removed = 0;
    for table in [&maps.conntrack4, &maps.new_flows4] {
        let mut table = table.clone();
        table.remove_where(|key, _| scopes.contains(&key.scope), &mut removed)?;
    }
    for table in [&maps.conntrack6, &maps.new_flows6] {
        let mut table = table.clone();
        table.remove_where(|key, _| scopes.contains(&key.scope), &mut removed)?;
    }
    Ok(())
}
