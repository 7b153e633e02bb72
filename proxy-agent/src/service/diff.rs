//! What a full comparison of Services would change, without changing it: the real sync, run on a copy of the
//! maps.

use std::collections::BTreeSet;

use anyhow::Context as _;
use tracing::subscriber::{NoSubscriber, with_default};

use super::{
    HostPorts, ServiceSync, ServiceTables,
    memory::MemoryMaps,
    render::{Names, services},
};
use crate::{
    config::ServiceSettings,
    datapath::{Maps, MemoryTable, Table, TableError},
    model::{Dirty, ForwardingMode, Snapshot},
};

/// Lines that begin with `-` (in the maps, not wanted), `+` (wanted, not in the maps) or `!` (what cannot be planned, and why).
pub fn services(
    snapshot: &Snapshot,
    host_ports: &HostPorts,
    maps: &Maps,
    node: &str,
    (settings, mode): (ServiceSettings, ForwardingMode),
) -> anyhow::Result<Vec<String>> {
    let memory = copy(maps).context("copy the Services' maps")?;
    let sync = ServiceSync::new(memory.tables(), node)?;
    let sync = sync.with_external_ips(settings.external_ips);
    let mut sync = sync.with_forwarding(mode);
    sync.set_host_ports(host_ports.clone());
    let before = memory_lines(&memory, &Names::new())?;
    // What it says in the log is not so: nothing is programmed.
    with_default(NoSubscriber::default(), || {
        sync.sync(snapshot, &Dirty::default())
    });
    let names = sync.names();
    let named = |lines: BTreeSet<Line>| {
        lines
            .into_iter()
            .map(|line| line.text(&names))
            .collect::<Vec<_>>()
    };
    let after = memory_lines(&memory, &Names::new())?;
    let gone = named(&before - &after)
        .into_iter()
        .map(|line| format!("- {line}"));
    let new = named(&after - &before)
        .into_iter()
        .map(|line| format!("+ {line}"));
    let mut lines: Vec<_> = gone.chain(new).collect();
    // What changes stands together: the sign comes last in the order.
    lines.sort_by(|a, b| a[2..].cmp(&b[2..]).then(a.cmp(b)));
    // Whoever waits for what another one has is as it should be.
    let failures = sync.failures_but_conflicts();
    lines.extend(failures.map(|(owner, error)| format!("! {}: {error}", owner.in_words())));
    Ok(lines)
}

/// A frontend and all that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    service: u32,
    text: String,
}

impl Line {
    fn text(self, names: &Names) -> String {
        let Self { service, text } = self;
        let name = names
            .get(&service)
            .cloned()
            .unwrap_or_else(|| format!("#{service}"));
        format!("{name}  {text}")
    }
}

fn memory_lines(memory: &MemoryMaps, names: &Names) -> Result<BTreeSet<Line>, TableError> {
    let rows = services::rows(&memory.tables(), names)?.into_iter();
    Ok(rows
        .map(|row| Line {
            service: row.id,
            text: row.columns()[1..].join("  ")
                + &format!("  {:?} {:?}", row.internal.backends, row.external.backends),
        })
        .collect())
}

fn copy(maps: &Maps) -> Result<MemoryMaps, TableError> {
    let live = ServiceTables::from(maps);
    let capacity = live.frontends4.capacity().max(live.slots.capacity());
    let memory = MemoryMaps::new(capacity, 0, 0);
    fill(&*live.frontends4, &memory.frontends4)?;
    fill(&*live.frontends6, &memory.frontends6)?;
    fill(&*live.backends4, &memory.backends4)?;
    fill(&*live.backends6, &memory.backends6)?;
    fill(&*live.slots, &memory.slots)?;
    fill(&*live.members, &memory.members)?;
    fill(&*live.sources4, &memory.sources4)?;
    fill(&*live.sources6, &memory.sources6)?;
    fill(&*live.vips4, &memory.vips4)?;
    fill(&*live.vips6, &memory.vips6)?;
    Ok(memory)
}

fn fill<K, V>(from: &dyn Table<K, V>, to: &MemoryTable<K, V>) -> Result<(), TableError>
where
    K: Copy + Ord + std::fmt::Debug + Send,
    V: Copy + PartialEq + std::fmt::Debug + Send,
{
    let mut to = to.clone();
    from.entries()?
        .iter()
        .try_for_each(|(key, value)| to.set(key, value))
}
