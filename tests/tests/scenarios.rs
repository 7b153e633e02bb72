//! Golden scenarios: YAML in, rendered maps out.
//!
//! Each file of `tests/scenarios/` is one; its name is the feature. It is run with maps that fail a tenth of
//! their writes, with several seeds, and ends with everything removed and the maps empty. With
//! `UPDATE_SCENARIOS=1` the expected output is written anew; read the difference before committing it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

#[path = "scenarios/run.rs"]
mod run;
#[path = "scenarios/script.rs"]
mod script;

use std::{collections::BTreeSet, fs, path::PathBuf};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
}

macro_rules! scenarios {
    ($($test:ident = $name:literal),+ $(,)?) => {
        $(
            #[test]
            fn $test() {
                run::scenario(&folder().join(concat!($name, ".txtar")));
            }
        )+

        const NAMES: &[&str] = &[$($name),+];
    };
}

scenarios! {
    affinity = "affinity",
    clusterip = "clusterip",
    custom_endpoints = "custom-endpoints",
    dualstack = "dualstack",
    externalname = "externalname",
    external_ip = "external-ip",
    external_local = "external-local",
    full_backend_map = "full-backend-map",
    headless = "headless",
    internal_local = "internal-local",
    invalid_address = "invalid-address",
    leading_zeros = "leading-zeros",
    loadbalancer = "loadbalancer",
    loadbalancer_source_ranges = "loadbalancer-source-ranges",
    malformed_yaml = "malformed-yaml",
    migrate_backend = "migrate-backend",
    multiple_slices = "multiple-slices",
    multiport = "multiport",
    named_target_ports = "named-target-ports",
    nil_conditions = "nil-conditions",
    no_endpoints = "no-endpoints",
    nodeport = "nodeport",
    nodeport_same_port_protocols = "nodeport-same-port-protocols",
    not_ready = "not-ready",
    port_renamed = "port-renamed",
    prefer_same_node = "prefer-same-node",
    prefer_same_zone = "prefer-same-zone",
    publish_not_ready = "publish-not-ready",
    restart_keeps_ids = "restart-keeps-ids",
    sctp = "sctp",
    service_proxy_name = "service-proxy-name",
    service_recreated = "service-recreated",
    terminating = "terminating",
    thousand_endpoints = "thousand-endpoints",
    type_changes = "type-changes",
    udp = "udp",
}

#[test]
fn every_scenario_is_listed() {
    let files = fs::read_dir(folder()).unwrap();
    let files: BTreeSet<String> = files
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txtar"))
        .map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let names: BTreeSet<String> = NAMES.iter().map(ToString::to_string).collect();
    assert_eq!(files, names);
}
