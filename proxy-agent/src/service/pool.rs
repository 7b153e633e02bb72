//! Backends and their ids. A backend is an address, port and protocol, shared by all sets that use it; its
//! id outlives the agent, because live flows and affinity refer to it.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
};

use hashbrown::HashTable;
use proxy_common::{
    address::{address4, address6, octets4, octets6},
    backends::{BACKEND_LOCAL, Backend4, Backend6},
};

use super::{by_id::ById, choice::Server};
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

/// The backends of one family, as they are in their map.
#[derive(Clone, Debug)]
pub struct Pool<B> {
    by_id: ById<Entry<B>>,
    /// Ids by the hash of what identifies the backend.
    by_identity: HashTable<u32>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Entry<B> {
    value: B,
    /// How many slots refer to it.
    uses: u32,
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self {
            by_id: ById::default(),
            by_identity: HashTable::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<B: Backend> Pool<B> {
    /// The id of a backend, if it has one.
    pub fn id(&self, value: B) -> Option<u32> {
        let identity = value.identity();
        let hash = self.hasher.hash_one(identity);
        let found = self.by_identity.find(hash, |id| self.is(*id, identity));
        found.copied()
    }

    fn is(&self, id: u32, identity: B) -> bool {
        let entry = self.by_id.get(id);
        entry.is_some_and(|e| e.value.identity() == identity)
    }

    fn index(&mut self, id: u32, value: B) {
        let Self { by_id, hasher, .. } = self;
        let hash_of = |id: &u32| {
            let entry = by_id.get(*id);
            entry.map_or(0, |e| hasher.hash_one(e.value.identity()))
        };
        let hash = hasher.hash_one(value.identity());
        self.by_identity.insert_unique(hash, id, hash_of);
    }

    /// The backend in the map under an id.
    pub fn get(&self, id: u32) -> Option<B> {
        self.by_id.get(id).map(|e| e.value)
    }

    /// Whether the map has an id.
    pub fn knows(&self, id: u32) -> bool {
        self.by_id.get(id).is_some()
    }

    /// The backend was written, or found. Quick if ids come in their order.
    pub(super) fn set(&mut self, id: u32, value: B) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.value = value;
            return;
        }
        if self.id(value).is_none() {
            self.index(id, value);
        }
        self.by_id.entry(id, || Entry { value, uses: 0 });
    }

    /// One more slot refers to the backend; false if it is not of this pool.
    pub(super) fn use_once(&mut self, id: u32) -> bool {
        let entry = self.by_id.get_mut(id);
        entry.map(|e| e.uses += 1).is_some()
    }

    /// One slot less refers to it; true if that was the last.
    pub(super) fn release(&mut self, id: u32) -> bool {
        self.by_id.get_mut(id).is_some_and(|e| {
            e.uses = e.uses.saturating_sub(1);
            e.uses == 0
        })
    }

    /// Whether it is there and no slot refers to it.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        self.by_id.get(id).is_some_and(|e| e.uses == 0)
    }

    /// Forgets a backend.
    pub(super) fn forget(&mut self, id: u32) {
        let Some(entry) = self.by_id.get(id) else {
            return;
        };
        let hash = self.hasher.hash_one(entry.value.identity());
        if let Ok(indexed) = self.by_identity.find_entry(hash, |known| *known == id) {
            indexed.remove();
        }
        self.by_id.remove(id);
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.iter().map(|(id, _)| id)
    }

    /// Ids that no slot refers to.
    pub(super) fn idle_ids(&self) -> impl Iterator<Item = u32> {
        let idle = self.by_id.iter().filter(|(_, e)| e.uses == 0);
        idle.map(|(id, _)| id)
    }

    /// All entries of the map.
    pub fn entries(&self) -> impl Iterator<Item = (u32, B)> {
        self.by_id.iter().map(|(id, e)| (id, e.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_small_as_it_can_be() {
        assert_eq!(size_of::<Entry<Backend4>>(), size_of::<Backend4>() + 4);
        assert_eq!(size_of::<Entry<Backend6>>(), size_of::<Backend6>() + 4);
    }

    #[test]
    fn a_backend_is_idle_when_its_last_slot_is_gone() {
        let server = Server {
            address: [10, 0, 0, 1].into(),
            port: 80,
            local: false,
        };
        let backend = Backend4::new(&server, Protocol::Tcp).unwrap();
        let mut pool = Pool::default();
        assert!(!pool.is_idle(7));
        pool.set(7, backend);
        assert!(pool.is_idle(7));
        assert!(pool.use_once(7) && pool.use_once(7));
        assert!(!pool.release(7));
        assert!(!pool.is_idle(7));
        assert!(pool.release(7) && pool.release(7));
        pool.forget(7);
        assert_eq!((pool.id(backend), pool.len()), (None, 0));
    }
}
