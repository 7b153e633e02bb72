//! To Weir: docs/move-over.md, step by step.

use anyhow::{Result, ensure};

use super::Journey;
use super::connections::Connections;
use super::programs::{on_node, said};
use super::workload;
use crate::cluster::kubectl;
use crate::cluster::lab::Node;
use crate::cluster::place::Place;
use crate::say;

impl Journey<'_> {
    /// All nodes, one by one, and what is to be seen in the end.
    pub(super) fn there(&mut self) -> Result<()> {
        say::step("install Weir, for nodes with the label", || {
            self.apply(true)
        })?;
        for node in self.nodes() {
            self.node_there(node)?;
        }
        self.arrived()
    }

    fn node_there(&mut self, node: Node) -> Result<()> {
        let name = node.name();
        let at = |what: &str| format!("there, {name}: {what}");
        let mut connections = Connections::open(self, node, true)?;
        self.drain(node)?;
        self.label(node, true)?;
        self.former_leaves(node)?;
        self.agent(node, true)?;
        let alive = connections.alive();
        self.report
            .judge(at("connections live beside old rules"), alive);
        let cleaned = self.old_rules(node);
        self.report.judge(
            at("old rules are shown, and removed when asked for"),
            cleaned,
        );
        let alive = connections.alive();
        self.report
            .judge(at("connections live without old rules"), alive);
        let left = self.left(node)?;
        connections.end_of(&left);
        self.report.judge(
            at("a pod of the former plugin can be deleted"),
            workload::delete_pod(self.lab, &left).map(|()| left.name.clone()),
        );
        self.remove_remains(node)?;
        self.uncordon(node)?;
        let wired = self.wired(node, true);
        self.report.judge(at("pods are Weir's"), wired);
        self.matrix(&format!("there, {name}"))?;
        let alive = connections.alive();
        self.report.judge(at("connections live in the end"), alive);
        let status = on_node(self.lab, node, "proxyctl", &["status"])?;
        let status = status.ended(0).map(|_| "all is well");
        self.report.judge(at("proxyctl status"), status);
        Ok(())
    }

    /// `proxyctl kube-proxy`: status, what would be done, and done.
    fn old_rules(&self, node: Node) -> Result<String> {
        let ctl = |args: &[&str]| {
            let mut words = vec!["kube-proxy"];
            words.extend(args);
            on_node(self.lab, node, "proxyctl", &words)
        };
        let rules = || {
            let mut nft = Place::node(self.lab, node).command("nft");
            said(nft.args(["-s", "list", "ruleset"]))?.ended(0)
        };
        let shown = ctl(&["status"])?.ended(1)?.out;
        for table in ["table ip kube-proxy", "table ip6 kube-proxy"] {
            ensure!(shown.contains(table), "{table} is not shown: {shown}");
        }
        let before = rules()?.out;
        let dry = ctl(&["cleanup", "--dry-run"])?.ended(1)?.out;
        ensure!(dry.contains("nft delete table ip kube-proxy"), "{dry}");
        ensure!(rules()?.out == before, "--dry-run has changed rules");
        ctl(&["cleanup"])?.ended(0)?;
        let left = rules()?.out;
        ensure!(
            !left.contains("table ip kube-proxy"),
            "they are there still"
        );
        ctl(&["status"])?.ended(0)?;
        Ok(format!("{} commands", dry.lines().count()))
    }

    /// `proxyctl check` where the agent runs. The lab's configuration names API servers of other shapes of the lab as well.
    fn check(&self, node: Node) -> Result<String> {
        let pod = self.agent_pod(node)?;
        let mut exec = kubectl(self.lab)?;
        exec.args(["--namespace=kube-system", "exec", &pod, "--"]);
        let said = said(exec.args(["proxyctl", "check"]))?;
        let lines = said.out.lines().map(str::trim);
        let verdicts: Vec<&str> = lines.filter(|line| line.starts_with("OK ")).collect();
        let errors = said.out.lines().filter(|line| line.contains("ERROR"));
        let errors: Vec<&str> = errors
            .filter(|line| !line.contains("API servers"))
            .collect();
        ensure!(errors.is_empty(), "{}", said.out);
        ensure!(verdicts.len() > 20, "{}{}", said.out, said.err);
        Ok(format!("{} checks are well", verdicts.len()))
    }

    /// Weir on all nodes, by a `DaemonSet` without a selector.
    fn arrived(&mut self) -> Result<()> {
        say::step("take the selector away", || {
            self.apply(false)?;
            workload::rolled_out(self.lab, "daemonset/weir")
        })?;
        for node in self.nodes() {
            let name = node.name();
            let place = Place::node(self.lab, node);
            let mut daemons = Vec::new();
            for daemon in self.from.daemons() {
                daemons.extend(place.daemons(daemon)?);
            }
            ensure!(daemons.is_empty(), "former agents are on {name} still");
            let found = self.check(node);
            let what = format!("arrived, {name}: proxyctl check");
            self.report.judge(what, found);
            for args in [&["status"][..], &["kube-proxy", "status"]] {
                let said = on_node(self.lab, node, "proxyctl", args)?.ended(0);
                let what = format!("arrived, {name}: proxyctl {}", args.join(" "));
                self.report.judge(what, said.map(|_| "all is well"));
            }
        }
        self.matrix("arrived")
    }
}
