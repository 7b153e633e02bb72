//! `proxyctl check`: what is wrong with this node, before Weir is installed and afterwards.
//!
//! A check is a value of a [`table`]: a name, a category, and a function that looks. Each looks at one thing, most often by what
//! the agent itself looks at it, and has a function that judges without looking. What they complain of has a name ([`Fault`]), an
//! entry of docs/troubleshooting.md, and a hint.

pub mod fault;
pub mod finding;
pub mod scene;
pub mod table;

mod agent;
mod api;
mod detours;
mod firewall;
mod kernel;
mod live;
mod mounts;
mod neighbours;
mod net;
pub(super) mod others;
mod owner;
pub(super) mod plugin;
mod ports;
pub(super) mod print;
mod runtime;
mod sysctls;
pub(super) mod wiring;

use std::fs;

use super::{Context, CtlError, Exit, args::CheckArgs, live as said, output::Output};
pub use fault::Fault;
pub use finding::{Category, Check, Complaint, Outcome, Remedy, Topic, Verdict};
pub use print::Report;
use scene::Scene;

/// Looks for what is wrong, and prints it.
pub async fn run(context: &Context, args: &CheckArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let report = report(context, args).await?;
    out.object("Check", &report, |to| print::write(&report, to))?;
    if is_in_agents_container() {
        said::note(
            "seen from within the agent's container: whether netfilter drops what pods send (firewall), where the container runtime \
             looks for plugins (runtime) and whether the node has mounted another BPF file system (bpffs) only `proxyctl check` on the \
             node itself sees",
        );
    }
    Ok(report.exit(args.fail_on_warning))
}

/// Whether the first process here is the agent.
fn is_in_agents_container() -> bool {
    let first = fs::read_link("/proc/1/exe").unwrap_or_default();
    first.file_name().is_some_and(|name| name == "proxy-agent")
}

/// How often it is looked again where the agent's process, by whose root its paths are read, ends meanwhile.
const TRIES: usize = 3;

/// Looks for what is wrong.
pub async fn report(context: &Context, args: &CheckArgs) -> Result<Report, CtlError> {
    for _ in 0..TRIES {
        let scene = Scene::look(context, args).await;
        let report = judge(&scene, args);
        if !scene.view.is_gone() {
            return Ok(report);
        }
    }
    Err(CtlError::new(
        Exit::Failed,
        format!("the agent's process ended while it was looked at, {TRIES} times in a row"),
        "what ends it? kubectl --namespace kube-system logs daemonset/weir --container agent --previous, and describe pods",
    ))
}

/// What is wrong with what was looked at.
pub fn judge(scene: &Scene, args: &CheckArgs) -> Report {
    let checks = table::CHECKS.iter();
    let checks = checks.filter(|check| check.before || !scene.before);
    let left_out = |check: &&Check| args.skip.iter().any(|name| name == check.topic.name);
    let checks = checks.filter(|check| !left_out(check));
    let looked = checks.map(|check| (check.topic, (check.look)(scene)));
    Report::of(scene.before, looked)
}
