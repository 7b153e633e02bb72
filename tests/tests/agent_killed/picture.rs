//! What a node has, in words that do not depend on how it came about.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
};

use anyhow::{Context as _, Result};
use proxy_agent::{
    datapath::{Table as _, Words as _},
    policy::{
        Direction, PolicyTables,
        lookup::{Question, judge},
        view::LiveView,
    },
};
use serde_json::Value;
use weir_tests::{
    datapath::reader,
    world::{Agent, Node},
};

/// Lines, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture(BTreeSet<String>);

impl Picture {
    pub(crate) fn of(agent: &Agent, node: &Node) -> Result<Self> {
        let mut picture = Self::default();
        picture.services(agent)?;
        picture.endpoints(agent)?;
        picture.verdicts(node)?;
        picture.routes(node)?;
        picture.capacities(node)?;
        picture.files(&node.file("/sys/fs/bpf"), Path::new("bpf"))?;
        picture.files(&node.file("/run/weir"), Path::new("run"))?;
        picture.files(&node.file("/run/cni"), Path::new("cni"))?;
        Ok(picture)
    }

    /// How many lines have these words.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.0.iter().filter(|line| line.contains(words)).count()
    }

    /// Whether no map stands beside the one whose place it is to take.
    pub(crate) fn is_whole(&self) -> bool {
        self.count("/building") + self.count("/next") == 0
    }

    /// What is here and not there, and the other way round.
    pub(crate) fn differs(&self, wanted: &Self) -> String {
        let more = self.0.difference(&wanted.0).map(|line| format!("+ {line}"));
        let less = wanted.0.difference(&self.0).map(|line| format!("- {line}"));
        more.chain(less).collect::<Vec<_>>().join("\n")
    }

    fn services(&mut self, agent: &Agent) -> Result<()> {
        for mut row in dump(agent, "services")? {
            take(&mut row, "id");
            take(&mut row["internal"], "set");
            take(&mut row["external"], "set");
            self.0.insert(format!("service {row}"));
        }
        Ok(())
    }

    fn endpoints(&mut self, agent: &Agent) -> Result<()> {
        for mut row in dump(agent, "endpoints")? {
            for number in ["ingressRow", "egressRow", "epoch"] {
                take(&mut row, number);
            }
            self.0.insert(format!("endpoint {row}"));
        }
        Ok(())
    }

    /// What policy says of flows between the node's pods and everybody.
    fn verdicts(&mut self, node: &Node) -> Result<()> {
        let reader = reader(node)?;
        let maps = reader.maps();
        let tables = PolicyTables::from(maps);
        let view = LiveView::new(&tables)?;
        let addresses = [
            "10.244.1.2",
            "10.244.1.3",
            "10.244.1.4",
            "10.244.1.5",
            "fd00:244:1::2",
            "fd00:244:1::3",
            "fd00:244:1::4",
            "fd00:244:1::5",
            "172.30.0.11",
            "172.30.0.1",
            "172.30.0.77",
            "10.244.7.5",
            "10.244.8.5",
            "192.0.2.1",
            "192.0.2.200",
            "8.8.8.8",
        ];
        let peers: Vec<IpAddr> = addresses.iter().filter_map(|a| a.parse().ok()).collect();
        for (endpoint, _) in maps.endpoints.entries()? {
            for peer in &peers {
                for direction in Direction::BOTH {
                    let mut passes = Vec::new();
                    for (protocol, port) in [(6, 443), (6, 8080), (17, 53), (17, 8080), (1, 0)] {
                        let question = Question {
                            endpoint,
                            direction,
                            peer: *peer,
                            protocol,
                            port,
                        };
                        passes.push(judge(&view, &question)?.allowed);
                    }
                    self.0
                        .insert(format!("verdicts {endpoint} {direction} {peer} {passes:?}"));
                }
            }
        }
        Ok(())
    }

    fn routes(&mut self, node: &Node) -> Result<()> {
        for family in ["-4", "-6"] {
            let said = node.run(&["ip", family, "route", "show", "table", "main"])?;
            self.0
                .extend(said.lines().map(|line| format!("route {}", line.trim())));
        }
        Ok(())
    }

    fn capacities(&mut self, node: &Node) -> Result<()> {
        let reader = reader(node)?;
        let maps = reader.maps();
        let all = [
            ("flows", maps.flows4.capacity()),
            ("keys of flows", maps.flow_index4.capacity()),
            ("frontends", maps.frontends4.capacity()),
            ("affinity", maps.affinity.capacity()),
            ("cells", maps.policy_cells.len()),
        ];
        let all = all.iter();
        self.0
            .extend(all.map(|(name, capacity)| format!("capacity {name} {capacity}")));
        Ok(())
    }

    fn files(&mut self, folder: &Path, name: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            // Those that a killed agent did not come to rename are swept later.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let name = name.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.files(&entry.path(), &name)?;
            }
            self.0.insert(format!("file {}", stable(&name)));
        }
        Ok(())
    }
}

/// Devices that the agent makes have another index each time: the name without it.
fn stable(name: &Path) -> String {
    let name = name.display().to_string();
    let of_devices = ["from_host-", "from_tunnel-", "to_tunnel-"];
    let found = of_devices.iter().find_map(|program| {
        let at = name.find(&format!("/{program}"))?;
        Some(at + 1 + program.len())
    });
    found.map_or(name.clone(), |end| name[..end].to_owned())
}

fn take(row: &mut Value, field: &str) {
    if let Some(row) = row.as_object_mut() {
        row.remove(field);
    }
}

fn dump(agent: &Agent, subject: &str) -> Result<Vec<Value>> {
    let said = agent.proxyctl(&["dump", subject, "-o", "json"])?;
    let list: BTreeMap<String, Value> = serde_json::from_str(&said)?;
    let items = list.get("items").and_then(Value::as_array);
    Ok(items.context("no items")?.clone())
}
