//! Back to the former network: docs/move-over.md and docs/uninstall.md.

use anyhow::{Context as _, Result, ensure};

use super::Journey;
use super::connections::Connections;
use super::programs::on_node;
use super::turn::MOVING;
use super::workload;
use crate::cluster::lab::Node;
use crate::cluster::place::Place;
use crate::{paths, run, say};

/// By which pods of Weir's that are left can be deleted.
pub(super) const FAREWELL: &str = "/etc/cni/net.d/zz-weir-uninstalled.conflist";

impl Journey<'_> {
    /// All nodes, one by one, and then Weir's objects.
    pub(super) fn back(&mut self) -> Result<()> {
        say::step("give Weir its selector again", || {
            self.apply(true)?;
            workload::rolled_out(self.lab, "daemonset/weir")
        })?;
        for node in self.nodes() {
            self.node_back(node)?;
        }
        say::step("delete Weir's objects", || self.uninstall())
    }

    fn node_back(&mut self, node: Node) -> Result<()> {
        let name = node.name();
        let at = |what: &str| format!("back, {name}: {what}");
        let mut connections = Connections::open(self, node, false)?;
        self.drain(node)?;
        self.label(node, false)?;
        self.agent(node, false)?;
        self.former_comes(node)?;
        let alive = connections.alive();
        self.report
            .judge(at("connections live beside Weir's programs"), alive);
        let cleaned = self.clean(node, true);
        self.report
            .judge(at("cleanup leaves what deletes pods"), cleaned);
        let alive = connections.alive();
        self.report
            .judge(at("connections live without Weir's programs"), alive);
        let left = self.left(node)?;
        self.report.judge(
            at("a pod of Weir's can be deleted"),
            workload::delete_pod(self.lab, &left).map(|()| left.name.clone()),
        );
        let cleaned = self.clean(node, false);
        self.report.judge(at("cleanup leaves nothing"), cleaned);
        self.uncordon(node)?;
        let wired = self.wired(node, false);
        self.report.judge(at("pods are the former plugin's"), wired);
        self.matrix(&format!("back, {name}"))?;
        let alive = connections.alive();
        self.report.judge(at("connections live in the end"), alive);
        Ok(())
    }

    /// `proxy-agent cleanup`, as docs/uninstall.md has it.
    fn clean(&self, node: Node, pods: bool) -> Result<String> {
        let said = on_node(self.lab, node, "proxy-agent", &["cleanup"])?.ended(0)?;
        let files = Place::node(self.lab, node).script("ls /etc/cni/net.d/*")?;
        ensure!(
            !files.contains("05-weir"),
            "its configuration is there: {files}"
        );
        ensure!(files.contains(FAREWELL) == pods, "{files}\n{}", said.err);
        let last = said.err.lines().last().unwrap_or_default();
        Ok(last.to_owned())
    }

    fn uninstall(&self) -> Result<()> {
        let overlay = paths::root().join(MOVING);
        let mut delete = crate::cluster::kubectl(self.lab)?;
        delete.args(["delete", "--timeout=60s", "-k"]).arg(overlay);
        run::output(&mut delete)
            .map(drop)
            .context("cannot delete Weir's objects")
    }
}
