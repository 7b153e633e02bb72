//! What there is to know of the plugin: its program, and what is in the folder that it shares with the agent.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use cni_plugin::{
    attachment::{Attachment, Broken, State},
    heartbeat,
    ipam::Usage,
    ledger,
    node_file::{NodeFile, boot_id},
    paths::Paths,
    salvage, verbs,
    wiring::netlink::Netlink,
};
use serde::Serialize;

use crate::{config::Cni, node::install::PLUGIN};

/// What the plugin calls itself before its version.
const CALLED: &str = "CNI plugin ";

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ctl) struct Facts {
    /// The installed program.
    pub(super) plugin: PathBuf,
    /// Its version, or why it does not say one.
    #[serde(serialize_with = "known")]
    pub(super) version: Result<String, String>,
    /// The configuration that the runtime reads.
    pub(super) conflist: PathBuf,
    /// Since the agent last showed that it lives.
    #[serde(rename = "heartbeatSeconds", serialize_with = "seconds")]
    pub(super) silence: Option<Duration>,
    /// The folder that plugin and agent share.
    #[serde(skip)]
    pub(super) folder: (PathBuf, Folder),
    /// What the agent tells the plugin of the node, or why the plugin does not go by it.
    #[serde(serialize_with = "known")]
    pub(super) node: Result<NodeFile, String>,
    /// The ranges, or why nothing is known of their use.
    #[serde(serialize_with = "known")]
    pub(super) pools: Result<Vec<Usage>, String>,
    /// Interfaces of pods, by how far they are; or why nothing is known of them.
    #[serde(serialize_with = "known")]
    pub(in crate::ctl) attachments: Result<Attachments, String>,
}

/// How a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ctl) enum Folder {
    /// It is there.
    There,
    /// It is not.
    Absent,
    /// It is mounted here, but was removed where it is.
    Removed,
}

impl Folder {
    fn look(path: &Path) -> Self {
        match fs::metadata(path) {
            Err(_) => Self::Absent,
            // Nobody's name leads there any more.
            Ok(found) if found.nlink() == 0 => Self::Removed,
            Ok(_) => Self::There,
        }
    }
}

/// How many attachments there are.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ctl) struct Attachments {
    /// Wired and taken in.
    pub(super) ready: usize,
    /// ADD is at work, or died at it.
    pub(super) creating: usize,
    /// How many of those have each MTU.
    pub(in crate::ctl) mtus: BTreeMap<u32, usize>,
    /// Records that cannot be read.
    #[serde(serialize_with = "files")]
    pub(super) unread: Broken,
    /// Pods that have a record, but no interface.
    pub(super) gone: Vec<String>,
    /// Pods that have an interface, but no record: by what the interface names, or by its own name.
    pub(super) lost: Vec<String>,
}

/// What is known; else nothing, for the complaint says why.
fn known<T: Serialize, S: serde::Serializer>(
    value: &Result<T, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().ok().serialize(serializer)
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn seconds<S: serde::Serializer>(
    silence: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    silence
        .map(|silence| silence.as_secs())
        .serialize(serializer)
}

fn files<S: serde::Serializer>(broken: &Broken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(broken.iter().map(|(path, _)| path))
}

impl Facts {
    /// Looks.
    pub(in crate::ctl) fn look(cni: &Cni, paths: &Paths) -> Self {
        let plugin = cni.bin_dir.join(PLUGIN);
        let node = verbs::node(paths);
        Self {
            version: version(&plugin),
            plugin,
            conflist: cni.conf_dir.join(&cni.conf_file),
            silence: heartbeat::silence(&paths.heartbeat()),
            folder: (paths.root().to_owned(), Folder::look(paths.root())),
            pools: node
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|node| ledger::usage(paths, node).map_err(|error| error.to_string())),
            node,
            attachments: attachments(paths),
        }
    }
}

/// The version of a plugin, by its own word: it says so to who calls it as no runtime does.
fn version(plugin: &Path) -> Result<String, String> {
    let run = |what: &dyn std::fmt::Display| format!("run {}: {what}", plugin.display());
    let done = Command::new(plugin)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| run(&error))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let version = said
        .split_once(CALLED)
        .and_then(|(_, rest)| rest.split_once(':'))
        .filter(|_| done.status.success());
    version
        .map(|(version, _)| version.to_owned())
        .ok_or_else(|| run(&format!("{}, and it does not say its version", done.status)))
}

/// Pods without a record.
pub(in crate::ctl) fn lost(paths: &Paths) -> io::Result<Vec<String>> {
    let links = salvage::unrecorded(paths)?.into_iter();
    Ok(links
        .map(|link| match link.alias.as_str() {
            "" => link.name,
            pod => format!("{pod} ({})", link.name),
        })
        .collect())
}

/// The records of interfaces that are gone. Looked at after the records were: what is deleted meanwhile has none any more.
pub(in crate::ctl) fn gone<'a>(
    paths: &Paths,
    ready: impl IntoIterator<Item = &'a Attachment>,
) -> io::Result<Vec<&'a Attachment>> {
    let links = salvage::links(&mut Netlink::open()?)?;
    let is_gone = |record: &&Attachment| {
        !links.contains_key(&record.add.host_ifname) && paths.attachment(record.key()).exists()
    };
    Ok(ready.into_iter().filter(is_gone).collect())
}

/// As people know it.
pub(in crate::ctl) fn in_words(record: &Attachment) -> String {
    format!("{} ({})", record.add.pod, record.add.host_ifname)
}

fn attachments(paths: &Paths) -> Result<Attachments, String> {
    let folder = paths.attachments();
    let read = |error: io::Error| format!("read {}: {error}", folder.display());
    let boot = boot_id().map_err(|error| format!("read boot_id: {error}"))?;
    let (records, unread) = Attachment::read_all(&folder).map_err(read)?;
    let records = records.iter().filter(|record| record.boot_id == boot);
    let (ready, creating): (Vec<_>, Vec<_>) = records.partition(|r| r.state == State::Ready);
    let mut mtus = BTreeMap::new();
    for record in &ready {
        *mtus.entry(record.mtu).or_default() += 1;
    }
    let list = |error: io::Error| format!("list interfaces: {error}");
    let gone = gone(paths, ready.iter().copied()).map_err(list)?;
    Ok(Attachments {
        gone: gone.into_iter().map(in_words).collect(),
        ready: ready.len(),
        creating: creating.len(),
        mtus,
        unread,
        lost: lost(paths).map_err(list)?,
    })
}
