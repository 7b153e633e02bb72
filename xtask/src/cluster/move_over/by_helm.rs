//! What only Helm does: upgrade and roll back while pods speak, and leave all nodes at once (docs/upgrade.md, docs/uninstall.md).

use anyhow::{Context as _, Result, ensure};

use super::Journey;
use super::connections::Connections;
use super::the_way_back::FAREWELL;
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
        let nodes = self.nodes();
        let (first, others) = nodes.split_first().context("no nodes")?;
        self.drain(*first)?;
        let left = self.farewell(*first);
        let what = format!(
            "cleanup, {}: what deletes pods goes with them",
            first.name()
        );
        self.report.judge(what, left);
        say::step("helm uninstall", || helm::uninstall(self.lab))?;
        let gone = self.objects_gone();
        self.report.judge("uninstalled: no object is left", gone);
        for node in others {
            let what = format!("uninstalled, {}: a pod can be deleted", node.name());
            let deleted = self.delete_left(*node);
            self.report.judge(what, deleted);
        }
        Ok(())
    }

    /// The order of docs/uninstall.md: the pods that are left go while those are there that clean up.
    fn farewell(&self, node: Node) -> Result<String> {
        let there = format!("ls {FAREWELL} 2>/dev/null || true");
        let there = || Place::node(self.lab, node).script(&there);
        ensure!(!there()?.is_empty(), "there is no {FAREWELL}");
        let deleted = self.delete_left(node)?;
        wait::until("the last network configuration to be gone", || {
            Ok(there()?.is_empty())
        })?;
        Ok(deleted)
    }

    /// Deletes the pod of Weir's that is left on a node; its name.
    fn delete_left(&self, node: Node) -> Result<String> {
        let left = self.left(node)?;
        workload::delete_pod(self.lab, &left)?;
        Ok(left.name)
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
