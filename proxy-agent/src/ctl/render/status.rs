//! The status screen: one row per part, a hint where something is wrong.

mod links;
mod masquerade;

use std::io::{self, Write};

use crate::api::messages::{HostStatus, MapStatus, SourcePorts, Status};
use crate::ctl::version::skew;

/// How well a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Fine.
    Ok,
    /// Not yet.
    Starting,
    /// Works, but needs attention.
    Warning,
    /// Does not work.
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Starting => "STARTING",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The part.
    pub part: &'static str,
    /// How well it is.
    pub level: Level,
    /// Figures.
    pub text: String,
    /// What is wrong, and what to do about it.
    pub notes: Vec<String>,
}

impl Row {
    const fn new(part: &'static str, level: Level, text: String) -> Self {
        Self {
            part,
            level,
            text,
            notes: Vec::new(),
        }
    }
}

/// Entries by capacity from which a map is a warning.
const PRESSURE: f64 = 0.8;
/// Ranges that are named.
const RANGES: usize = 4;

/// The rows of the screen.
pub fn rows(status: &Status) -> Vec<Row> {
    vec![
        agent(status),
        api(status),
        sync(status),
        maps(status),
        flows(status),
        cni(status),
        host(status),
        links::row(status),
        masquerade::row(status),
        health(status),
    ]
}

fn agent(status: &Status) -> Row {
    let agent = &status.agent;
    let level = if agent.ready {
        Level::Ok
    } else {
        Level::Starting
    };
    let text = format!(
        "v{}  up {}   kernel {}   node {}",
        agent.version,
        age(agent.uptime_seconds),
        agent.kernel,
        agent.node
    );
    let mut row = Row::new("Agent", level, text);
    row.notes
        .extend(agent.awaiting.iter().map(|what| format!("awaiting {what}")));
    if !agent.restart_for.is_empty() {
        row.level = row.level.max(Level::Warning);
        row.notes.push(format!(
            "changed in its file, but in force only after a restart: {}",
            agent.restart_for.join(", ")
        ));
    }
    if let Some(skew) = skew(&agent.version, &agent.layout) {
        row.level = row.level.max(Level::Warning);
        row.notes.push(skew);
    }
    row
}

fn api(status: &Status) -> Row {
    let observe = &status.observe;
    let count = |kind: &str| observe.objects.get(kind).copied().unwrap_or(0);
    let last = observe
        .last_event_seconds
        .map_or_else(String::new, |seconds| {
            format!("   last event {} ago", age(seconds))
        });
    let text = format!(
        "services {}   slices {}   pods {}   policies {}{last}",
        count("Service"),
        count("EndpointSlice"),
        count("Pod"),
        count("NetworkPolicy")
    );
    let level = match (observe.problems.is_empty(), observe.complete) {
        (false, _) => Level::Warning,
        (true, false) => Level::Starting,
        (true, true) => Level::Ok,
    };
    let mut row = Row::new("API", level, text);
    row.notes.clone_from(&observe.problems);
    row
}

fn sync(status: &Status) -> Row {
    let sync = &status.sync;
    let last = sync.last_full_seconds.map_or_else(String::new, |seconds| {
        format!(
            "   last full {} ago in {:.1}ms",
            age(seconds),
            sync.last_full_millis
        )
    });
    let text = format!(
        "{}/{} services, {} backends, {} endpoints, {} policies{last}",
        sync.services.saturating_sub(sync.services_failed),
        sync.services,
        sync.backends,
        sync.endpoints,
        sync.policies
    );
    let level = match (sync.errors.is_empty(), sync.last_full_seconds) {
        (false, _) => Level::Error,
        (true, None) => Level::Starting,
        (true, Some(_)) => Level::Ok,
    };
    let mut row = Row::new("Sync", level, text);
    row.notes.clone_from(&sync.errors);
    if sync.drift > 0 {
        row.level = row.level.max(Level::Warning);
        row.notes.push(format!(
            "the last full comparison found {} entries that differed, and set them right",
            sync.drift
        ));
    }
    row
}

fn maps(status: &Status) -> Row {
    let full: Vec<_> = status
        .maps
        .iter()
        .filter(|map| pressure(map) >= PRESSURE)
        .collect();
    let fullest = status
        .maps
        .iter()
        .max_by(|a, b| pressure(a).total_cmp(&pressure(b)));
    let text = fullest.map_or_else(String::new, fill);
    let level = match full.iter().map(|map| pressure(map)).fold(0.0, f64::max) {
        p if p >= 1.0 => Level::Error,
        p if p >= PRESSURE => Level::Warning,
        _ => Level::Ok,
    };
    let mut row = Row::new("Maps", level, text);
    row.notes.extend(full.iter().map(|map| {
        format!(
            "{} is filling up: raise its capacity in `maps:` of the configuration",
            fill(map)
        )
    }));
    row
}

