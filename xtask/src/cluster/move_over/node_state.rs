//! How a node is: all that a network could leave there, one line each, and what differs from before.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::cluster::lab::{Lab, Node};
use crate::cluster::place::Place;
use crate::tools::debian;

/// What is looked at, and by what. Numbers that the kernel counts up are no part of it.
const LOOKS: [(&str, &str); 11] = [
    (
        "link",
        "ip -o -d link | sed -E 's/^[0-9]+: //; s/@if[0-9]+/@/; s/ (numtxqueues|link-netnsid).*//'",
    ),
    ("address", "ip -o addr | sed -E 's/^[0-9]+: //'"),
    (
        "route",
        "ip -4 route show table all; ip -6 route show table all",
    ),
    ("rule", "ip -4 rule; ip -6 rule"),
    (
        "neighbour",
        "ip neigh show nud permanent; ip neigh show proxy",
    ),
    ("qdisc", "tc qdisc show | sed -E 's/ [0-9a-f]+: / /'"),
    (
        "filter",
        "for link in $(ls /sys/class/net); do for way in ingress egress; do tc filter show dev $link $way; done; done",
    ),
    (
        "program",
        "bpftool net show; bpftool cgroup tree /run/lab-cgroup | sed -E 's/^ *[0-9]+ +//' | grep -v -e /kubepods -e cgroup_device || true",
    ),
    ("pin", "find /sys/fs/bpf -mindepth 1"),
    (
        "file",
        "find /etc/cni /opt/cni /var/lib/cni /run/weir /run/flannel -type f 2>/dev/null || true",
    ),
    (
        "setting",
        "sysctl -a --pattern '^net\\.(core|ipv4|ipv6|netfilter)' 2>/dev/null | grep -v -e conntrack_count -e '\\.neigh\\.' -e random || true",
    ),
];

/// What may be otherwise in the end, and why: docs/uninstall.md and the pages of docs/move-over.
const BY_INTENT: [(&str, &str); 11] = [
    (
        "net.ipv4.conf.lo.accept_local",
        "settings of the kernel stay",
    ),
    (
        "net.ipv4.conf.lo.route_localnet",
        "settings of the kernel stay",
    ),
    (
        "file: /opt/cni/bin/weir",
        "the runtime may be about to call it",
    ),
    ("file: /run/weir/agent.lock", "what cleanup itself holds"),
    (
        "file: /var/lib/cni/results/",
        "the runtime's notes, of pods that another plugin's configuration deleted",
    ),
    ("weir-kept", "connections that kube-proxy has translated"),
    ("WEIR-KEPT", "connections that kube-proxy has translated"),
    (
        "kube-system/kube-dns",
        "chains that kube-proxy has not swept away yet",
    ),
    ("last_reserved_ip", "host-local's own"),
    ("networks/lab/lock", "host-local's own"),
    ("hostport", "portmap's own, made with its first pod"),
];

/// How a node is.
#[derive(Debug)]
pub(super) struct NodeState {
    /// The node.
    pub(super) node: Node,
    lines: BTreeSet<String>,
}

impl NodeState {
    /// Looks at it.
    pub(super) fn read(lab: &Lab, node: Node) -> Result<Self> {
        debian::host(&[("bpftool", "bpftool"), ("tc", "iproute2")])?;
        let place = Place::node(lab, node);
        let mut lines = BTreeSet::new();
        for (what, script) in LOOKS {
            let text = place.script(script)?;
            let said = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.extend(said.map(|line| format!("{what}: {line}")));
        }
        lines.extend(rules(&place.script("nft -s list ruleset")?));
        Ok(Self { node, lines })
    }

    /// An error that lists what differs, but for what is left by intent.
    pub(super) fn compare(&self, after: &Self) -> Result<String> {
        let gone = self
            .lines
            .difference(&after.lines)
            .map(|line| format!("gone: {line}"));
        let new = after
            .lines
            .difference(&self.lines)
            .map(|line| format!("new: {line}"));
        let (meant, wrong): (Vec<String>, Vec<String>) = gone.chain(new).partition(|line| {
            let mut all = BY_INTENT.iter();
            all.any(|(part, _)| line.contains(part))
        });
        if !wrong.is_empty() {
            bail!("{} lines differ:\n  {}", wrong.len(), wrong.join("\n  "));
        }
        Ok(format!(
            "{} lines, and {} by intent",
            self.lines.len(),
            meant.len()
        ))
    }
}

/// Rules of nftables, each with its table and chain. Elements of one set are one line.
fn rules(text: &str) -> Vec<String> {
    let (mut table, mut inner, mut all) = (String::new(), String::new(), Vec::new());
    let mut open = String::new();
    for line in text.lines() {
        let word = line.trim();
        if !open.is_empty() {
            open = format!("{open} {word}");
            if word.ends_with('}') {
                all.push(std::mem::take(&mut open));
            }
        } else if let Some(name) = line.strip_prefix("table ") {
            name.trim_end_matches(" {").clone_into(&mut table);
            inner.clear();
            all.push(format!("nft: {table}"));
        } else if let Some(name) = word.strip_suffix(" {") {
            name.clone_into(&mut inner);
            all.push(format!("nft: {table}: {inner}"));
        } else if !word.is_empty() && word != "}" {
            let rule = format!("nft: {table}: {inner}: {word}");
            if word.starts_with("elements = {") && !word.ends_with('}') {
                open = rule;
            } else {
                all.push(rule);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lines: &[&str]) -> NodeState {
        NodeState {
            node: Node(1),
            lines: lines.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_differs_is_named() {
        let before = state(&["link: a", "link: b"]);
        assert!(before.compare(&state(&["link: a", "link: b"])).is_ok());
        let error = before.compare(&state(&["link: b", "pin: c"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("gone: link: a") && text.contains("new: pin: c"),
            "{text}"
        );
    }

    #[test]
    fn rules_know_their_chain() {
        let text = "table ip x {\n\tset s {\n\t\telements = { 1,\n\t\t\t     2 }\n\t}\n\n\tchain c {\n\t\taccept\n\t}\n}\n";
        let found = rules(text);
        assert!(
            found.contains(&"nft: ip x: set s: elements = { 1, 2 }".to_owned()),
            "{found:?}"
        );
        assert!(found.contains(&"nft: ip x: chain c: accept".to_owned()));
    }
}
