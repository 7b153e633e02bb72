//! What only Helm does: upgrade and roll back while pods speak, and leave all nodes at once (docs/upgrade.md, docs/uninstall.md).

use anyhow::{Result, ensure};

use super::Journey;
use super::connections::Connections;
use super::workload::{self, call};
use crate::cluster::helm::{self, Values};
use crate::cluster::lab::Node;
use crate::cluster::place::Place;
use crate::cluster::wait;
use crate::say;

/// All that agents put on a node, but for what docs/uninstall.md lists: what is printed is there still. Routes to pods are the plugin's, and
/// go with the pods.
const THERE: &str = "ip -o link | grep -o 'weir_[a-z]*' || true
                     find /sys/fs/bpf/weir -mindepth 1 2>/dev/null | head -3
                     bpftool net show | grep -E 'from_|to_' || true
                     ls /etc/cni/net.d | grep 05-weir || true";

/// Claims of ranges of pods.
const RANGES: &str = "configmap/weir-pod-ranges";

impl Journey<'_> {
    /// Upgrades to another preset and back, with connections open.
    pub(super) fn upgraded(&mut self) -> Result<()> {
        let nodes = self.nodes();
        let Some(last) = nodes.last().copied() else {
            return Ok(());
        };
        let mut connections = Connections::open(self, last, true)?;
        let presets: [(&str, &[&str]); 3] = [
            ("kubeadm", &["platform=kubeadm"]),
            ("kind", &["platform=kind"]),
            ("clsact", &["config.tcAttach=clsact"]),
        ];
        for (what, set) in presets {
            say::step(&format!("helm upgrade to {what}"), || {
                helm::upgrade(self.lab, Values { only: None, set })?;
                workload::rolled_out(self.lab, "daemonset/weir")
            })?;
            let alive = connections.alive();
            let what = format!("helm upgrade to {what}: connections live");
            self.report.judge(what, alive);
        }
        say::step("helm rollback", || {
            helm::rollback(self.lab)?;
            workload::rolled_out(self.lab, "daemonset/weir")
        })?;
        let alive = connections.alive();
        self.report.judge("helm rollback: connections live", alive);
        self.matrix("upgraded and rolled back")
    }

    /// All nodes at once: cleanup by the chart, then Helm takes its objects away. Pods that are left can be deleted.
    pub(super) fn left_at_once(&mut self) -> Result<()> {
        say::step("helm upgrade with cleanup", || {
            let set: &[&str] = &["cleanup=true"];
            helm::upgrade(self.lab, Values { only: None, set })?;
            workload::rolled_out(self.lab, "daemonset/weir")
        })?;
        for node in self.nodes() {
            let what = format!("cleanup, {}: nothing of Weir's is there", node.name());
            let found = self.nothing_there(node);
            self.report.judge(what, found);
        }
        say::step("helm uninstall", || helm::uninstall(self.lab))?;
        let gone = self.objects_gone();
        self.report.judge("uninstalled: no object is left", gone);
        for node in self.nodes() {
            let left = self.left(node)?;
            self.report.judge(
                format!(
                    "uninstalled, {}: a pod of Weir's can be deleted",
                    node.name()
                ),
                workload::delete_pod(self.lab, &left).map(|()| left.name.clone()),
            );
        }
        Ok(())
    }

    /// An error unless Helm's objects go, but for the claims of ranges, which docs/uninstall.md keeps.
    fn objects_gone(&self) -> Result<&'static str> {
        let words = [
            "get",
            "all,configmaps,clusterroles,clusterrolebindings",
            "--all-namespaces",
            "--selector=app.kubernetes.io/name=weir",
            "--output=name",
        ];
        wait::until("Weir's objects to be gone", || {
            let objects = call(self.lab, &words)?;
            Ok(objects.lines().all(|name| name == RANGES))
        })?;
        Ok("none but the claims of ranges")
    }

    fn nothing_there(&self, node: Node) -> Result<&'static str> {
        let there = Place::node(self.lab, node).script(THERE)?;
        ensure!(there.trim().is_empty(), "{there}");
        Ok("nothing")
    }
}