fn flows(status: &Status) -> Row {
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

/// Entries by capacity. Maps that evict are full when all is well, and an array of one slot always is.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn pressure(map: &MapStatus) -> f64 {
    match (map.entries, map.max_entries) {
        (Some(entries), capacity) if capacity > 1 && map.kind != "lru_hash" => {
            entries as f64 / capacity as f64
        }
        _ => 0.0,
    }
}

fn fill(map: &MapStatus) -> String {
    format!(
        "{} {}/{} ({:.0}%)",
        map.name,
        map.entries.unwrap_or(0),
        map.max_entries,
        pressure(map) * 100.0
    )
}

fn cni(status: &Status) -> Row {
    let cni = &status.cni;
    let (level, place) = match (&cni.conflist, cni.enabled) {
        (Some(conflist), _) => (Level::Ok, conflist.as_str()),
        (None, true) => (Level::Starting, "not installed yet"),
        (None, false) => (Level::Ok, "not installed by the agent"),
    };
    let text = format!(
        "{place}  pods {}   tcx {}   clsact {}",
        cni.pods, cni.tcx, cni.clsact
    );
    let mut row = Row::new("CNI", level, text);
    if cni.tcx + cni.clsact < cni.pods {
        row.level = Level::Error;
        row.notes.push(format!(
            "programs of {} pods are not attached: the agent's log says why",
            cni.pods - cni.tcx - cni.clsact
        ));
    }
    if !cni.problems.is_empty() {
        row.level = Level::Error;
        row.notes.extend(cni.problems.iter().cloned());
    }
    row
}

fn routed(host: &HostStatus) -> String {
    let named: Vec<&str> = host
        .ranges
        .iter()
        .take(RANGES)
        .map(String::as_str)
        .collect();
    let more = match host.ranges.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("weir_host  {}{more} by {}", named.join(", "), host.source)
}

/// What the host sends to Services without a socket hook.
fn host(status: &Status) -> Row {
    let host = &status.host;
    let (level, text) = match (host.attached, host.source.is_empty()) {
        (false, _) => (Level::Starting, "no program on weir_host yet".to_owned()),
        (true, true) => (
            Level::Starting,
            "nothing routed to weir_host yet".to_owned(),
        ),
        (true, false) => (Level::Ok, routed(host)),
    };
    let mut row = Row::new("Host", level, text);
    if !host.elsewhere.is_empty() {
        row.level = row.level.max(Level::Warning);
        let past = host.elsewhere.iter();
        row.notes.extend(past.map(|what| {
            format!("{what}: socket hooks and the programs of links serve it, weir_host does not")
        }));
    }
    row
}

fn health(status: &Status) -> Row {
    let health = &status.health;
    let code = if health.healthy && health.node_eligible {
        200
    } else {
        503
    };
    let text = format!(
        "{} /healthz {code}   {} /metrics",
        health.healthz_address, health.metrics_address
    );
    let level = if health.healthy && health.problems.is_empty() {
        Level::Ok
    } else {
        Level::Error
    };
    let mut row = Row::new("Health", level, text);
    row.notes.clone_from(&health.problems);
    if !health.healthy && health.problems.is_empty() {
        row.notes
            .push("an update has waited too long to be applied".to_owned());
    }
    if !health.node_eligible {
        row.level = row.level.max(Level::Warning);
        row.notes.push("the node is being deleted".to_owned());
    }
    row
}

/// A length of time in its two largest units.
pub fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{}s", seconds % 60),
        (0, h, m) => format!("{h}h{m}m"),
        (d, h, _) => format!("{d}d{h}h"),
    }
}

