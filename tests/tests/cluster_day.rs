//! A day of a cluster in ten minutes: random objects come, change and go in a real API server, valid ones and odd ones;
//! after each step the maps of a real agent hold what a model says that was written from Kubernetes' semantics alone, and
//! in the evening nothing is left. `WEIR_SEED` repeats a day.

#[path = "cluster_day/api.rs"]
mod api;
#[path = "cluster_day/check.rs"]
mod check;
#[path = "cluster_day/day.rs"]
mod day;
#[path = "cluster_day/dice.rs"]
mod dice;
#[path = "cluster_day/model.rs"]
mod model;
#[path = "cluster_day/nodes.rs"]
mod nodes;
#[path = "cluster_day/objects.rs"]
mod objects;
#[path = "cluster_day/policy.rs"]
mod policy;
#[path = "cluster_day/policy_objects.rs"]
mod policy_objects;
#[path = "cluster_day/services.rs"]
mod services;
#[path = "cluster_day/sources.rs"]
mod sources;
#[path = "cluster_day/steps.rs"]
mod steps;

use anyhow::{Context as _, Result};
use weir_tests::{length, watched::on_a_node};

#[test]
fn the_maps_are_what_the_model_says_all_day() -> Result<()> {
    let seed = length::seed_unless_long(7);
    let steps = length::steps(150, 3000);
    let day = on_a_node("day", async |node| day::live(node, seed, steps).await);
    day.with_context(|| format!("WEIR_SEED={seed}"))
}
