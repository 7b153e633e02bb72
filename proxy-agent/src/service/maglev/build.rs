//! The table builder, pure: Maglev's population (Eisenbud et al., NSDI 2016, 3.4), with weights, and with some slack.
//!
//! In the paper a backend looks on until it finds a free place, at each turn, so that shares are equal to a place; but who
//! leaves shifts what all others find, and of 100 backends one moves 1.4 % of the places of the others. Here a backend whose
//! first choice is taken looks on only if it lags behind by more than the slack, a twentieth of its share, and one that is as
//! far ahead waits: places are had by whom they were first choice for, whoever else there is. It moves 0.5 %.

use std::net::IpAddr;

use proxy_common::{
    address::{Address6, address4, address6, mapped},
    maglev::FlowHash,
};

/// A backend as all nodes know it: no id, which is another on each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port, host order.
    pub port: u16,
    /// Its share beside the others' weights; 0 is none.
    pub weight: u32,
}

/// The seeds of the two hashes from which a backend's preferences are made. All nodes have the same table only while these and
/// all below stay as they are.
const SEEDS: [u32; 2] = [0x4f66_6673, 0x536b_6970];

/// The order in which a backend wants places: from `place` on, each `skip` further, round and round. A prime number of places
/// makes it come to all of them.
#[derive(Clone, Copy, Debug)]
struct Preference {
    place: u32,
    skip: u32,
    /// Parts of a turn that it has saved up.
    credit: u64,
    weight: u64,
    /// Places that it has.
    has: i128,
    slot: u16,
}

/// For each of `size` places, a prime, the index of the backend that has it. Places belong to the same backends in whatever
/// order these are given. Empty if there is no backend with a weight, or more of them than places.
#[must_use]
pub fn build(size: u16, backends: &[Backend]) -> Vec<u16> {
    populate(size, backends, SLACK)
}

/// What part of its share a backend may have more or less than is its due, as a fraction.
const SLACK: [i128; 2] = [1, 20];

/// As [`build`], with any slack; with none it is the paper's table.
fn populate(size: u16, backends: &[Backend], slack: [i128; 2]) -> Vec<u16> {
    let mut all = preferences(size, backends);
    if all.is_empty() || all.len() > usize::from(size) {
        return Vec::new();
    }
    let turn = all.iter().map(|one| one.weight).max().unwrap_or(1);
    let mut places = Places {
        taken: vec![None; usize::from(size)],
        free: i128::from(size),
        slack,
        weights: all.iter().map(|one| i128::from(one.weight)).sum(),
    };
    loop {
        let fair = places.fair();
        for one in &mut all {
            one.credit += one.weight;
            if one.credit < turn {
                continue;
            }
            one.credit -= turn;
            places.turn(one, fair);
            if places.free == 0 {
                return places.taken.into_iter().flatten().collect();
            }
        }
    }
}

/// The table that is being filled.
struct Places {
    taken: Vec<Option<u16>>,
    free: i128,
    slack: [i128; 2],
    weights: i128,
}

/// Bounds of what a backend of weight 1 should have at a time, times all weights and the divisor of the slack.
#[derive(Clone, Copy)]
struct Fair {
    least: i128,
    most: i128,
}

impl Places {
    /// What is fair at the beginning of a round.
    fn fair(&self) -> Fair {
        let size = self.taken.len() as i128;
        let [slack, whole] = self.slack;
        let due = (size - self.free) * whole;
        Fair {
            least: due - slack * size,
            most: due + slack * size,
        }
    }

    /// A backend's turn.
    fn turn(&mut self, one: &mut Preference, fair: Fair) {
        let weight = i128::from(one.weight);
        let has = one.has * self.weights * self.slack[1];
        if has > fair.most * weight {
            return;
        }
        let lags = has <= fair.least * weight;
        while !self.ask(one) && lags {}
    }

    /// Gives a backend the place that it wants next, if that is free.
    fn ask(&mut self, one: &mut Preference) -> bool {
        let size = self.taken.len() as u32;
        let place = one.place as usize;
        one.place += one.skip;
        if one.place >= size {
            one.place -= size;
        }
        let free = self.taken[place].is_none();
        if free {
            self.taken[place] = Some(one.slot);
            one.has += 1;
            self.free -= 1;
        }
        free
    }
}

/// What backends with a weight want, in the order of their addresses and ports.
fn preferences(size: u16, backends: &[Backend]) -> Vec<Preference> {
    let mut order: Vec<usize> = (0..backends.len()).collect();
    order.sort_unstable_by_key(|index| (backends[*index].address, backends[*index].port));
    let weighty = order
        .into_iter()
        .filter(|index| backends[*index].weight > 0);
    let wants = weighty.filter_map(|index| {
        let backend = &backends[index];
        let size = u32::from(size);
        let [offset, skip] = SEEDS.map(|seed| hash(seed, backend));
        Some(Preference {
            place: offset % size,
            skip: skip % (size - 1) + 1,
            credit: 0,
            has: 0,
            weight: u64::from(backend.weight),
            slot: u16::try_from(index).ok()?,
        })
    });
    wants.collect()
}

fn hash(seed: u32, backend: &Backend) -> u32 {
    let address: Address6 = match backend.address {
        IpAddr::V4(ip) => mapped(address4(ip.octets())),
        IpAddr::V6(ip) => address6(ip.octets()),
    };
    let hash = FlowHash::new(seed).with_address(address);
    hash.with(u32::from(backend.port)).finish()
}

#[cfg(test)]
mod tests;
