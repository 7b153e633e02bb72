//! `cargo xtask setup`: puts the tools in place ahead of time. Every other verb does it for itself.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::tools::{debian, go};
use crate::{arch::Arch, kernels, say, tools};

/// Install tools ahead of time into the cache folder (`$WEIR_CACHE`, else ~/.cache/weir).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to prepare; all that the tests need if nothing is named.
    what: Vec<What>,
}

/// A group of tools.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// What compiles the BPF object: bpf-linker and library sources.
    Toolchain,
    /// etcd, kube-apiserver and kube-controller-manager: what the tests need.
    ControlPlane,
    /// containerd 1.6, 1.7 and 2, side by side, and runc.
    Containerd,
    /// The emulator that other kernels than this machine's are tested in.
    Kernels,
    /// Everything that a cluster is made of.
    Cluster,
    /// kube-proxy and the reference CNI plugins.
    KubeProxy,
    /// Helm, kubectl, promtool, actionlint, cargo-sbom and mdbook: what the tests of `deploy/` and of the documents need besides.
    Deploy,
    /// Upstream's end-to-end tests and their runner.
    Conformance,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let what: &[What] = if args.what.is_empty() {
        &[
            What::Toolchain,
            What::ControlPlane,
            What::Containerd,
            What::Deploy,
            What::Kernels,
        ]
    } else {
        &args.what
    };
    for what in what {
        match what {
            What::Toolchain => tools::toolchain::ensure()?,
            What::ControlPlane => go::ensure(&go::CONTROL_PLANE)?,
            What::Containerd => tools::containerd()?,
            What::Deploy => {
                go::ensure(&go::DEPLOY)?;
                tools::mdbook::ensure()?;
                tools::sbom::ensure()?;
                debian::host(&[("shellcheck", "shellcheck")])?;
            }
            What::Kernels => kernels::prepare(Arch::HOST)?,
            What::Cluster => {
                go::ensure(&go::CONTROL_PLANE)?;
                go::ensure(&go::CLUSTER)?;
            }
            What::KubeProxy => {
                go::ensure(&[go::KUBE_PROXY])?;
                go::ensure(&go::PLUGINS)?;
            }
            What::Conformance => go::ensure(&[go::GINKGO, go::E2E])?,
        }
    }
    say::line(format!(
        "all there, in {}",
        crate::paths::cache()?.display()
    ));
    Ok(ExitCode::SUCCESS)
}
