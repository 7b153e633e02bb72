//! Gives addresses one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::Refusal;
use crate::{
    config::{AddressPool, AddressRange},
    pools::demand::Demand,
};

/// An address of each family, IPv4 first.
pub(super) type Pair = [Option<IpAddr>; 2];

/// What is given so far.
pub(super) struct Giver<'a> {
    pools: &'a [AddressPool],
    reserved: &'a BTreeSet<IpAddr>,
    /// Who has an address: several, if they share it.
    owners: BTreeMap<IpAddr, Vec<&'a Demand>>,
    /// What others than us have given.
    foreign: BTreeMap<IpAddr, &'a Demand>,
    /// Addresses by the key by which they may be shared.
    shared: BTreeMap<&'a str, BTreeSet<IpAddr>>,
    /// Up to where a range has nothing free. Nothing is taken away while a plan is made.
    full: BTreeMap<AddressRange, u128>,
}

impl<'a> Giver<'a> {
    pub(super) const fn new(pools: &'a [AddressPool], reserved: &'a BTreeSet<IpAddr>) -> Self {
        Self {
            pools,
            reserved,
            owners: BTreeMap::new(),
            foreign: BTreeMap::new(),
            shared: BTreeMap::new(),
            full: BTreeMap::new(),
        }
    }

    /// Somebody else has given addresses to this one.
    pub(super) fn note_foreign(&mut self, demand: &'a Demand) {
        self.foreign
            .extend(demand.given.iter().map(|ip| (*ip, demand)));
    }

    /// What a Service has and does not ask to have exchanged.
    pub(super) fn keep(&mut self, demand: &'a Demand) -> Pair {
        [false, true].map(|ipv6| {
            let has = self.has(demand, ipv6)?;
            let asked = demand.asked(ipv6).is_some_and(|asked| asked != has);
            (!asked).then(|| self.give(demand, has))
        })
    }

    /// What it asks for in exchange for what it has; what it has, as long as that is not to be had.
    pub(super) fn exchange(&mut self, demand: &'a Demand, kept: &mut Pair) {
        for (place, ipv6) in [false, true].into_iter().enumerate() {
            let Some(has) = self.has(demand, ipv6) else {
                continue;
            };
            if let Some(asked) = demand.asked(ipv6).filter(|_| kept[place].is_none()) {
                let free =
                    demand.mistake(self.pools).is_none() && self.refuses(demand, asked).is_none();
                kept[place] = Some(self.give(demand, if free { asked } else { has }));
            }
        }
    }

    /// The address of a family that it has and may have.
    fn has(&self, demand: &Demand, ipv6: bool) -> Option<IpAddr> {
        let wanted = demand.families[usize::from(ipv6)];
        let mut given = demand.given.iter().copied();
        given.find(|ip| wanted && ip.is_ipv6() == ipv6 && self.refuses(demand, *ip).is_none())
    }

