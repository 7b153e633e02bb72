//! The command line of `proxy-agent`, and how its failures are told.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use super::{
    cleanup,
    lock::{Lock, LockError},
    logging, process,
    servers::ListenError,
};
use crate::{
    config::{ConfigError, Configuration, Flags, load},
    datapath::{DatapathError, Pins, TableError},
    observe::{kubernetes::KubernetesError, manifests::ManifestsError},
};

/// Keeps the maps in the kernel in step with the Kubernetes API
#[derive(Debug, Parser)]
#[command(name = "proxy-agent", version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Print the effective configuration and exit
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep the maps in step (the default)
    Run,
    /// Remove all that Weir put on this node: programs, maps, routes, devices, conflist
    Cleanup,
}

/// Wrong configuration: restarting does not help.
const EXIT_CONFIG: u8 = 2;

/// Runs `proxy-agent`.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match load::load(&arguments.flags) {
        Ok(config) => config,
        Err(error) => {
            tell(&config_error(&error));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match execute(&arguments, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&failure(&error));
            ExitCode::FAILURE
        }
    }
}

/// The whole chain, and what to do about the first of its errors that knows.
fn failure(error: &anyhow::Error) -> String {
    match error.chain().find_map(hint) {
        Some(hint) => format!("error: {error:#}\nhint: {hint}\n"),
        None => format!("error: {error:#}\n"),
    }
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

fn config_error(error: &ConfigError) -> String {
    format!("error: {error}\nhint: {}\n", error.hint())
}

/// If stderr is closed there is nobody left to tell.
fn tell(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

fn execute(arguments: &Arguments, config: Configuration) -> anyhow::Result<()> {
    if arguments.print_config {
        let text = serde_saphyr::to_string(&config).context("print the configuration")?;
        return io::stdout()
            .write_all(text.as_bytes())
            .context("print the configuration");
    }
    match arguments.verb {
        None | Some(Verb::Run) => {
            let level = logging::begin(&config.logging)?;
            process::run(config, arguments.flags.clone(), level)
        }
        Some(Verb::Cleanup) => {
            logging::begin(&config.logging)?;
            // What an agent keeps would come back while it is removed.
            let mut lock = Lock::take(&config.run_dir)?;
            lock.add_pins(Pins::new(&config.bpffs, &config.instance)?.instance())?;
            cleanup::run(&config)
        }
    }
}
