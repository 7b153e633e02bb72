//! `proxyctl cni`: the plugin on this node, by the files that it shares with the agent. Needs no agent.

mod list;
mod log;
mod status;

use super::{Context, CtlError, Exit, args::CniVerb, output::Output};

const ROOT_HINT: &str =
    "the file is root's: run this as root on the node, or in the agent's container";

/// Runs a verb.
pub async fn run(context: &Context, verb: &CniVerb, out: &mut Output) -> Result<Exit, CtlError> {
    match verb {
        CniVerb::Status(args) => status::run(context, args, out).await,
        CniVerb::List(args) => list::run(context, args, out),
        CniVerb::Log(args) => log::run(context, args, out),
    }
}
