//! How full maps are, and what flows may have.

use super::{Level, Row};
use crate::api::messages::{MapStatus, SourcePorts, Status};

/// Source ports by those that there are from which it is a warning.
const PRESSURE: f64 = 0.8;

/// The row of maps.
pub(super) fn maps(status: &Status) -> Row {
    let full: Vec<_> = status
        .maps
        .iter()
        .filter(|map| map.is_filling_up())
        .collect();
    let fullest = status
        .maps
        .iter()
        .max_by(|a, b| a.pressure().total_cmp(&b.pressure()));
    let text = fullest.map_or_else(String::new, fill);
    let level = match full.iter().map(|map| map.pressure()).fold(0.0, f64::max) {
        p if p >= 1.0 => Level::Error,
        p if p > 0.0 => Level::Warning,
        _ => Level::Ok,
    };
    let mut row = Row::new("Maps", level, text);
    row.notes.extend(full.iter().map(|map| {
        format!(
            "{} is filling up: raise its capacity, or `memory`, in `maps:` of the configuration",
            fill(map)
        )
    }));
    row
}

/// The row of flows.
pub(super) fn flows(status: &Status) -> Row {
    let flows = &status.flows;
    if flows.families.is_empty() {
        return Row::new("Flows", Level::Ok, "not counted yet".to_owned());
    }
    let families = flows.families.iter().map(|family| {
        let live = family.assured + family.unassured;
        format!(
            "{} {live}/{}, {} assured",
            family.family, family.capacity, family.assured
        )
    });
    let families: Vec<String> = families.collect();
    let mut row = Row::new("Flows", Level::Ok, families.join("   "));
    let is_short = |ports: &&SourcePorts| {
        let all = flows.source_ports;
        all > 0 && f64::from(ports.taken) / f64::from(all) >= PRESSURE
    };
    for ports in flows.busiest.iter().filter(is_short) {
        row.level = Level::Warning;
        row.notes.push(format!(
            "{} has {} of the {} source ports of {} that it may have: {}",
            ports.backend,
            ports.taken,
            flows.source_ports,
            ports.source,
            more_ports(ports)
        ));
    }
    row
}

const fn more_ports(ports: &SourcePorts) -> &'static str {
    if ports.masqueraded {
        "pods on more nodes, or a wider node.sourcePorts, make room"
    } else {
        "more backends, or externalTrafficPolicy Local, make room"
    }
}

fn fill(map: &MapStatus) -> String {
    format!(
        "{} {}/{} ({:.0}%)",
        map.name,
        map.entries.unwrap_or(0),
        map.max_entries,
        map.pressure() * 100.0
    )
}
