//! Backends and their ids. A backend is an address, port and protocol, shared by all sets that use it; its
//! id outlives the agent, because live flows and affinity refer to it.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use proxy_common::{
    address::{address4, address6, octets4, octets6},
    backends::{BACKEND_LOCAL, Backend4, Backend6},
};

use super::choice::Server;
use crate::model::Protocol;

/// A backend of one family, as it stands in its map.
pub trait Backend: Copy + Eq + Hash {
    /// From a server; none if it is of the other family.
    fn new(server: &Server, protocol: Protocol) -> Option<Self>;
    /// Without flags: what identifies it.
    #[must_use]
    fn identity(self) -> Self;
}

impl Backend for Backend4 {
    fn new(server: &Server, protocol: Protocol) -> Option<Self> {
        let IpAddr::V4(address) = server.address else {
            return None;
        };
        Some(Self {
            address: address4(address.octets()),
            port: server.port.to_be(),
            protocol: protocol.number(),
            flags: flags(server),
        })
    }

    fn identity(self) -> Self {
        Self { flags: 0, ..self }
    }
}

impl Backend for Backend6 {
    fn new(server: &Server, protocol: Protocol) -> Option<Self> {
        let IpAddr::V6(address) = server.address else {
            return None;
        };
        Some(Self {
            address: address6(address.octets()),
            port: server.port.to_be(),
            protocol: protocol.number(),
            flags: flags(server),
        })
    }

    fn identity(self) -> Self {
        Self { flags: 0, ..self }
    }
}

fn flags(server: &Server) -> u8 {
    if server.local { BACKEND_LOCAL } else { 0 }
}

/// Address and port of a backend of IPv4, host order.
pub fn server4(backend: &Backend4) -> Server {
    Server {
        address: octets4(backend.address).into(),
        port: u16::from_be(backend.port),
        local: backend.flags & BACKEND_LOCAL != 0,
    }
}

/// Address and port of a backend of IPv6, host order.
pub fn server6(backend: &Backend6) -> Server {
    Server {
        address: octets6(backend.address).into(),
        port: u16::from_be(backend.port),
        local: backend.flags & BACKEND_LOCAL != 0,
    }
}

/// The backends of one family.
#[derive(Clone, Debug)]
pub struct Pool<B> {
    by_id: HashMap<u32, Entry<B>>,
    by_identity: HashMap<B, u32>,
    written: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry<B> {
    /// As in the map, or, if not written yet, as it shall be.
    value: B,
    /// Slots that refer to it.
    uses: u32,
    written: bool,
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            by_identity: HashMap::new(),
            written: 0,
        }
    }
}

impl<B: Backend> Pool<B> {
    /// Takes in an entry of the map.
    pub(super) fn restore(&mut self, id: u32, value: B) {
        let entry = Entry {
            value,
            uses: 0,
            written: true,
        };
        self.by_id.insert(id, entry);
        self.by_identity.entry(value.identity()).or_insert(id);
        self.written += 1;
    }

    /// The id of a backend, if it has one.
    pub fn id(&self, value: B) -> Option<u32> {
        self.by_identity.get(&value.identity()).copied()
    }

    /// Reserves an id for a backend that is to be written.
    pub(super) fn reserve(&mut self, id: u32, value: B) {
        let entry = Entry {
            value,
            uses: 0,
            written: false,
        };
        self.by_id.insert(id, entry);
        self.by_identity.insert(value.identity(), id);
    }

    /// The backend in the map under an id.
    pub fn get(&self, id: u32) -> Option<B> {
        self.by_id.get(&id).filter(|e| e.written).map(|e| e.value)
    }

    /// Whether an id is reserved or in use.
    pub fn knows(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The backend was written.
    pub(super) fn set_written(&mut self, id: u32, value: B) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            self.written += usize::from(!entry.written);
            entry.value = value;
            entry.written = true;
        }
    }

    /// One more slot refers to the backend; false if it is not of this pool.
    pub(super) fn use_once(&mut self, id: u32) -> bool {
        let entry = self.by_id.get_mut(&id);
        entry.map(|e| e.uses += 1).is_some()
    }

    /// One slot less refers to it; true if that was the last.
    pub(super) fn release(&mut self, id: u32) -> bool {
        self.by_id.get_mut(&id).is_some_and(|e| {
            e.uses = e.uses.saturating_sub(1);
            e.uses == 0
        })
    }

    /// Whether no slot refers to it, and whether it is in the map; none if it is unknown.
    pub(super) fn idle(&self, id: u32) -> Option<(bool, bool)> {
        self.by_id.get(&id).map(|e| (e.uses == 0, e.written))
    }

    /// Forgets a backend.
    pub(super) fn forget(&mut self, id: u32) {
        let Some(entry) = self.by_id.remove(&id) else {
            return;
        };
        self.written -= usize::from(entry.written);
        let identity = entry.value.identity();
        if self.by_identity.get(&identity) == Some(&id) {
            self.by_identity.remove(&identity);
        }
    }

    /// How many are in the map.
    pub fn len(&self) -> usize {
        self.written
    }

    /// Whether none is in the map.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.keys().copied()
    }

    /// Ids that no slot refers to.
    pub(super) fn idle_ids(&self) -> impl Iterator<Item = u32> {
        let idle = self.by_id.iter().filter(|(_, e)| e.uses == 0);
        idle.map(|(id, _)| *id)
    }

    /// All entries of the map.
    pub fn entries(&self) -> impl Iterator<Item = (u32, B)> {
        let written = self.by_id.iter().filter(|(_, e)| e.written);
        written.map(|(id, e)| (*id, e.value))
    }
}
