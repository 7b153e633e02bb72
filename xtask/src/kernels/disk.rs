//! The RAM disk: busybox, modules, test programs, and the script that runs them.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    Which,
    kernel::{self, Kernel},
    programs::{self, Library, Program},
    tools,
};
use crate::{arch::Arch, run};

/// Begins the line with which the machine reports a test program: name and exit status follow.
pub(super) const REPORT: &str = "weir-tests-ended";

/// Begin the names of test programs that start our programs.
const STARTERS: [&str; 2] = ["world_", "cni"];

/// All tests of a program.
const ALL: &[&str] = &[];

/// Of these programs only tests with these names are run, in the short form and in the long one, unless others are asked for: an
/// emulated machine takes minutes to start an agent, and what is not about the kernel has its say elsewhere.
const PARTS: [(&str, [&[&str]; 2]); 6] = [
    ("cni", [&["cni::devices"]; 2]),
    ("world_bandwidth", [&["who_breaks"]; 2]),
    // Agents that encrypt run nowhere else: most kernels that tests run on have no WireGuard.
    ("world_encryption", [&["encryption::device"], ALL]),
    // Most kinds of links are there only.
    (
        "world_links",
        [&["bare::packet::"], &["bare::packet::", "bare::stack::"]],
    ),
    (
        "world_netkit",
        [&["netkit::kinds::pods_keep", "netkit::reach::packet"]; 2],
    ),
    // The packet tables load the programs that do not tell of drops.
    ("verifier", [&["every_program_loads"], ALL]),
];

/// Without fallback devices of tunnels (`tunl0`, `gre0`) in each namespace: once their modules are there, tests would meet them first.
const BEGIN: &str = r"#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
export RUST_BACKTRACE=1 PATH=/tools:/bin TMPDIR=/tmp WEIR_PROGRAMS=/weir WEIR_SLOWNESS=10 WEIR_LINKS=all
";

/// What the disks of all kernels of an architecture have beside tests.
pub(super) struct Common {
    pub(super) arch: Arch,
    busybox: PathBuf,
    tools: Vec<Program>,
}

impl Common {
    /// Finds them, or fetches them: once, not by several machines at a time.
    pub(super) fn gather(arch: Arch) -> Result<Self> {
        Ok(Self {
            arch,
            busybox: kernel::busybox(arch)?,
            tools: tools::of(arch)?,
        })
    }

    /// More programs of this machine, for machines of its architecture.
    pub(super) fn add(&mut self, names: &[&str]) -> Result<()> {
        let more = names.iter().map(|name| tools::host(name));
        self.tools.extend(more.collect::<Result<Vec<_>>>()?);
        Ok(())
    }
}

/// What a machine does.
pub(super) struct Work<'a> {
    /// Programs below `/tests`.
    pub(super) programs: &'a [&'a Program],
    /// What is run once modules are loaded.
    pub(super) script: &'a str,
    /// Whether that needs the programs that we ship.
    pub(super) starts_ours: bool,
}

/// Whether tests among these start programs that we ship.
pub(super) fn starts_ours(programs: &[&Program]) -> bool {
    let mut names = programs.iter().map(|program| program.name.as_str());
    names.any(|name| STARTERS.iter().any(|begin| name.starts_with(begin)))
}

/// Packs the disk for a kernel into a folder; returns its path.
pub(super) fn pack(
    common: &Common,
    folder: &Path,
    kernel: &Kernel,
    work: &Work<'_>,
) -> Result<PathBuf> {
    let Common {
        arch,
        busybox,
        tools,
    } = common;
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for part in [
        "bin", "dev", "modules", "proc", "run", "sys", "tests", "tmp", "tools", "etc", "weir",
    ] {
        let part = root.join(part);
        fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    }
    copy(busybox, &root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/sh")).context("cannot link /bin/sh")?;
    let modules = kernel.modules(&root.join("modules"))?;
    for program in work.programs {
        add(*arch, program, "tests", &root)?;
    }
    if work.starts_ours {
        for program in &programs::ours(*arch)? {
            add(*arch, program, "weir", &root)?;
        }
    }
    for tool in tools {
        add(*arch, tool, "tools", &root)?;
    }
    write_script(&root.join("init"), &modules, work.script)?;
    let disk = folder.join("disk");
    archive(&root, &disk)?;
    Ok(disk)
}

fn add(arch: Arch, program: &Program, folder: &str, root: &Path) -> Result<()> {
    let target = root.join(folder).join(&program.name);
    let mut strip = Command::new(arch.gnu("strip"));
    run::output(strip.arg("-o").arg(&target).arg(&program.path))?;
    for Library { path, place } in &program.libraries {
        let target = root.join(place);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        copy(path, &target)?;
    }
    Ok(())
}

/// Runs tests, one program after the other.
pub(super) fn script_of_tests(
    programs: &[&Program],
    which: Which<'_>,
    long: bool,
) -> Result<String> {
    let mut script = String::new();
    for Program { name, .. } in programs {
        let part = PARTS.iter().find(|(program, _)| program == name);
        let part = part.map_or(ALL, |(_, forms)| forms[usize::from(long)]);
        let words: Vec<String> = match which {
            Which::All => part.iter().map(|name| format!("'{name}'")).collect(),
            Which::Like(part) => vec![format!("'{part}'")],
            Which::Named(names) => names
                .iter()
                .map(|name| format!("--exact '{name}'"))
                .collect(),
        };
        writeln!(script, "/tests/{name} --test-threads=1 {}", words.join(" "))?;
        writeln!(script, "echo {REPORT} {name} $?")?;
    }
    Ok(script)
}

fn write_script(path: &Path, modules: &[String], work: &str) -> Result<()> {
    let mut script = BEGIN.to_owned();
    for module in modules {
        writeln!(script, "insmod /modules/{module}")?;
    }
    script += work;
    script += "poweroff -f\n";
    fs::write(path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn archive(root: &Path, disk: &Path) -> Result<()> {
    let script = "find . | busybox cpio -o -H newc > \"$0\"";
    let mut pack = Command::new("sh");
    run::output(pack.current_dir(root).args(["-c", script]).arg(disk)).map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
