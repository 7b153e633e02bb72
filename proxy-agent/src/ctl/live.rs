//! The live state: the pinned maps, and the names that the agent adds if it answers.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::{Context, CtlError, Exit};
use crate::{
    api::messages::Names,
    datapath::{DatapathError, Pins, Reader, TableError},
};

/// Names are asked for anew when they are older.
const AGE: Duration = Duration::from_secs(5);

/// Opens the pinned maps.
pub fn reader(context: &Context) -> Result<Reader, CtlError> {
    let common = &context.common;
    let pins = Pins::new(&common.bpffs, &common.instance)?;
    Ok(Reader::open(pins)?)
}

/// Asks the agent for names. Without an answer there are none, which is said on stderr.
pub async fn names(context: &Context, raw: bool) -> Names {
    if raw {
        return Names::default();
    }
    match context.client.get::<Names>("/v1/names").await {
        Ok(names) => {
            if let Some(why) = &names.behind {
                warning(&format!("what this node knows may be old: {why}"));
            }
            names
        }
        Err(error) => {
            note(&format!("no names, only what the maps hold: {error}"));
            Names::default()
        }
    }
}

/// Names for who looks again and again.
#[derive(Debug)]
pub struct Naming {
    /// Them.
    pub names: Names,
    asked: Instant,
    raw: bool,
}

impl Naming {
    /// Asks for them.
    pub async fn begin(context: &Context, raw: bool) -> Self {
        Self {
            names: names(context, raw).await,
            asked: Instant::now(),
            raw,
        }
    }

    /// Asks anew, but not often. True: it was time to. Without an agent those that are known stay.
    pub async fn renew(&mut self, context: &Context) -> bool {
        if self.asked.elapsed() < AGE {
            return false;
        }
        self.asked = Instant::now();
        if !self.raw
            && let Ok(names) = context.client.get::<Names>("/v1/names").await
        {
            self.names = names;
        }
        true
    }
}

/// Warns of those of these addresses that are of pods of this node without a network: programs that are not there judge
/// nothing, and translate nothing.
pub fn warn_of_cut_off(names: &Names, addresses: impl IntoIterator<Item = IpAddr>) {
    let pods = addresses.into_iter();
    let pods: BTreeSet<&String> = pods.filter_map(|ip| names.addresses.get(&ip)).collect();
    for pod in pods {
        if let Some(why) = names.cut_off.get(pod) {
            warning(&format!("pod {pod} has no network: {why}"));
        }
    }
}

/// Says something to the person, not to the reader of our output.
pub fn note(text: &str) {
    told(&format!("note: {text}\n"));
}

/// Likewise, what may be wrong.
pub fn warning(text: &str) {
    told(&format!("warning: {text}\n"));
}

/// Passes on what another program has said to the person.
pub fn told(text: &str) {
    // If stderr is closed there is nobody left to tell.
    drop(io::stderr().write_all(text.as_bytes()));
}

impl From<DatapathError> for CtlError {
    fn from(error: DatapathError) -> Self {
        let exit = match &error {
            DatapathError::InstanceName(_) => Exit::Usage,
            DatapathError::NotLoaded { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string(), error.hint())
    }
}

impl From<TableError> for CtlError {
    fn from(error: TableError) -> Self {
        Self::new(Exit::Failed, error.to_string(), error.hint())
    }
}
