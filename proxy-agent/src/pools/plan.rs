//! Who is to have which addresses: a value, made of what Services ask for and have. The same state gives the same plan, so
//! that it does not matter who makes it.
//!
//! What a Service has it keeps, as long as it may have it; of two that may not have the same, the older one keeps it. Then
//! those that ask for another address than they have get that, if nobody has it, and those that lack one are given one, the
//! oldest first.

mod give;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use super::demand::Demand;
use crate::{
    config::AddressPool,
    model::{EventReason, ObjectName},
};

use self::give::{Giver, Pair};

/// Who is to have what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The addresses of Services that the pools are for, IPv4 first. Those that get none are there, too.
    pub addresses: BTreeMap<ObjectName, Vec<IpAddr>>,
    /// Those that do not get what they ask for, and why.
    pub refused: BTreeMap<ObjectName, Refusal>,
}

/// Why a Service does not get what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for what cannot be.
    Mistake(String),
    /// An address that it asks for is not to be had.
    Taken(IpAddr, String),
    /// No address of a family is free.
    Exhausted {
        /// Which.
        ipv6: bool,
        /// The pools that have been looked in, or the one that it asks for.
        pools: Vec<String>,
    },
}

impl Refusal {
    /// As Events have it.
    pub const fn reason(&self) -> EventReason {
        match self {
            Self::Mistake(_) => EventReason::AddressRequestInvalid,
            Self::Taken(..) => EventReason::AddressTaken,
            Self::Exhausted { .. } => EventReason::AddressesExhausted,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mistake(why) => f.write_str(why),
            Self::Taken(address, why) => write!(f, "{address} {why}"),
            Self::Exhausted { ipv6, pools } => {
                let family = if *ipv6 { "IPv6" } else { "IPv4" };
                if pools.is_empty() {
                    return write!(
                        f,
                        "no pool gives {family} addresses to Services that do not ask for it"
                    );
                }
                write!(f, "no {family} address is free in {}", pools.join(", "))
            }
        }
    }
}

/// Makes the plan. Nobody is given an address that is `reserved`.
pub fn plan(pools: &[AddressPool], demands: &[Demand], reserved: &BTreeSet<IpAddr>) -> Plan {
    let mut plan = Plan::default();
    let mut giver = Giver::new(pools, reserved);
    for other in demands.iter().filter(|demand| !demand.ours) {
        giver.note_foreign(other);
    }
    let mut ours: Vec<&Demand> = demands.iter().filter(|demand| demand.ours).collect();
    ours.sort_by_key(|demand| (demand.created, &demand.name));
    let mut has: Vec<Pair> = ours.iter().map(|demand| giver.keep(demand)).collect();
    for (demand, has) in ours.iter().zip(&mut has) {
        giver.exchange(demand, has);
    }
    // What the last one is given an earlier one may share.
    loop {
        let before = has.clone();
        plan.refused.clear();
        for (demand, has) in ours.iter().zip(&mut has) {
            if let Err(refusal) = giver.complete(demand, has) {
                plan.refused.insert(demand.name.clone(), refusal);
            }
        }
        if before == has {
            break;
        }
    }
    for (demand, has) in ours.iter().zip(has) {
        let has = has.into_iter().flatten().collect();
        plan.addresses.insert(demand.name.clone(), has);
    }
    plan
}
