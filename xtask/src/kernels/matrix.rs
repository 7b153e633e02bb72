//! Which kernels there are.

use crate::{arch::Arch, tools::debian::Suite};

/// A kernel of the matrix.
pub(super) struct Series {
    /// As people call it.
    pub(super) name: &'static str,
    /// On which machines; it is left out on others.
    pub(super) on: &'static [Arch],
    /// The kind of kernel, as Debian's package is called: `ARCH` stands for the architecture's name.
    pub(super) kind: &'static str,
    /// Another processor than the newest, on machines of one architecture.
    processor: Option<(Arch, &'static str)>,
    /// The suites of Debian that may carry it: the newest one in them counts.
    pub(super) suites: &'static [Suite],
    /// Processors of the machine.
    pub(super) processors: u32,
    /// The test programs that it runs.
    pub(super) programs: &'static [&'static str],
    /// Of these, what the short form leaves out, since another kernel says the same.
    twice: &'static [&'static str],
}

impl Series {
    /// The kind of processor of its machine.
    pub(super) fn processor(&self, arch: Arch) -> &'static str {
        let own = self.processor.filter(|(of, _)| *of == arch);
        own.map_or(arch.emulator().processor, |(_, processor)| processor)
    }

    /// Whether it runs a test program, in the long form or the short one.
    pub(super) fn runs(&self, program: &str, long: bool) -> bool {
        self.programs.contains(&program) && (long || !self.twice.contains(&program))
    }
}

/// The oldest kernel that Weir supports, the newest long-term one in a stable Debian, and the newest that Debian has
/// released, whether to its stable users or to those of sid. What this machine runs, the other layers of
/// `cargo xtask test` use. And one with more processors than most machines that run tests have, and one with larger pages.
pub(super) const MATRIX: [Series; 5] = [
    Series {
        name: "6.1",
        // One that has no instructions that are atomic by themselves (LSE): the kernel translates ours to loops.
        processor: Some((Arch::Arm64, "cortex-a72")),
        suites: &[Suite::Bookworm],
        // It has no netkit: pods as on any kernel without.
        twice: &["world_links", "world_netkit"],
        ..USUAL
    },
    Series {
        name: "6.12",
        suites: &[Suite::Trixie],
        twice: &["world_bandwidth", "world_links", "world_netkit"],
        ..USUAL
    },
    Series {
        name: "newest",
        suites: &[Suite::Backports, Suite::Sid],
        ..USUAL
    },
    Series {
        name: "64-processors",
        suites: &[Suite::Trixie],
        processors: 64,
        programs: &["processors"],
        ..USUAL
    },
    Series {
        name: "16k-pages",
        on: &[Arch::Arm64],
        kind: "ARCH-16k",
        suites: &[Suite::Trixie],
        ..USUAL
    },
];

/// Kernels for virtual machines: fewer drivers.
const CLOUD: &str = "cloud-ARCH";

/// What most have: any architecture, one processor, and the tests that need nothing but a kernel.
const USUAL: Series = Series {
    name: "",
    on: &Arch::ALL,
    kind: CLOUD,
    processor: None,
    suites: &[],
    processors: 1,
    programs: &[
        "verifier",
        "packets",
        "cni",
        "world_bandwidth",
        "world_encryption",
        "world_links",
        "world_netkit",
    ],
    twice: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_leaves_out_what_another_kernel_says() {
        for series in &MATRIX {
            for program in series.twice {
                assert!(series.runs(program, true) && !series.runs(program, false));
                let others = MATRIX.iter().filter(|other| other.on == series.on);
                assert!(others.filter(|other| other.runs(program, false)).count() > 0);
            }
            assert!(series.runs("verifier", true) == series.runs("verifier", false));
        }
    }
}
