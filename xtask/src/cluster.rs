//! `cargo xtask cluster`: a real Kubernetes of several nodes on this one machine, with no image registry.
//!
//! The control plane and every node live in namespaces of their own; nothing of the host's network is touched.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Subcommand;

mod cgroups;
mod connectivity;
mod control_plane;
mod down;
mod flannel;
mod forward;
mod helm;
mod kube_proxy;
mod kubeconfig;
mod kubelet;
pub(crate) mod lab;
mod links;
mod move_over;
mod namespaces;
pub(crate) mod place;
mod routes;
mod runtime;
pub(crate) mod shape;
mod status;
mod up;
mod wait;
mod weir;

pub(crate) use runtime::SANDBOX;

use crate::tools::go;
use crate::{run as runner, say};
use lab::{Lab, MAX_NODES};
use place::Place;
use shape::Shape;

/// Bring up a real Kubernetes cluster on this one machine, or take it away.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to do with the cluster.
#[derive(Subcommand)]
enum What {
    /// Bring it up (removes the one that is there).
    Up {
        /// Number of nodes.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
        nodes: u8,
        #[command(flatten)]
        shape: Shape,
    },
    /// Take it away, whatever state it is in.
    Down,
    /// Show nodes and system pods.
    Status,
    /// Print the path of a kubeconfig for use on this host.
    Kubeconfig,
    /// Run kubectl on it.
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run `proxyctl connectivity test` on it, from outside.
    Connectivity {
        /// Plant a fault between two nodes, and see whether it is found by name.
        #[arg(long, conflicts_with = "args")]
        fault: bool,
        /// Arguments of `connectivity test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Move over from another network to Weir, node by node, and back again, and see whether anything is lost or left; exit code
    /// 1 if so. Takes the cluster that is up away, and its own in the end.
    MoveOver(move_over::Args),
    /// Run a command on a node, in its namespaces.
    Enter {
        /// The node's number, from 1; 0 is the fabric.
        node: u8,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Talk over one connection until killed.
    #[command(hide = true)]
    Talk(move_over::Talk),
    /// Pass connections from the host to the API server.
    #[command(hide = true)]
    Forward,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let lab = Lab::open()?;
    match &args.what {
        What::Up { nodes, shape } => {
            let nodes = *nodes;
            up::up(&lab, Shape { nodes, ..*shape })?;
            say::line("try: cargo xtask cluster kubectl -- get pods --all-namespaces");
        }
        What::Down => say::step("take the cluster away", || down::down(&lab))?,
        What::Status => status::status(&lab)?,
        What::Kubeconfig => {
            lab.must_be_up()?;
            say::data(lab.file("kubeconfig").display().to_string());
        }
        What::Kubectl { args } => return pass_on(kubectl(&lab)?.args(args)),
        What::Connectivity { fault: true, .. } => connectivity::with_fault(&lab)?,
        What::Connectivity { args, .. } => return connectivity::sound(&lab, args),
        What::MoveOver(args) => return move_over::run(&lab, *args),
        What::Talk(talk) => talk.run()?,
        What::Enter { node, command } => return enter(&lab, *node, command),
        What::Forward => forward::run(&lab)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// kubectl in the fabric, as administrator.
pub(crate) fn kubectl(lab: &Lab) -> Result<Command> {
    let mut command = Place::fabric(lab).command(go::KUBECTL.ensure()?);
    command.arg(format!("--kubeconfig={}", lab.kubeconfig().display()));
    Ok(command)
}

/// Brings a cluster up unless one of this shape is there.
pub(crate) fn ensure(lab: &Lab, shape: Shape) -> Result<()> {
    if lab.shape()? == Some(shape) {
        Ok(())
    } else {
        up::up(lab, shape)
    }
}

fn enter(lab: &Lab, node: u8, command: &[String]) -> Result<ExitCode> {
    lab.must_be_up()?;
    let place = if node == 0 {
        Place::fabric(lab)
    } else {
        Place::node(lab, lab::Node(node))
    };
    pass_on(place.command(&command[0]).args(&command[1..]))
}

/// Runs a command on our terminal; its exit code becomes ours.
fn pass_on(command: &mut Command) -> Result<ExitCode> {
    let shown = runner::shown(command);
    let status = command
        .status()
        .map_err(|error| anyhow::anyhow!("cannot start `{shown}`: {error}"))?;
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}
