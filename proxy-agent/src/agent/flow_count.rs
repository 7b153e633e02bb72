//! Counts the tracked flows, for the status and the metrics.

use proxy_common::node::NodeConfig;

use crate::{
    api::{
        Shared,
        health::FAMILIES,
        messages::{FamilyFlows, FlowsStatus, SourcePorts},
        metrics::{FlowLabels, IpFamily},
    },
    datapath::{FlowState, FlowUsage, Flows, Maps, Table as _, clock, flows::PortsTaken},
    model::Protocol,
};

/// So many backends are told of.
const BUSIEST: usize = 8;

/// Counts the flows of both families, and gives how their slots are used.
pub(super) fn count(shared: &Shared, maps: &Maps) -> [FlowUsage; 2] {
    let now = clock::seconds();
    let config = match maps.node_config.get(&0) {
        Ok(config) => config.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "flows not counted");
            return maps.flows().map(|flows| flows.usage(now));
        }
    };
    let mut status = FlowsStatus {
        source_ports: source_ports(&config),
        ..FlowsStatus::default()
    };
    let mut taken = Vec::new();
    let mut usage = [FlowUsage::default(); 2];
    for ((family, flows), usage) in FAMILIES.into_iter().zip(maps.flows()).zip(&mut usage) {
        let (used, ports) = flows.survey(now);
        *usage = used;
        status.families.push(family_flows(family, flows, *usage));
        measure(shared, family, ports.first(), status.source_ports);
        taken.extend(ports.into_iter().take(BUSIEST));
    }
    taken.sort_unstable_by(|a, b| b.cmp(a));
    status.busiest = taken.iter().take(BUSIEST).map(in_words).collect();
    for family in &status.families {
        for (state, count) in &family.states {
            let labels = FlowLabels::new(&family.family, state);
            let gauge = shared.metrics.flows.get_or_create(&labels);
            gauge.set(i64::from(*count));
        }
    }
    shared.set_flows(status);
    usage
}

fn source_ports(config: &NodeConfig) -> u32 {
    let (first, last) = (config.source_port_min, config.source_port_max);
    if first == 0 {
        return 0; // Not known yet.
    }
    u32::from(last.saturating_sub(first)) + 1
}

fn family_flows(family: &str, flows: &Flows, usage: FlowUsage) -> FamilyFlows {
    let FlowUsage {
        assured,
        unassured,
        expired: _,
        states,
    } = usage;
    let states = FlowState::ALL.iter().zip(states);
    FamilyFlows {
        family: family.to_owned(),
        capacity: flows.capacity(),
        assured,
        unassured,
        states: states
            .map(|(state, count)| (state.word().to_owned(), count))
            .collect(),
    }
}

fn measure(shared: &Shared, family: &str, fullest: Option<&PortsTaken>, all: u32) {
    let taken = fullest.map_or(0, |fullest| fullest.count);
    let pressure = f64::from(taken) / f64::from(all.max(1));
    let gauge = &shared.metrics.source_port_pressure;
    gauge.get_or_create(&IpFamily::new(family)).set(pressure);
}

fn in_words(taken: &PortsTaken) -> SourcePorts {
    SourcePorts {
        backend: format!("{}/{}", taken.backend, Protocol::name_of(taken.protocol)),
        source: taken.source.to_string(),
        taken: taken.count,
        masqueraded: taken.masqueraded,
    }
}
