//! Keeps the device as it should be.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;

use super::{
    Encrypted, Peer, Ready,
    files::Files,
    key::{PrivateKey, PublicKey},
    link,
    made::Made,
    plan::{Change, plan},
    rotation::Shown,
    wire::{Device, WireGuard},
};
use crate::{
    config::{Configuration, EncryptionSettings},
    model::Owned,
    subject::Repairs,
    usage::in_full,
};

/// What is known of the device.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    index: Option<u32>,
    device: Device,
    /// The key that takes the device's place once others can know it.
    next: Option<PublicKey>,
    problem: Option<String>,
}

impl Keeper {
    /// Makes the device with the node's key, if there is to be one. `shown`: what the API server has of keys.
    pub fn prepare(
        &mut self,
        config: &Configuration,
        shown: Shown,
        repairs: &mut Repairs,
    ) -> Ready {
        self.problem = None;
        if !config.encryption.is_on() {
            *self = Self::default();
            return Ready::Off;
        }
        match self.try_prepare(config.encryption, &config.run_dir, shown, repairs) {
            Ok(public) => Ready::Able(public),
            Err(error) => {
                self.index = None;
                self.next = None;
                self.device = Device::default();
                self.problem = Some(in_full(&error));
                Ready::Unable
            }
        }
    }

    fn try_prepare(
        &mut self,
        settings: EncryptionSettings,
        folder: &Path,
        shown: Shown,
        repairs: &mut Repairs,
    ) -> anyhow::Result<PublicKey> {
        let index = link::ensure(repairs)?;
        let mut wire = WireGuard::open().context("open the generic netlink of WireGuard")?;
        self.device = wire.read().context("read weir_wg")?;
        let now = Made::now().context("read boot_id")?;
        let (rotation, device) = (settings.key_rotation.0, self.device.private.as_ref());
        let keys = Files::of(folder).turn(device, rotation, &now, shown)?;
        self.next = keys.next.as_ref().map(PrivateKey::public);
        let differs = device != Some(&keys.present) || self.device.port != settings.port;
        if differs {
            self.change(&mut wire, &keys.present, settings.port)?;
        }
        self.index = Some(index);
        let public = self.device.public.context("weir_wg has no public key")?;
        let (thing, wanted) = (
            "key and port of weir_wg",
            format!("{public} {}", settings.port),
        );
        repairs.keep(Owned::EncryptionDevice, thing, &wanted, differs);
        Ok(public)
    }

    /// Gives the device its key and port. Peers that it has are greeted with another key at once: one that has moved before this
    /// node would greet again only after seconds
    /// (<https://elixir.bootlin.com/linux/v6.12/source/drivers/net/wireguard/messages.h#L36>).
    fn change(&mut self, wire: &mut WireGuard, key: &PrivateKey, port: u16) -> anyhow::Result<()> {
        let renewed = self.device.private.as_ref().is_some_and(|had| had != key);
        wire.set(key, port)
            .with_context(|| format!("set key and UDP port {port} (encryption.port) of weir_wg"))?;
        if renewed {
            for (peer, present) in &self.device.peers {
                let greeted = wire.greet(*peer, present.keepalive);
                greeted.with_context(|| format!("greet peer {peer} of weir_wg"))?;
            }
        }
        self.device = wire.read().context("read weir_wg")?;
        tracing::info!(key = ?self.device.public, port, "weir_wg has its key");
        Ok(())
    }

    /// The key that others are to know: the next one, if there is any.
    pub fn published(&self) -> Option<PublicKey> {
        self.next.or(self.device.public)
    }

    /// The key that takes the device's place once others can know it.
    pub const fn next(&self) -> Option<PublicKey> {
        self.next
    }

    /// Index of the device; none if there is none.
    pub const fn index(&self) -> Option<u32> {
        self.index
    }

    /// The device as it was when it was looked at last.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Why it is not as it should be.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Gives the device its MTU and the peers that it lacks, before anything leads to them; what failed.
    pub fn bring(
        &mut self,
        encrypted: &Encrypted,
        keepalive: u16,
        repairs: &mut Repairs,
    ) -> Vec<String> {
        if self.index.is_none() {
            return Vec::new();
        }
        let mut errors = Vec::new();
        let mtu = encrypted.mtu;
        match link::set_mtu(mtu) {
            Ok(changed) => {
                let (what, wanted) = (Owned::EncryptionDevice, mtu.to_string());
                repairs.keep(what, "MTU of weir_wg", &wanted, changed);
            }
            Err(error) => errors.push(format!("set the MTU of weir_wg to {mtu}: {error}")),
        }
        let set = plan(&encrypted.peers, &self.device.peers, keepalive).set;
        if !set.is_empty() {
            errors.extend(self.set(&encrypted.peers, &set).err());
        }
        errors
    }

    fn set(
        &mut self,
        peers: &BTreeMap<PublicKey, Peer>,
        set: &[(PublicKey, Change)],
    ) -> Result<(), String> {
        let failed = |error| format!("set peers of weir_wg: {error}");
        let mut wire = WireGuard::open().map_err(failed)?;
        for (key, change) in set {
            let node = peers.get(key).map_or("", |peer| &peer.node);
            let is_new = !self.device.peers.contains_key(key);
            let set = wire.set_peer(*key, change).and_then(|()| match change {
                Change::Set { keepalive, .. } if is_new => wire.greet(*key, *keepalive),
                _ => Ok(()),
            });
            set.map_err(|error| format!("set peer {node} of weir_wg: {error}"))?;
            tracing::info!(node, %key, "peer of weir_wg set");
        }
        self.device = wire.read().map_err(failed)?;
        Ok(())
    }

    /// Removes the peers that are nobody's any more, once nothing leads to them; what failed.
    pub fn leave(&mut self, encrypted: &Encrypted) -> Result<(), String> {
        let remove = plan(&encrypted.peers, &self.device.peers, 0).remove;
        if self.index.is_none() || remove.is_empty() {
            return Ok(());
        }
        let failed = |error| format!("remove peers of weir_wg: {error}");
        let mut wire = WireGuard::open().map_err(failed)?;
        for key in remove {
            wire.set_peer(key, &Change::Remove).map_err(failed)?;
            self.device.peers.remove(&key);
            tracing::info!(%key, "peer of weir_wg removed");
        }
        Ok(())
    }
}