/// Prints rows; what is wrong comes last.
pub fn write(rows: &[Row], to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    for row in rows {
        writeln!(to, "{:<10} {:<9} {}", row.part, row.level.word(), row.text)?;
    }
    for row in rows {
        for note in &row.notes {
            writeln!(to, "{} {}: {note}", row.level.word(), row.part)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{rows, write};
    use crate::{
        api::messages::{
            CniStatus, FamilyFlows, FlowsStatus, HostStatus, LinkStatus, MapStatus, SourcePorts,
            Status,
        },
        api::version::{VERSION, layout},
    };

    fn fine() -> Status {
        let mut status = Status::default();
        status.agent.version = VERSION.to_owned();
        status.agent.layout = layout();
        status.agent.node = "a".to_owned();
        status.agent.ready = true;
        status.agent.uptime_seconds = 3 * 3600 + 12 * 60;
        status.agent.kernel = "6.12.9".to_owned();
        status.observe.complete = true;
        status.observe.objects =
            [("Service".to_owned(), 41), ("EndpointSlice".to_owned(), 57)].into();
        status.observe.last_event_seconds = Some(2);
        status.sync.services = 41;
        status.sync.backends = 163;
        status.sync.last_full_seconds = Some(41);
        status.sync.last_full_millis = 3.125;
        status.cni = CniStatus {
            enabled: true,
            conflist: Some("/etc/cni/net.d/05-weir.conflist".to_owned()),
            pods: 23,
            tcx: 21,
            clsact: 2,
            problems: Vec::new(),
        };
        status.host = HostStatus {
            attached: true,
            ranges: vec!["10.96.0.0/16".to_owned(), "fd00:10:96::/112".to_owned()],
            source: "ServiceCIDRs".to_owned(),
            elsewhere: Vec::new(),
        };
        let link = |name: &str, ethernet| LinkStatus {
            name: name.to_owned(),
            ethernet,
            attached: Some("tcx".to_owned()),
            sources: Vec::new(),
        };
        status.links.links = vec![link("eth0", true), link("wg0", false)];
        let families = [("IPv4".to_owned(), true), ("IPv6".to_owned(), false)];
        status.masquerade.families = families.into();
        status.masquerade.inside = 12;
        status.health.healthz_address = ":10256".to_owned();
        status.health.metrics_address = ":10249".to_owned();
        status.health.healthy = true;
        status.health.node_eligible = true;
        status
    }

    fn text(status: &Status) -> String {
        let mut text = Vec::new();
        write(&rows(status), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn map(entries: u64) -> MapStatus {
        MapStatus {
            name: "FLOWS4".to_owned(),
            kind: "array".to_owned(),
            entries: Some(entries),
            max_entries: 65536,
        }
    }

    fn flows(taken: u32) -> FlowsStatus {
        FlowsStatus {
            families: vec![FamilyFlows {
                family: "IPv4".to_owned(),
                capacity: 65536,
                assured: 600,
                unassured: 55,
                ..FamilyFlows::default()
            }],
            source_ports: 4536,
            busiest: vec![SourcePorts {
                backend: "10.0.0.9:80/TCP".to_owned(),
                source: "192.0.2.1".to_owned(),
                taken,
                masqueraded: false,
            }],
        }
    }

    #[test]
    fn is_silent_when_fine() {
        let mut status = fine();
        status.maps = vec![map(655)];
        status.flows = flows(10);
        assert_eq!(
            text(&status),
            format!("\
Agent      OK        v{VERSION}  up 3h12m   kernel 6.12.9   node a
API        OK        services 41   slices 57   pods 0   policies 0   last event 2s ago
Sync       OK        41/41 services, 163 backends, 0 endpoints, 0 policies   last full 41s ago in 3.1ms
Maps       OK        FLOWS4 655/65536 (1%)
Flows      OK        IPv4 655/65536, 600 assured
CNI        OK        /etc/cni/net.d/05-weir.conflist  pods 23   tcx 21   clsact 2
Host       OK        weir_host  10.96.0.0/16, fd00:10:96::/112 by ServiceCIDRs
Links      OK        eth0, wg0 (no Ethernet)
Masquerade OK        IPv4 yes   IPv6 no   12 ranges inside
Health     OK        :10256 /healthz 200   :10249 /metrics
")
        );
    }

    #[test]
    fn is_loud_when_not() {
        let mut status = fine();
        status.maps = vec![map(58213)];
        status.flows = flows(3629);
        status.sync.services_failed = 1;
        status.sync.errors = vec!["Service default/web: the map is full".to_owned()];
        status.agent.version = "9.0.0".to_owned();
        status.agent.restart_for = vec!["maps.size".to_owned(), "cni.mtu".to_owned()];
        status.health.healthy = false;
        status.cni.clsact = 1;
        status.host.elsewhere = vec!["10.96.7.0/24 is routed elsewhere".to_owned()];
        status.links.links[1].attached = None;
        status.links.notes = vec!["ib0 is left alone".to_owned()];
        status.masquerade.problems = vec!["x: no file".to_owned()];
        let told = text(&status);
        for line in [
            "Maps       WARNING   FLOWS4 58213/65536 (89%)",
            "Sync       ERROR     40/41 services, 163 backends, 0 endpoints, 0 policies   last full 41s ago in 3.1ms",
            "ERROR Sync: Service default/web: the map is full",
            "WARNING Maps: FLOWS4 58213/65536 (89%) is filling up: raise its capacity in `maps:` of the configuration",
            "Flows      WARNING   IPv4 655/65536, 600 assured",
            "WARNING Flows: 10.0.0.9:80/TCP has 3629 of the 4536 source ports of 192.0.2.1 that it may have: more backends, or externalTrafficPolicy Local, make room",
            "ERROR CNI: programs of 1 pods are not attached: the agent's log says why",
            "WARNING Host: 10.96.7.0/24 is routed elsewhere: socket hooks and the programs of links serve it, weir_host does not",
            "ERROR Links: programs are not attached to wg0: NodePorts and pods are not served there",
            "ERROR Links: ib0 is left alone",
            "WARNING Masquerade: x: no file",
            "WARNING Agent: changed in its file, but in force only after a restart: maps.size, cni.mtu",
            "ERROR Health: an update has waited too long to be applied",
        ] {
            assert!(told.lines().any(|l| l == line), "{line} is not in\n{told}");
        }
        assert!(told.contains("WARNING Agent: proxyctl is v"), "{told}");
    }
}
