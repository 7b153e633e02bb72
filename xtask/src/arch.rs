//! Architectures: how each is called by whom, what compiles for it, and what emulates it.

/// An architecture that Weir is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

/// Boots kernels of an architecture.
pub(crate) struct Emulator {
    /// Its program.
    pub(crate) program: &'static str,
    /// The package that has the program.
    pub(crate) package: &'static str,
    /// Which machine it is to be.
    pub(crate) machine: &'static [&'static str],
    /// The processor that has all that it can emulate.
    pub(crate) processor: &'static str,
    /// The kernel's name of the device that the emulator prints.
    pub(crate) console: &'static str,
}

impl Arch {
    /// This machine's.
    pub(crate) const HOST: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Amd64
    };

    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// Its name for Debian, images and people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Its name for the kernel (`uname -m`).
    pub(crate) const fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The compiler's name of it.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// One of the GNU tools that make programs of it, such as `gcc`; Debian has them by these names on its own machines too.
    pub(crate) fn gnu(self, tool: &str) -> String {
        format!("{}-linux-gnu-{tool}", self.machine())
    }

    /// What compiles C and links on a machine of another architecture: programs, or whole paths, and their packages.
    pub(crate) const fn cross(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Amd64 => [
                ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
                ("/usr/x86_64-linux-gnu/lib/libc.a", "libc6-dev-amd64-cross"),
            ],
            Self::Arm64 => [
                ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
                ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
            ],
        }
    }

    /// What boots its kernels.
    pub(crate) const fn emulator(self) -> Emulator {
        match self {
            Self::Amd64 => Emulator {
                program: "qemu-system-x86_64",
                package: "qemu-system-x86",
                machine: &[],
                // Without string instructions that copy byte by byte, which are the slowest to emulate; kernels clear and copy
                // pages by them where they are said to be fast.
                processor: "max,-erms,-fsrm",
                console: "ttyS0",
            },
            Self::Arm64 => Emulator {
                program: "qemu-system-aarch64",
                package: "qemu-system-arm",
                // The older interrupt controller knows eight processors.
                machine: &["-machine", "virt,gic-version=3"],
                // Pointers are signed by what is quick to emulate.
                processor: "max,pauth-impdef=on",
                console: "ttyAMA0",
            },
        }
    }
}
