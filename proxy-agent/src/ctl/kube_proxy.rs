//! `proxyctl kube-proxy`: what another proxy has left on this node, and how to be rid of it.
//!
//! Nothing is removed unless asked for. Rules of netfilter only translate what begins, and connections that live go on by
//! netfilter's connection tracking; but the kernel tracks and translates only while somebody's rule asks for it
//! (`nf_ct_netns_get`), so something that does nothing else is put in their place ([`KEPT`]). IPVS forwards by its own table;
//! what has connections there stays.

mod iptables;
mod ipvs;
mod nftables;
mod survey;

use std::{fs, io::Write as _};

use serde::Serialize;

use super::{
    CtlError, Exit,
    args::KubeProxyVerb,
    output::{Output, Row},
    tool::Call,
};

pub(super) use survey::{Survey, Unseen, words};

/// Keeps connections alive that kube-proxy has translated: a table of nftables, and a chain of iptables.
const KEPT: [&str; 2] = ["weir-kept", "WEIR-KEPT"];

/// Something that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leftover {
    /// `nftables`, `iptables`, `ip6tables` and so on.
    #[serde(rename = "in")]
    pub(super) place: String,
    /// What it is.
    pub(super) what: String,
    /// How it is removed; nothing where it has to stay for now.
    commands: Vec<Call>,
    /// Why it has to stay for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays: Option<String>,
}

impl Row for Leftover {
    const KIND: &'static str = "KubeProxyLeftoverList";
    const COLUMNS: &'static [&'static str] = &["IN", "WHAT", "STAYS"];
    const WIDE: &'static [&'static str] = &["COMMANDS"];

    fn cells(&self) -> Vec<String> {
        let stays = self.stays.clone().unwrap_or_else(|| "-".to_owned());
        vec![self.place.clone(), self.what.clone(), stays]
    }

    fn wide(&self) -> Vec<String> {
        let commands: Vec<String> = self.commands.iter().map(ToString::to_string).collect();
        vec![commands.join("; ")]
    }

    fn name(&self) -> String {
        format!("{}: {}", self.place, self.what)
    }
}

/// Does it; exit code 1 if something is left, 5 if nothing is where it could be looked, but that is not everywhere.
pub fn run(verb: &KubeProxyVerb, out: &mut Output) -> Result<Exit, CtlError> {
    match verb {
        KubeProxyVerb::Status => {
            let survey = survey();
            survey.print(out)?;
            survey.verdict(out)
        }
        KubeProxyVerb::Cleanup { dry_run: true } => {
            let survey = survey();
            let commands = survey.found.iter().flat_map(|leftover| &leftover.commands);
            for command in commands {
                writeln!(out, "{command}")?;
            }
            survey.verdict(out)
        }
        KubeProxyVerb::Cleanup { dry_run: false } => clean(out),
    }
}

/// All that is left, and where nobody could look.
pub(super) fn survey() -> Survey {
    let mut survey = Survey::default();
    nftables::look(&mut survey);
    iptables::look(&mut survey);
    ipvs::look(&mut survey);
    survey
}

fn clean(out: &mut Output) -> Result<Exit, CtlError> {
    if let Some(pid) = running() {
        return Err(CtlError::new(
            Exit::Failed,
            format!("kube-proxy runs here as process {pid}: it would put everything back"),
            "remove its DaemonSet or unit first; `proxyctl kube-proxy cleanup --dry-run` shows what would be done",
        ));
    }
    for leftover in survey().found {
        for command in &leftover.commands {
            command.run()?;
            writeln!(out, "{command}")?;
        }
    }
    let left = survey();
    out.flush()?;
    if !left.found.is_empty() {
        left.print(out)?;
    }
    left.verdict(out)
}

/// A kube-proxy that runs in this node's network.
pub(super) fn running() -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = network("self");
    pids.into_iter().find(|pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        // One that may not be looked at is taken for the node's.
        let theirs = network(&pid.to_string()).or_else(|| ours.clone());
        name.is_ok_and(|name| name.trim() == "kube-proxy") && theirs == ours && !has_ended(*pid)
    })
}

/// Whether a process is a zombie: it has ended, and nobody has asked how.
fn has_ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let lines = status.unwrap_or_default();
    let mut lines = lines.lines();
    lines.any(|line| line.starts_with("State:") && line.contains('Z'))
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        thread::sleep,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn one_that_has_ended_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("kube-proxy");
        // No copy: another thread's child might have that open for writing (ETXTBSY).
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut process = Command::new(program).arg("60").spawn().unwrap();
        let until = |wanted: bool| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while (running() == Some(process.id())) != wanted {
                assert!(Instant::now() < deadline, "{wanted}");
                sleep(Duration::from_millis(10));
            }
        };
        until(true);
        // It is not waited for, so it stays as what it was.
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(process.id().cast_signed()),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        until(false);
        process.wait().unwrap();
    }
}
