//! This machine's own apt: where its mirror is, and packages that are installed.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::{paths, run, say};

/// The Debian mirror: `$WEIR_DEBIAN_MIRROR`, else the one that the host's apt uses.
pub(crate) fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var("WEIR_DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let format = "$(ORIGIN) $(COMPONENT) $(REPO_URI) $(RELEASE)";
    let listed = run::output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    let uri = listed
        .lines()
        .filter_map(|line| line.strip_prefix("Debian main "))
        .find(|rest| !rest.contains("-security"));
    uri.and_then(|rest| rest.split(' ').next())
        .map(|uri| uri.trim_end_matches('/').to_owned())
        .ok_or_else(|| {
            anyhow!("apt knows no Debian mirror")
                .context("hint: run `apt-get update`, or set WEIR_DEBIAN_MIRROR")
        })
}

/// Installs the host's own packages for the programs, or whole paths, that are missing: `(program, package)`.
pub(crate) fn host(programs: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    say::step(&format!("install {} by apt-get", missing.join(" ")), || {
        let log = paths::log("apt-get")?;
        run::logged(Command::new("apt-get").args(["update", "-q"]), &log)?;
        let mut install = Command::new("apt-get");
        install
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-qy", "--no-install-recommends"])
            .args(&missing);
        run::logged(&mut install, &log)
    })
    .with_context(|| format!("hint: as root, `apt-get install {}`", missing.join(" ")))
}

/// Whether a program is on the PATH, or where root's programs are.
fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).exists())
}
