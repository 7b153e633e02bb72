//! The live state: the pinned maps, and the names that the agent adds if it answers.

use std::io::{self, Write as _};

use super::{Context, CtlError, Exit};
use crate::{
    api::messages::Names,
    datapath::{DatapathError, Pins, Reader, TableError},
};

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
        Ok(names) => names,
        Err(error) => {
            note(&format!("no names, only what the maps hold: {error}"));
            Names::default()
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
