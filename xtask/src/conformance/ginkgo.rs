//! Runs `e2e.test` under ginkgo, several tests at once, from outside the cluster.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, Result};

use crate::cluster::lab::Lab;
use crate::cluster::place::Place;
use crate::tools::go;
use crate::{paths, run, say};

/// How often the state of a run is told.
const TELL: Duration = Duration::from_mins(1);

/// Which tests run, and how.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) focus: String,
    pub(super) skip: String,
    pub(super) procs: u8,
    pub(super) nodes: u8,
}

impl Plan {
    /// The names of the tests that would run.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let report = folder.path().join("report.json");
        let mut dry = Command::new(go::E2E.ensure()?);
        dry.args([
            "--ginkgo.dry-run",
            "--ginkgo.no-color",
            "--provider=skeleton",
        ]);
        dry.arg(format!("--ginkgo.focus={}", self.focus))
            .arg(format!("--ginkgo.skip={}", self.skip));
        dry.arg(format!("--ginkgo.json-report={}", report.display()));
        run::output(&mut dry)?;
        Ok(super::report::read(&report)?.selected())
    }

    /// Runs them; returns the folder with reports and logs, and how the runner ended. A failed test is no error here.
    pub(super) fn run(&self, lab: &Lab, set: &str) -> Result<(PathBuf, ExitStatus)> {
        let folder = paths::cache()?.join("conformance").join(set);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        let log = folder.join("ginkgo.log");
        let mut ginkgo = self.command(lab, &folder)?;
        let file = File::create(&log)?;
        let shown = run::shown(&ginkgo);
        ginkgo
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let ended = say::step(
            &format!("run upstream's {set} tests (log: {})", log.display()),
            || {
                let mut child = ginkgo
                    .spawn()
                    .with_context(|| format!("cannot start `{shown}`"))?;
                let mut told = Instant::now();
                loop {
                    if let Some(status) = child.try_wait()? {
                        return Ok(status);
                    }
                    thread::sleep(Duration::from_millis(500));
                    if told.elapsed() > TELL {
                        told = Instant::now();
                        say::line(progress(&log)?);
                    }
                }
            },
        )?;
        Ok((folder, ended))
    }

    fn command(&self, lab: &Lab, folder: &Path) -> Result<Command> {
        let mut ginkgo = Place::fabric(lab).command(go::GINKGO.ensure()?);
        ginkgo
            .args([
                "run",
                "-p",
                "--no-color",
                "--timeout=3h",
                "--junit-report=junit.xml",
                "--json-report=report.json",
            ])
            .arg(format!("--procs={}", self.procs))
            .arg(format!("--output-dir={}", folder.display()))
            .arg(format!("--focus={}", self.focus))
            .arg(format!("--skip={}", self.skip))
            .arg(go::E2E.ensure()?)
            .args(["--", "--provider=skeleton", "--disable-log-dump"])
            .arg(format!("--kubeconfig={}", lab.kubeconfig().display()))
            .arg(format!("--report-dir={}", folder.display()))
            .arg(format!("--num-nodes={}", self.nodes));
        // The tests call kubectl by name.
        let kubectl = go::KUBECTL.ensure()?;
        let own = kubectl.parent().map(Path::to_path_buf).into_iter();
        let path =
            env::join_paths(own.chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())))?;
        ginkgo.env("PATH", path).current_dir(folder);
        Ok(ginkgo)
    }
}

/// Counts what ginkgo has reported so far: a dot for each test that ran, a word after it if it failed.
fn progress(log: &Path) -> Result<String> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let (ran, failed) = (
        text.matches('•').count(),
        text.matches("• [FAILED]").count(),
    );
    Ok(format!(
        "  so far {} passed, {failed} failed",
        ran.saturating_sub(failed)
    ))
}
