//! `proxyctl`: a person's window into the node. Reads the live pinned maps; the agent, if it answers, only
//! adds names.

pub mod addresses;
pub mod args;
pub mod check;
pub mod cluster;
pub mod cni;
pub mod connectivity;
pub mod diff;
pub mod dump;
pub mod error;
pub mod inside;
pub mod kube_proxy;
pub mod live;
pub mod log_level;
pub mod lookup;
pub mod output;
pub mod place;
pub mod probe;
pub mod remote;
pub mod render;
pub mod status;
pub mod sysdump;
pub mod top;
pub mod trace;
pub mod tunnels;
pub mod version;
pub mod view;
pub mod watch;
pub mod whereabouts;
pub mod why;

mod beside;
mod process;
mod service_name;
mod tool;

use std::{
    ffi::OsString,
    io::{self, Write as _},
};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::{api::client::Client, usage};
use args::{Arguments, Command, ConnectivityVerb, PolicyVerb, ServiceVerb};
pub use error::{CtlError, Exit};
use output::Output;
use remote::Where;

/// What every verb works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Client of the agent.
    pub client: Client,
    /// Flags common to all verbs.
    pub common: args::Common,
}

/// Runs `proxyctl` with these arguments and gives its exit code; called by kubectl, `kubectl weir`.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let plugin = remote::is_plugin(&words);
    let name = if plugin { "kubectl weir" } else { "proxyctl" };
    let command = Arguments::command().name(name).bin_name(name);
    let matches = command.try_get_matches_from(&words);
    let parsed = matches.and_then(|matches| {
        let parsed = Arguments::from_arg_matches(&matches)?;
        Ok((parsed, matches))
    });
    let (parsed, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let (text, is_error) = usage::told(&error, name);
            let (code, printed) = if is_error {
                (Exit::Usage, io::stderr().write_all(text.as_bytes()))
            } else {
                (Exit::Ok, io::stdout().write_all(text.as_bytes()))
            };
            return match printed {
                Ok(()) => code as u8,
                Err(error) => CtlError::from(error).report(&mut io::stderr()) as u8,
            };
        }
    };
    let Arguments { common, command } = parsed;
    let context = Context {
        client: Client::new(common.socket()),
        common,
    };
    match anywhere(context, command, (&words, &matches), plugin).await {
        Ok(code) => code,
        Err(error) => error.report(&mut io::stderr()) as u8,
    }
}

/// Here or on other nodes.
async fn anywhere(
    mut context: Context,
    command: Command,
    (words, matches): (&[OsString], &ArgMatches),
    plugin: bool,
) -> Result<u8, CtlError> {
    match Where::of(&command, &context.common.cluster, plugin)? {
        Where::Here => {
            // The only verb that asks others by itself does so for whoever is on no node.
            context.common.cluster.all_nodes |= plugin;
            beside::take_over(&mut context.common, matches);
            context.client = Client::new(context.common.socket());
            execute(&context, command).await.map(|code| code as u8)
        }
        place => {
            let mut out = Output::stdout(context.common.output);
            let code = remote::run(&context, (place, &command), words, &mut out).await?;
            out.flush()?;
            Ok(code)
        }
    }
}

async fn execute(context: &Context, command: Command) -> Result<Exit, CtlError> {
    let mut out = Output::stdout(context.common.output);
    let code = match command {
        Command::Status(args) => status::run(context, &args, &mut out).await?,
        Command::Check(args) => check::run(context, &args, &mut out).await?,
        Command::Dump(args) => dump::run(context, &args, &mut out).await?,
        Command::Top(args) => top::run(context, &args, &mut out).await?,
        Command::Policy {
            verb: PolicyVerb::Why(args),
        } => why::run(context, &args, &mut out).await?,
        Command::Service {
            verb: ServiceVerb::Trace(args),
        } => trace::run(context, &args, &mut out).await?,
        Command::Cni { verb } => cni::run(context, &verb, &mut out).await?,
        Command::Connectivity {
            verb: ConnectivityVerb::Test(args),
        } => connectivity::run(context, &args, &mut out).await?,
        Command::Probe { verb } => probe::run(&verb, &mut out).await?,
        Command::KubeProxy { verb } => kube_proxy::run(&verb, &mut out)?,
        Command::Diff => diff::run(context, &mut out).await?,
        Command::Sysdump(args) => sysdump::run(context, &args, &mut out).await?,
        Command::Version => version::run(context, &mut out).await?,
        Command::LogLevel(args) => log_level::run(context, &args, &mut out).await?,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "proxyctl", &mut script);
            out.write_all(&script)?;
            Exit::Ok
        }
    };
    out.flush()?;
    Ok(code)
}
