//! Whether others' rules and routes take what Weir's routes lead to.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::node::{
    detours::{self, Detour},
    facts::Facts,
    host_device::{Published, ranges::ranges},
};

const RULE: &str = "find who adds it (a VPN, netplan, a script with `ip rule`) and have it leave these ranges out, or take it away";
const ROUTE: &str = "find who adds it (a VPN, a routing daemon, another network's leftover) and have it leave this range out, or take it away";

/// Looks at rules and routes of the kernel.
pub(super) fn look(scene: &Scene) -> Verdict {
    // Without a Node of its own it would be one of the others.
    let desired = scene.node().and_then(|_| scene.desired());
    let (Ok(facts), Some(desired)) = (&scene.facts, desired) else {
        return Verdict::unknown("not known");
    };
    let there = desired.ways.keys().map(|(_, range)| *range).collect();
    judge(facts, &services(scene), &there, &desired.pods)
}

/// Ranges of Services: as the agent has them, else as far as they can be told without it.
fn services(scene: &Scene) -> BTreeSet<IpNetwork> {
    if let Ok(status) = &scene.agent {
        let told = status.host.ranges.iter();
        return told.filter_map(|range| range.parse().ok()).collect();
    }
    let configured = &scene.config.node.service_cidrs;
    let known = ranges(configured, &Published::Absent, &scene.store.read());
    known.map(|known| known.ranges).unwrap_or_default()
}

fn judge(
    facts: &Facts,
    services: &BTreeSet<IpNetwork>,
    there: &BTreeSet<IpNetwork>,
    here: &[IpNetwork],
) -> Verdict {
    let mut all = services | there;
    all.extend(here);
    let rules = detours::rules(facts, &all).into_iter();
    let rules = rules.map(|detour| complaint(Fault::RuleElsewhere, detour, RULE));
    let routes = detours::routes(facts, &(services | there)).into_iter();
    let routes = routes.map(|detour| complaint(Fault::RouteElsewhere, detour, ROUTE));
    Verdict::of(
        "nobody else's rule or route takes Services or pods",
        rules.chain(routes),
    )
}

fn complaint(fault: Fault, detour: Detour, hint: &str) -> Complaint {
    Complaint::warning(fault, detour.text, hint).command(detour.removal)
}
