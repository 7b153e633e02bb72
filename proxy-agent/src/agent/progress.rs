//! What health and metrics are told of the main loop's syncs.

use std::time::{self, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{policies::Policies, services::Services};
use crate::{
    api::{Shared, health::FAMILIES, metrics::IpFamily},
    model::Dirty,
};

/// Tells metrics that changes wait.
pub(super) fn queued(shared: &Shared, services: &Services, dirty: &Dirty) {
    let metrics = &shared.metrics;
    for stamp in dirty.services.values() {
        metrics.service_changes.inc_by(stamp.services.into());
        metrics.endpoint_changes.inc_by(stamp.slices.into());
    }
    let (failed, failed_slices) = services.waiting();
    let stamps = || dirty.services.values();
    let waiting = failed + stamps().filter(|s| s.services > 0).count();
    let slices = failed_slices + stamps().filter(|s| s.slices > 0).count();
    metrics.service_changes_pending.set(count(waiting));
    metrics.endpoint_changes_pending.set(count(slices));
}

/// Tells metrics when changes arrived. Before the first sync nothing is late.
pub(super) fn stamp_queued(shared: &Shared) {
    let queued = &shared.metrics.last_queued;
    each_family(|labels| {
        queued.get_or_create(labels).set(unix_seconds());
    });
}

/// Tells health what the kernel does not take of the changes that arrived `since` then. What was refused
/// waits for another change or for room; that makes no node unhealthy.
pub(super) fn judge(
    shared: &Shared,
    services: &Services,
    policies: &Policies,
    since: Option<time::Instant>,
) {
    let since = since.unwrap_or_else(time::Instant::now);
    let subjects = [
        ("Services", services.broken()),
        ("policy", policies.broken()),
    ];
    for (subject, broken) in subjects {
        match broken {
            Some(why) => shared.health.behind(subject, since, why),
            None => shared.health.in_step(subject),
        }
    }
}

/// Tells metrics that a sync came to its end, and what it could not apply.
pub(super) fn applied(shared: &Shared, services: &Services, began: Instant, full: bool) {
    let metrics = &shared.metrics;
    let (waiting, slices) = services.waiting();
    metrics.service_changes_pending.set(count(waiting));
    metrics.endpoint_changes_pending.set(count(slices));
    let took = began.elapsed().as_secs_f64();
    let kind = if full {
        &metrics.sync_full
    } else {
        &metrics.sync_partial
    };
    each_family(|labels| {
        metrics.sync.get_or_create(labels).observe(took);
        kind.get_or_create(labels).observe(took);
        if services.broken().is_none() {
            metrics.last_sync.get_or_create(labels).set(unix_seconds());
        }
    });
}

/// A number for a gauge.
pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn each_family(mut set: impl FnMut(&IpFamily)) {
    for family in FAMILIES {
        set(&IpFamily::new(family));
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
