//! The agent's process, where it does not answer: what it was told stands in its command line and its variables.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args as _, Command, FromArgMatches as _};

use super::{Context, view::View};
use crate::config::{Configuration, Flags, load};

/// The agent's program.
const PROGRAM: &str = "proxy-agent";

/// An agent that is there.
pub(super) struct Found {
    /// Its number.
    pub(super) number: String,
    /// What it was told; why it could not be read, if so.
    pub(super) told: Result<Configuration, String>,
    /// How to read what it reads.
    pub(super) view: View,
}

/// The agent of this node in a container of its own, by its process: whoever listens at the socket, else the one in this network
/// namespace. One that shares our mounts is told what we would be.
pub(super) async fn find(context: &Context) -> Option<Found> {
    let peer = context.client.peer().await.map(|number| number.to_string());
    let number = peer.or_else(by_program)?;
    let process = Path::new("/proc").join(&number);
    let view = View::of(&process);
    view.is_elsewhere().then(|| Found {
        told: told(&process, &view),
        number,
        view,
    })
}

/// A process of the program that runs the agent, and none of its other verbs.
fn by_program() -> Option<String> {
    let ours = fs::read_link("/proc/self/ns/net").ok()?;
    let all = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let agents = all.filter(|entry| {
        let process = entry.path();
        let program = fs::read_link(process.join("exe"));
        program.is_ok_and(|path| path.file_name().is_some_and(|name| name == PROGRAM))
            && fs::read_link(process.join("ns/net")).is_ok_and(|net| net == ours)
            && words(&process.join("cmdline"))
                .get(1)
                .is_none_or(|word| word.starts_with('-'))
    });
    let mut numbers = agents.map(|entry| entry.file_name().to_string_lossy().into_owned());
    numbers.next()
}

/// Words that the kernel keeps with a zero behind each.
fn words(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0);
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

fn told(process: &Path, view: &View) -> Result<Configuration, String> {
    let variables = words(&process.join("environ"));
    let variables: Vec<(String, String)> = variables
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let command = Flags::augment_args(Command::new(PROGRAM)).ignore_errors(true);
    let matches = command.get_matches_from(words(&process.join("cmdline")));
    let mut flags = Flags::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    let by_variable = variables.iter().find(|(name, _)| name == "WEIR_CONFIG");
    let by_variable = by_variable.map(|(_, path)| PathBuf::from(path));
    flags.config = flags.config.or(by_variable).map(|path| view.path(&path));
    let effective = load::load_with(&flags, variables).map_err(|error| error.to_string())?;
    Ok(effective.configuration)
}
