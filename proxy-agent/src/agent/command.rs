//! The command line of `proxy-agent`, and how its failures are told.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{
    cleanup,
    config_command::{self, ConfigVerb},
    lock::{Lock, LockError},
    logging, migrate_command, process,
    servers::ListenError,
};
use crate::{
    config::{ConfigError, Configuration, Effective, Flags, load},
    datapath::{DatapathError, Pins, TableError, preflight},
    observe::{kubernetes::KubernetesError, manifests::ManifestsError},
    usage,
};

/// Keeps the maps in the kernel in step with the Kubernetes API
#[derive(Debug, Parser)]
#[command(name = "proxy-agent", version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep the maps in step (the default)
    Run,
    /// Remove all that Weir put on this node: programs, maps, routes, devices, conflist
    Cleanup {
        /// Stay afterwards until told to end, as the pods of a `DaemonSet` must, and remove what pods of Weir's keep once they are gone
        #[arg(long)]
        stay: bool,
    },
    /// Leave the maps as an older version expects them, and hand the node over to it once it is started; the agent must not
    /// run
    Migrate {
        /// The schema of that version (`proxyctl version` tells it)
        #[arg(long, value_name = "SCHEMA")]
        to: u32,
    },
    /// Mount the BPF file system at `bpffs`, unless it is there
    MountBpffs,
    /// Print, check and describe the configuration
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
}

/// What to do about an error that has no hint of its own.
const SAYS_MORE: &str =
    "--log-level debug says what was done before; `dmesg` what the kernel thinks of it";

/// Wrong configuration: restarting does not help.
const EXIT_CONFIG: u8 = 2;

/// The command line, for documents.
pub fn command_line() -> clap::Command {
    Arguments::command()
}

/// Runs `proxy-agent`.
pub fn main() -> ExitCode {
    let Arguments { flags, verb } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misread(&error),
    };
    let result = match verb.unwrap_or(Verb::Run) {
        Verb::Config { verb } => config_command::run(&verb, &flags),
        Verb::Run => load::load(&flags)
            .map_err(Into::into)
            .and_then(|effective| keep_in_step(effective, flags)),
        Verb::Migrate { to } => load::load(&flags)
            .map_err(Into::into)
            .and_then(|effective| migrate(&effective.configuration, to)),
        Verb::MountBpffs => mount_bpffs(&loaded_somehow(&flags)),
        Verb::Cleanup { stay } => clean_up(&loaded_somehow(&flags), stay),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(wrong) = error.downcast_ref::<ConfigError>() {
                tell(&wrong.report());
                return ExitCode::from(EXIT_CONFIG);
            }
            tell(&failure(&error));
            ExitCode::FAILURE
        }
    }
}

/// The configuration without what is wrong with it, which is told: a node can be left whatever somebody has written into a file.
fn loaded_somehow(flags: &Flags) -> Configuration {
    let (effective, wrong) = load::load_what_can_be(flags);
    if let Some(wrong) = wrong {
        tell(&wrong.report());
        tell("what is wrong counts as not said\n");
    }
    effective.configuration
}

/// Tells what the command line should have been, or the help that was asked for.
fn misread(error: &clap::Error) -> ExitCode {
    let (text, is_error) = usage::told(error, "proxy-agent");
    if is_error {
        tell(&text);
        return ExitCode::from(EXIT_CONFIG);
    }
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The whole chain, and what to do about the first of its errors that knows.
fn failure(error: &anyhow::Error) -> String {
    let hint = error.chain().find_map(hint);
    let hint = hint.as_deref().unwrap_or(SAYS_MORE);
    format!("error: {}\nhint: {hint}\n", usage::in_full(error))
}

fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<DatapathError>() {
        return Some(error.hint());
    }
    if let Some(error) = error.downcast_ref::<TableError>() {
        return Some(error.hint().to_owned());
    }
    if let Some(error) = error.downcast_ref::<ListenError>() {
        return Some(error.hint());
    }
    if let Some(error) = error.downcast_ref::<LockError>() {
        return Some(error.hint());
    }
    if let Some(error) = error.downcast_ref::<KubernetesError>() {
        return Some(error.hint().to_owned());
    }
    error
        .downcast_ref::<ManifestsError>()
        .map(ManifestsError::hint)
}

/// If stderr is closed there is nobody left to tell.
fn tell(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

fn keep_in_step(effective: Effective, flags: Flags) -> anyhow::Result<()> {
    let config = effective.configuration;
    let level = logging::begin(&config.logging)?;
    for warning in effective.warnings {
        tracing::warn!("{warning}");
    }
    process::run(config, flags, level)
}

fn migrate(config: &Configuration, to: u32) -> anyhow::Result<()> {
    logging::begin(&config.logging)?;
    migrate_command::run(config, to)
}

fn mount_bpffs(config: &Configuration) -> anyhow::Result<()> {
    logging::begin(&config.logging)?;
    let mounted = preflight::mount_bpffs(&config.bpffs).map_err(DatapathError::from)?;
    tracing::info!(path = %config.bpffs.display(), mounted, "BPF file system is there");
    Ok(())
}

fn clean_up(config: &Configuration, stay: bool) -> anyhow::Result<()> {
    logging::begin(&config.logging)?;
    // What an agent keeps would come back while it is removed.
    let mut lock = Lock::take(&config.run_dir)?;
    lock.add_pins(Pins::new(&config.bpffs, &config.instance)?.instance())?;
    let left = cleanup::run(config)?;
    cleanup::tell(config, left, stay);
    if stay {
        return cleanup::stay(config, left);
    }
    cleanup::take_leave(config)
}
