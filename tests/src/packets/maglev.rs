//! Filling `MAGLEV`.

use std::net::SocketAddr;

use anyhow::Result;
use proxy_agent::service::maglev::build::{Backend, build};
use proxy_common::{
    frontends::Frontend,
    maglev::{CHUNK, MaglevChunk, MaglevKey},
};

use super::bench::Bench;
use crate::family::{Family, Four, Six};

impl Bench {
    /// Leads a frontend, which was made with [`Self::service`] of these backends, to a table of so many places.
    pub fn lead_to_table(
        &mut self,
        id: u32,
        at: SocketAddr,
        protocol: u8,
        backends: &[SocketAddr],
        size: u16,
    ) -> Result<()> {
        let backends = backends.iter().map(|at| Backend {
            address: at.ip(),
            port: at.port(),
            weight: 1,
        });
        let table = build(size, &backends.collect::<Vec<_>>());
        let mut map = self.hash("MAGLEV")?;
        for (chunk, places) in (0..).zip(table.chunks(CHUNK as usize)) {
            let mut slots = [0; CHUNK as usize];
            slots[..places.len()].copy_from_slice(places);
            let set = id;
            let key = MaglevKey { set, size, chunk };
            map.insert(key, MaglevChunk { slots }, 0)?;
        }
        self.lead::<Four>(at, protocol, size)?;
        self.lead::<Six>(at, protocol, size)
    }

    fn lead<F: Family>(&mut self, at: SocketAddr, protocol: u8, size: u16) -> Result<()> {
        if let Some(address) = F::address(at.ip()) {
            let key = F::frontend(address, at.port(), protocol);
            let mut map = self.hash::<F::FrontendKey, Frontend>(&F::map("FRONTENDS"))?;
            let mut frontend = map.get(&key, 0)?;
            frontend.maglev = size.into();
            map.insert(key, frontend, 0)?;
        }
        Ok(())
    }

    /// Removes the chunk of a table.
    pub fn remove_chunk(&mut self, set: u32, size: u16, chunk: u16) -> Result<()> {
        let mut map = self.hash::<MaglevKey, MaglevChunk>("MAGLEV")?;
        map.remove(&MaglevKey { set, size, chunk })?;
        Ok(())
    }

    /// Makes the set of a frontend as small as this, as the agent does before it removes slots.
    pub fn shrink(&mut self, at: SocketAddr, protocol: u8, count: u32) -> Result<()> {
        self.shrink_of::<Four>(at, protocol, count)?;
        self.shrink_of::<Six>(at, protocol, count)
    }

    fn shrink_of<F: Family>(&mut self, at: SocketAddr, protocol: u8, count: u32) -> Result<()> {
        if let Some(address) = F::address(at.ip()) {
            let key = F::frontend(address, at.port(), protocol);
            let mut map = self.hash::<F::FrontendKey, Frontend>(&F::map("FRONTENDS"))?;
            let mut frontend = map.get(&key, 0)?;
            (frontend.internal.count, frontend.external.count) = (count, count);
            map.insert(key, frontend, 0)?;
        }
        Ok(())
    }
}
