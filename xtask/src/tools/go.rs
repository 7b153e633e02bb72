//! Programs built from Go modules: the control plane, the node's programs, upstream's tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::cache::{self, KUBERNETES};
use crate::{paths, run, say};

/// A program, and the module of `tests/cluster/` that it is built in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    module: &'static str,
    name: &'static str,
    package: &'static str,
    kind: Kind,
}

/// How a program is built.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Command,
    /// A command of which parts are C.
    WithC,
    /// `go test -c`.
    Tests,
}

/// Declares programs: module, name, package.
macro_rules! commands {
    ($($(#[$doc:meta])* $constant:ident = $module:literal $name:literal $package:literal;)+) => {$(
        $(#[$doc])*
        pub(crate) const $constant: Program = Program {
            module: $module,
            name: $name,
            package: $package,
            kind: Kind::Command,
        };
    )+};
}

commands! {
    /// The store.
    ETCD = "etcd" "etcd" "go.etcd.io/etcd/server/v3";
    /// The API server.
    APISERVER = "kubernetes" "kube-apiserver" "k8s.io/kubernetes/cmd/kube-apiserver";
    /// The controllers.
    CONTROLLERS = "kubernetes" "kube-controller-manager" "k8s.io/kubernetes/cmd/kube-controller-manager";
    /// The scheduler.
    SCHEDULER = "kubernetes" "kube-scheduler" "k8s.io/kubernetes/cmd/kube-scheduler";
    /// The node's agent.
    KUBELET = "kubernetes" "kubelet" "k8s.io/kubernetes/cmd/kubelet";
    /// The command line.
    KUBECTL = "kubernetes" "kubectl" "k8s.io/kubernetes/cmd/kubectl";
    /// What we are compared with.
    KUBE_PROXY = "kubernetes" "kube-proxy" "k8s.io/kubernetes/cmd/kube-proxy";
    /// Upstream's test program in pods.
    AGNHOST = "kubernetes" "agnhost" "k8s.io/kubernetes/test/images/agnhost";
    /// Upstream's program for a conntrack bug that a test guards against.
    ISSUE_74839 = "kubernetes" "regression-issue-74839" "k8s.io/kubernetes/test/images/regression-issue-74839";
    /// Upstream's parallel test runner.
    GINKGO = "kubernetes" "ginkgo" "github.com/onsi/ginkgo/v2/ginkgo";
    /// The cluster's DNS.
    COREDNS = "coredns" "coredns" "github.com/coredns/coredns";
    /// Addresses for the reference plugins.
    HOST_LOCAL = "plugins" "host-local" "github.com/containernetworking/plugins/plugins/ipam/host-local";
    /// The reference plugin of a bridge.
    BRIDGE = "plugins" "bridge" "github.com/containernetworking/plugins/plugins/main/bridge";
    /// The reference plugin of `lo`.
    LOOPBACK = "plugins" "loopback" "github.com/containernetworking/plugins/plugins/main/loopback";
    /// The reference plugin of a veth without a bridge.
    PTP = "plugins" "ptp" "github.com/containernetworking/plugins/plugins/main/ptp";
    /// The reference plugin of hostPort.
    PORTMAP = "plugins" "portmap" "github.com/containernetworking/plugins/plugins/meta/portmap";
    /// The reference plugin of limits.
    BANDWIDTH = "plugins" "bandwidth" "github.com/containernetworking/plugins/plugins/meta/bandwidth";
    /// What renders and installs the chart.
    HELM = "helm" "helm" "helm.sh/helm/v3/cmd/helm";
    /// What looks for mistakes in workflows.
    ACTIONLINT = "actionlint" "actionlint" "github.com/rhysd/actionlint/cmd/actionlint";
    /// What tests the alert rules.
    PROMTOOL = "prometheus" "promtool" "github.com/prometheus/prometheus/cmd/promtool";
}

/// Upstream's tests.
pub(crate) const E2E: Program = Program {
    module: "kubernetes",
    name: "e2e.test",
    package: "k8s.io/kubernetes/test/e2e",
    kind: Kind::Tests,
};

/// What wires pods in many clusters. Its backend `udp` is C, though nobody here uses it.
pub(crate) const FLANNELD: Program = Program {
    module: "flannel",
    name: "flanneld",
    package: "github.com/flannel-io/flannel",
    kind: Kind::WithC,
};

/// The reference CNI plugins that the yardstick cluster is wired with.
pub(crate) const PLUGINS: [Program; 5] = [HOST_LOCAL, BRIDGE, LOOPBACK, PTP, PORTMAP];
/// What the tests of `deploy/`, of workflows and of documents need besides.
pub(crate) const DEPLOY: [Program; 4] = [HELM, KUBECTL, PROMTOOL, ACTIONLINT];
/// What the ordinary tests need.
pub(crate) const CONTROL_PLANE: [Program; 3] = [ETCD, APISERVER, CONTROLLERS];
/// What a cluster needs besides.
pub(crate) const CLUSTER: [Program; 6] =
    [SCHEDULER, KUBELET, KUBECTL, AGNHOST, ISSUE_74839, COREDNS];

/// Builds what is missing of `programs`.
pub(crate) fn ensure(programs: &[Program]) -> Result<()> {
    programs
        .iter()
        .try_for_each(|program| program.ensure().map(drop))
}

impl Program {
    /// Where the program is, built if it is missing.
    pub(crate) fn ensure(self) -> Result<PathBuf> {
        let folder =
            cache::go_programs(paths::root(), self.module).map_err(|error| anyhow!(error))?;
        let path = folder.join(self.name);
        if !path.exists() {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            say::step(&format!("build {} from its Go module", self.name), || {
                self.build(&path)
            })
            .with_context(|| {
                format!(
                    "hint: is Go installed, and the module proxy reachable? ({})",
                    self.package
                )
            })?;
        }
        Ok(path)
    }

    fn build(self, path: &Path) -> Result<()> {
        let fresh = path.with_extension(format!("new-{}", std::process::id()));
        let mut go = Command::new("go");
        go.current_dir(paths::root().join("tests/cluster").join(self.module));
        let with_c = matches!(self.kind, Kind::WithC);
        go.env("CGO_ENABLED", if with_c { "1" } else { "0" })
            .env_remove("GOFLAGS");
        match self.kind {
            Kind::Command | Kind::WithC => go.arg("build"),
            Kind::Tests => go.args(["test", "-c"]),
        };
        // Without the version the API server says v0.0.0-master, and clients refuse it.
        let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}");
        go.args([
            // Prometheus' clients of all clouds, which take longer to compile than the rest.
            "-tags=remove_all_sd",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            "-ldflags",
            &flags,
            "-o",
        ])
        .arg(&fresh)
        .arg(self.package);
        run::logged(&mut go, &paths::log(&format!("go-{}", self.name))?)?;
        fs::rename(&fresh, path)
            .with_context(|| format!("cannot rename {} to {}", fresh.display(), path.display()))
    }
}
