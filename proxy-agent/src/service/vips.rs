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
use crate::datapath::table::{Table, TableError};

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

    /// Makes addresses have these bits, in the maps too. Gives those that could not be written, and the first failure.
    pub fn write(
        &mut self,
        tables: &mut ServiceTables,
        wanted: impl Iterator<Item = (IpAddr, u32)>,
    ) -> (Vec<IpAddr>, Result<(), TableError>) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (address, bits) in wanted {
            match address {
                IpAddr::V4(ip) => v4.push((address4(ip.octets()), bits)),
                IpAddr::V6(ip) => v6.push((address6(ip.octets()), bits)),
            }
        }
        let (missed4, result4) = bring(&mut self.v4, &mut *tables.vips4, v4);
        let (missed6, result6) = bring(&mut self.v6, &mut *tables.vips6, v6);
        let missed4 = missed4.into_iter().map(|address| octets4(address).into());
        let missed6 = missed6.into_iter().map(|address| octets6(address).into());
        (missed4.chain(missed6).collect(), result4.and(result6))
    }
}

/// Brings what is under keys in step. Nothing stands for no bits. Goes on after a failure: gives the keys that are not in step,
/// and the first one.
fn bring<K: Copy + Ord + Debug>(
    known: &mut BTreeMap<K, u32>,
    table: &mut dyn Table<K, u32>,
    mut wanted: Vec<(K, u32)>,
) -> (Vec<K>, Result<(), TableError>) {
    wanted.retain(|(key, bits)| known.get(key).copied().unwrap_or(0) != *bits);
    let (gone, new): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, bits)| *bits == 0);
    let (mut missed, mut result) = (Vec::new(), Ok(()));
    for (key, _) in gone {
        match table.remove(&key) {
            Ok(()) => drop(known.remove(&key)),
            Err(error) => {
                missed.push(key);
                result = result.and(Err(error));
            }
        }
    }
    let mut rest = &new[..];
    while !rest.is_empty() {
        let (written, outcome) = table.set_all(rest);
        known.extend(rest[..written].iter().copied());
        rest = &rest[written..];
        if let (Err(error), Some(((key, _), others))) = (outcome, rest.split_first()) {
            missed.push(*key);
            rest = others;
            result = result.and(Err(error));
        }
    }
    (missed, result)
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
