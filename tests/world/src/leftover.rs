//! What a test leaves inside its own world, where the end of the namespaces would hide it.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Agent, cgroup::Cgroup, node::Node, until};

/// How long what was just ended may take to be gone.
const LIMIT: Duration = Duration::from_secs(5);
/// Maps that hold something for each pod of the node.
const PODS: [&str; 5] = [
    "ENDPOINTS",
    "INTERFACES",
    "LOCAL_PODS4",
    "LOCAL_PODS6",
    "CLIENTS",
];

/// Fails if anything but the holder of the namespaces and makers of sockets runs in a cgroup.
pub(super) fn no_process(cgroup: &Cgroup, holder: u32) -> Result<()> {
    none("processes", || {
        let ours = fs::read("/proc/self/cmdline")?;
        let others = cgroup.processes().into_iter().filter(|id| {
            // A maker is a fork of this process.
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            !words.is_empty() && id.cast_unsigned() != holder && words != ours
        });
        Ok(others.map(described).collect())
    })
}

fn described(id: i32) -> String {
    let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    format!("{id} {}", words.trim_end())
}

/// Fails if a node without pods still has anything of a pod.
pub(super) fn nothing_of_pods(node: &Node, agent: &Agent) -> Result<()> {
    ensure!(
        node.wired() == 0,
        "{} pods of {} outlive its agent",
        node.wired(),
        node.name()
    );
    none("interfaces of pods", || interfaces(node))?;
    none("pinned links of pods", || links(node))?;
    none("leases", || leases(node))?;
    none("map entries of pods", || entries(agent))
}

/// Waits until a list is empty; names what stays in it.
fn none(what: &str, list: impl Fn() -> Result<Vec<String>>) -> Result<()> {
    until(&format!("no {what}"), LIMIT, || {
        let left = list()?;
        ensure!(left.is_empty(), "{what} are left: {}", left.join(", "));
        Ok(Some(()))
    })
}

/// `weir` and eleven hexadecimal digits, as the plugin names them.
fn interfaces(node: &Node) -> Result<Vec<String>> {
    let listed = node.run(&["ip", "-brief", "link"])?;
    let names = listed
        .lines()
        .filter_map(|line| line.split([' ', '@']).next());
    let of_pod = |name: &&str| {
        let digits = name.strip_prefix("weir").unwrap_or_default();
        digits.len() == 11 && (digits.starts_with('q') || is_hexadecimal(digits))
    };
    Ok(names.filter(of_pod).map(str::to_owned).collect())
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn links(node: &Node) -> Result<Vec<String>> {
    let pins = ["/sys/fs/bpf", "-path", "*/links/*_pod-*"];
    let found = node.run(&[&["find"], &pins[..]].concat())?;
    Ok(found.lines().map(str::to_owned).collect())
}

fn leases(node: &Node) -> Result<Vec<String>> {
    let path = node.file("/run/weir/ipam.json");
    let text = match fs::read_to_string(&path) {
        // No pod was ever wired.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let state: Value = serde_json::from_str(&text)?;
    let leases = state["leases"].as_array().context("no list of leases")?;
    Ok(leases.iter().map(Value::to_string).collect())
}

fn entries(agent: &Agent) -> Result<Vec<String>> {
    let dump = agent.proxyctl(&["dump", "maps", "-o", "json"])?;
    let list: Value = serde_json::from_str(&dump)?;
    let maps = list["items"].as_array().context("no list of maps")?;
    let mut left = Vec::new();
    for name in PODS {
        let map = maps.iter().find(|map| map["name"] == name);
        let map = map.with_context(|| format!("no map {name}"))?;
        let entries = map["entries"].as_u64().context("no number of entries")?;
        if entries > 0 {
            left.push(format!("{entries} in {name}"));
        }
    }
    Ok(left)
}
