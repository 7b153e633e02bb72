//! What the node's worker has found, as a value.

use std::net::IpAddr;

use cni_plugin::wiring::device::Device;
use ipnetwork::IpNetwork;

use super::{
    condition::Network,
    encryption::{Encrypted, Ready, keeper::Keeper, key::PublicKey},
};
use crate::{
    api::{
        Shared,
        listen::ListenOn,
        messages::{
            EncryptionStatus, HostStatus, LinksStatus, MasqueradeStatus, Status, WayStatus,
        },
    },
    subject::{Repairs, Room},
};

/// How the node was when it was looked at last.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// What could not be done.
    pub(super) errors: Vec<String>,
    /// What of pods' interfaces could not be put back.
    pub(super) mended: Vec<String>,
    /// Those in the maps that reach pods.
    pub(super) addresses: Vec<IpAddr>,
    /// The large ranges in the maps, all of whose addresses are the node's.
    pub(super) ranges: Vec<IpNetwork>,
    /// Where health check node ports are served.
    pub(super) listen_on: Option<ListenOn>,
    /// Entries of the node's maps that wait for room, by map.
    pub(super) room: Room,
    /// What the kernel did not take into them.
    pub(super) refused: Option<String>,
    /// What was put back.
    pub(super) repairs: Repairs,
    pub(super) host: HostStatus,
    pub(super) links: LinksStatus,
    pub(super) masquerades: MasqueradeStatus,
    pub(super) ways: Vec<WayStatus>,
    /// What others lead elsewhere of nodes' ranges.
    pub(super) detours: Vec<String>,
    /// The device that encrypts, and what is encrypted.
    pub(super) encryption: (Keeper, Encrypted),
    /// What interfaces new pods get, and why none.
    pub(super) device: (Device, Option<String>),
    /// The manifests are for another platform than this node's.
    pub(super) misplaced: Option<String>,
    /// Another plugin that the runtime calls in our place, in words.
    pub(super) rival: Option<String>,
    /// The plugin is installed.
    pub(super) installed: bool,
    /// What the own Node is to say; none if this was no look, or one that came to nothing.
    pub(super) said: Option<Said>,
}

/// What the own Node is to say.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Whether new pods get a network.
    pub(super) network: Network,
    /// Whether the node encrypts, and with which key.
    pub(super) encrypts: Ready,
    /// The key that other nodes are to know.
    pub(super) published_key: Option<PublicKey>,
    /// Pods could start since the agent did.
    pub(super) opened: bool,
}

impl Found {
    /// Fills in the node's part.
    pub(super) fn status(&self, status: &mut Status, shared: &Shared) {
        let errors = self.errors.iter().chain(&self.mended);
        status
            .sync
            .errors
            .extend(errors.map(|error| format!("node: {error}")));
        self.repairs.status(&mut status.repairs);
        status.host.clone_from(&self.host);
        status.links.clone_from(&self.links);
        status.masquerade.clone_from(&self.masquerades);
        status.ways.clone_from(&self.ways);
        status.way_notes.extend(self.detours.iter().cloned());
        let settings = shared.configuration().encryption;
        let (keeper, encrypted) = &self.encryption;
        status.encryption = EncryptionStatus::of(settings, keeper, encrypted);
        let config = &shared.config.cni;
        let cni = &mut status.cni;
        cni.enabled = config.install;
        let path = config.conf_dir.join(&config.conf_file);
        cni.conflist = self.installed.then(|| path.display().to_string());
        let (device, problem) = &self.device;
        cni.device = device.to_string();
        cni.problems.extend(problem.clone());
        cni.problems.extend(self.misplaced.clone());
        cni.problems.extend(self.rival.clone());
    }
}