    /// Gives what a Service lacks. One that needs both families is given nothing but what it has, if a part cannot be had.
    pub(super) fn complete(&mut self, demand: &'a Demand, has: &mut Pair) -> Result<(), Refusal> {
        if let Some(why) = demand.mistake(self.pools) {
            return Err(Refusal::Mistake(why));
        }
        let (mut found, mut refusal) = (*has, None);
        for (place, ipv6) in [false, true].into_iter().enumerate() {
            match self.find(demand, ipv6, has[place]) {
                Ok(ip) => found[place] = ip,
                // What it asks for by name says more.
                Err(why @ (Refusal::Taken(..) | Refusal::Mistake(_))) => refusal = Some(why),
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        if refusal.is_none() || !demand.needs_all {
            for (place, ip) in found.into_iter().enumerate() {
                if let Some(ip) = ip.filter(|ip| has[place] != Some(*ip)) {
                    has[place] = Some(self.give(demand, ip));
                }
            }
        }
        match refusal {
            // Of two families it has what there is, as `PreferDualStack` means it.
            Some(Refusal::Exhausted { .. }) if !demand.needs_all && *has != [None; 2] => Ok(()),
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// An address of a family, if it wants one.
    fn find(
        &mut self,
        demand: &'a Demand,
        ipv6: bool,
        has: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, Refusal> {
        if !demand.families[usize::from(ipv6)] {
            return Ok(None);
        }
        match (demand.asked(ipv6), has) {
            (Some(asked), has) if has != Some(asked) => match self.refuses(demand, asked) {
                None => Ok(Some(asked)),
                // Nobody has it, and nobody ever will.
                Some(why) if self.pool_of(asked).is_none() => {
                    Err(Refusal::Mistake(format!("{asked} {why}")))
                }
                Some(why) => Err(Refusal::Taken(asked, why)),
            },
            (_, Some(has)) => Ok(Some(has)),
            (_, None) => self.any(demand, ipv6).map(Some),
        }
    }

    /// An address that it may share, else the first one that is free.
    fn any(&mut self, demand: &'a Demand, ipv6: bool) -> Result<IpAddr, Refusal> {
        let key = demand.sharing.as_deref();
        let shared = key.and_then(|key| self.shared.get(key));
        let mut shared = shared.into_iter().flatten().copied();
        let fits = |ip: &IpAddr| ip.is_ipv6() == ipv6 && self.refuses(demand, *ip).is_none();
        if let Some(ip) = shared.find(fits) {
            return Ok(ip);
        }
        let mut looked_in = Vec::new();
        for pool in self.pools.iter().filter(|pool| demand.is_for(pool)) {
            let ranges = pool.addresses.iter();
            let mut ranges = ranges.filter(|range| range.is_ipv6() == ipv6).peekable();
            if ranges.peek().is_some() {
                looked_in.push(pool.name.clone());
            }
            if let Some(ip) = ranges.find_map(|range| self.free(range)) {
                return Ok(ip);
            }
        }
        if looked_in.is_empty() {
            looked_in.extend(demand.pool.clone());
        }
        let pools = looked_in;
        Err(Refusal::Exhausted { ipv6, pools })
    }

    /// The first address of a range that nobody has.
    fn free(&mut self, range: &AddressRange) -> Option<IpAddr> {
        let mut at = self.full.get(range).copied().unwrap_or(0);
        let mut ip = range.nth(at);
        while ip.is_some_and(|ip| self.is_taken(ip)) {
            at += 1;
            ip = range.nth(at);
        }
        self.full.insert(*range, at);
        ip
    }

    fn is_taken(&self, ip: IpAddr) -> bool {
        self.owners.contains_key(&ip)
            || self.foreign.contains_key(&ip)
            || self.reserved.contains(&ip)
    }

    fn pool_of(&self, ip: IpAddr) -> Option<&'a AddressPool> {
        let has = |pool: &&AddressPool| pool.addresses.iter().any(|range| range.contains(ip));
        self.pools.iter().find(has)
    }

    /// Why a Service may not have an address.
    fn refuses(&self, demand: &Demand, ip: IpAddr) -> Option<String> {
        let Some(pool) = self.pool_of(ip) else {
            return Some("is in no pool".to_owned());
        };
        if demand.pool.as_ref().is_some_and(|name| *name != pool.name) {
            return Some(format!("is of pool {}", pool.name));
        }
        if self.reserved.contains(&ip) {
            return Some("is a node's own".to_owned());
        }
        if let Some(other) = self.foreign.get(&ip) {
            return Some(format!("is Service {}'s, of another class", other.name));
        }
        let owners = self.owners.get(&ip).into_iter().flatten();
        let mut others = owners.filter(|other| !other.may_share(demand));
        Some(not_shared(demand, others.next()?))
    }

    fn give(&mut self, demand: &'a Demand, ip: IpAddr) -> IpAddr {
        self.owners.entry(ip).or_default().push(demand);
        if let Some(key) = &demand.sharing {
            self.shared.entry(key).or_default().insert(ip);
        }
        ip
    }
}

/// Why two Services do not share.
fn not_shared(demand: &Demand, other: &Demand) -> String {
    let name = &other.name;
    match &demand.sharing {
        Some(key) if demand.sharing == other.sharing && (demand.local || other.local) => format!(
            "is Service {name}'s: only Services with externalTrafficPolicy Cluster share an address (key {key})"
        ),
        Some(_) if demand.sharing == other.sharing => {
            format!("is Service {name}'s, which has one of its ports")
        }
        _ => format!("is Service {name}'s, with which it does not share"),
    }
}
