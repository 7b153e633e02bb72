//! Addresses given and released.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::rpc::Key;

/// Contents of `ipam.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Boot that it belongs to; another boot's state is worth nothing.
    pub boot_id: String,
    /// Who has what.
    pub leases: Vec<Lease>,
    /// Addresses that were given back, oldest first.
    pub released: Vec<Released>,
    /// Next offset never given out, per range.
    pub cursors: BTreeMap<String, u32>,
}

/// The addresses of one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Whose.
    #[serde(flatten)]
    pub key: Key,
    /// At most one of a family.
    pub ips: Vec<IpAddr>,
}

/// An address given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Which.
    pub ip: IpAddr,
    /// When, seconds since boot; 0 if nobody ever heard of it, so that it may be given out at once.
    pub at: u64,
}

impl Released {
    /// Whether it has rested for so many seconds.
    pub const fn rested(&self, seconds: u64, now: u64) -> bool {
        self.at == 0 || self.at.saturating_add(seconds) <= now
    }
}

impl State {
    /// Makes stamps of the future (an older version stamped by the calendar) those of now. True: there were some.
    pub fn clamp(&mut self, now: u64) -> bool {
        let future = self.released.iter_mut().filter(|r| r.at > now);
        future.map(|r| r.at = now).count() > 0
    }

    /// Notes that an address was passed over because somebody else uses it: it is looked at again, like one that rests.
    pub fn pass_over(&mut self, ip: IpAddr, at: u64) {
        self.released.retain(|r| r.ip != ip);
        self.released.push(Released { ip, at });
    }

    /// The addresses of a key.
    pub fn lease(&self, key: &Key) -> Option<&[IpAddr]> {
        self.leases
            .iter()
            .find(|l| l.key == *key)
            .map(|l| l.ips.as_slice())
    }

    /// Addresses that are given out.
    pub fn taken(&self) -> HashSet<IpAddr> {
        self.leases
            .iter()
            .flat_map(|l| l.ips.iter().copied())
            .collect()
    }

    /// Gives addresses to a key.
    pub fn give(&mut self, key: Key, ips: Vec<IpAddr>) {
        self.released.retain(|r| !ips.contains(&r.ip));
        self.leases.push(Lease { key, ips });
    }

    /// Takes a key's addresses back at a time (see [`Released::at`]); unknown keys have none.
    pub fn release(&mut self, key: &Key, at: u64) {
        let Some(position) = self.leases.iter().position(|l| l.key == *key) else {
            return;
        };
        let lease = self.leases.remove(position);
        let back = lease.ips.into_iter().map(|ip| Released { ip, at });
        if at == 0 {
            self.released.splice(0..0, back);
        } else {
            self.released.extend(back);
        }
    }
}
