//! Addresses of Services, whatever the port (`VIPS*`): made of the frontends that are written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    net::IpAddr,
};

use proxy_common::{
    address::{Address4, Address6, address4, address6, octets4, octets6},
    frontends::{FLAG_CLUSTER_IP, FLAG_HOST_PORT, Frontend, FrontendKey},
    vips::{VIP_CLUSTER_IP, VIP_SERVED},
};

use super::{ServiceTables, image::Image};
use crate::datapath::{
    mirror::put,
    table::{Table, TableError},
};

/// What the maps are known to hold.
#[derive(Clone, Debug, Default)]
pub struct Vips {
    /// `VIPS4`.
    pub v4: BTreeMap<Address4, u32>,
    /// `VIPS6`.
    pub v6: BTreeMap<Address6, u32>,
}

impl Vips {
    /// Reads the maps.
    pub fn read(tables: &ServiceTables) -> Result<Self, TableError> {
        Ok(Self {
            v4: tables.vips4.entries()?.into_iter().collect(),
            v6: tables.vips6.entries()?.into_iter().collect(),
        })
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.keys().map(|address| octets4(*address).into());
        let v6 = self.v6.keys().map(|address| octets6(*address).into());
        v4.chain(v6)
    }

    /// Makes an address have these bits, in the maps too.
    pub fn write(
        &mut self,
        tables: &mut ServiceTables,
        address: IpAddr,
        bits: u32,
    ) -> Result<(), TableError> {
        match address {
            IpAddr::V4(ip) => {
                let key = address4(ip.octets());
                bring(&mut self.v4, &mut *tables.vips4, key, bits)?;
            }
            IpAddr::V6(ip) => {
                let key = address6(ip.octets());
                bring(&mut self.v6, &mut *tables.vips6, key, bits)?;
            }
        }
        Ok(())
    }
}

/// Brings what is under a key in step. Nothing stands for no bits.
fn bring<K: Copy + Ord + Debug>(
    known: &mut BTreeMap<K, u32>,
    table: &mut dyn Table<K, u32>,
    key: K,
    bits: u32,
) -> Result<(), TableError> {
    let wanted = (bits != 0).then_some(bits);
    if known.get(&key).copied() == wanted {
        return Ok(());
    }
    put(table, &key, wanted)?;
    match wanted {
        Some(bits) => drop(known.insert(key, bits)),
        None => drop(known.remove(&key)),
    }
    Ok(())
}

impl Image {
    /// The bits of an address, by the frontends that it has.
    pub fn vip(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(ip) => of_address(&self.frontends4, address4(ip.octets())),
            IpAddr::V6(ip) => of_address(&self.frontends6, address6(ip.octets())),
        }
    }

    /// Addresses that frontends have.
    pub fn frontend_addresses(&self) -> BTreeSet<IpAddr> {
        self.frontends().map(|(key, _)| key.address()).collect()
    }
}

fn of_address<A: Copy + Ord>(frontends: &BTreeMap<FrontendKey<A>, Frontend>, address: A) -> u32 {
    let key = |port, protocol| FrontendKey {
        address,
        port,
        protocol,
        pad: 0,
    };
    let own = frontends.range(key(0, 0)..=key(u16::MAX, u8::MAX));
    own.fold(0, |all, (_, frontend)| all | bits(frontend))
}

const fn bits(frontend: &Frontend) -> u32 {
    if frontend.flags & FLAG_HOST_PORT != 0 {
        return 0;
    }
    let served = frontend.internal.count + frontend.external.count > 0;
    let cluster_ip = frontend.flags & FLAG_CLUSTER_IP != 0;
    (if served { VIP_SERVED } else { 0 }) | (if cluster_ip { VIP_CLUSTER_IP } else { 0 })
}
