//! The live state: the pinned maps, and the names that the agent adds if it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Behind the name of what is there no more.
const DELETED: &str = " (deleted)";

/// So many of them are remembered.
const FORMER: usize = 4096;

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
            && let Ok(mut names) = context.client.get::<Names>("/v1/names").await
        {
            keep_former(&mut names.services, &self.names.services);
            keep_former(&mut names.endpoints, &self.names.endpoints);
            self.names = names;
        }
        true
    }
}

/// Flows outlive what they are of: what had a name is told by it still, the newest at least.
fn keep_former(names: &mut BTreeMap<u32, String>, former: &BTreeMap<u32, String>) {
    let gone = former
        .iter()
        .rev()
        .filter(|(id, _)| !names.contains_key(id));
    let gone: Vec<(u32, String)> = gone
        .take(FORMER)
        .map(|(id, name)| {
            let name = name.strip_suffix(DELETED).unwrap_or(name);
            (*id, format!("{name}{DELETED}"))
        })
        .collect();
    names.extend(gone);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::keep_former;

    #[test]
    fn what_was_deleted_keeps_its_name() {
        let names = |all: &[(u32, &str)]| -> BTreeMap<u32, String> {
            all.iter()
                .map(|(id, name)| (*id, (*name).to_owned()))
                .collect()
        };
        let mut now = names(&[(1, "new"), (3, "shop/web:http")]);
        keep_former(&mut now, &names(&[(1, "old"), (2, "shop/api:http")]));
        let after = names(&[
            (1, "new"),
            (2, "shop/api:http (deleted)"),
            (3, "shop/web:http"),
        ]);
        assert_eq!(now, after);
        let mut later = names(&[(1, "new")]);
        keep_former(&mut later, &now);
        assert_eq!(later[&2], "shop/api:http (deleted)");
    }
}
