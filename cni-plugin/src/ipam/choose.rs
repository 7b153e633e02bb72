//! Allocation: which free address is given next: never used, else released longest ago. One that somebody else uses (the machine
//! itself, a pod that another plugin has wired) is passed over and looked at again later.
//!
//! An address is kept back for two minutes after its release, as long as `nf_conntrack` elsewhere remembers
//! half-open connections to it; under pressure for five seconds.

use std::{collections::HashSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{State, range, state::Released};

/// Seconds that a released address rests.
pub const REST: u64 = 120;
/// Seconds that it rests when there is no other.
pub const REST_UNDER_PRESSURE: u64 = 5;
/// So many rested addresses of a range are used again before new ones, so that the file stays small.
const RESTED_ENOUGH: usize = 256;

/// An address chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The address.
    pub ip: IpAddr,
    /// It was released less than [`REST`] seconds ago.
    pub hasty: bool,
    /// Addresses that somebody else uses.
    pub passed_over: Vec<IpAddr>,
    cursor: Option<u32>,
}

impl Choice {
    /// Decides for an address, unless somebody else uses it.
    fn takes(&mut self, ip: IpAddr, in_use: InUse<'_>) -> bool {
        if in_use(ip) {
            self.passed_over.push(ip);
            return false;
        }
        self.ip = ip;
        true
    }
}

/// No address is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The range.
    pub range: IpNetwork,
    /// Addresses given out.
    pub used: usize,
    /// Addresses that still rest.
    pub cooling: usize,
    /// Addresses that somebody else uses.
    pub foreign: usize,
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.range.is_ipv4() { 4 } else { 6 };
        let Self {
            range,
            used,
            cooling,
            foreign,
        } = self;
        write!(
            f,
            "no free pod IPv{family} in {range} ({used} used, {cooling} cooling"
        )?;
        if *foreign > 0 {
            write!(f, ", {foreign} in use by others")?;
        }
        f.write_str(")")
    }
}

/// Tells whether somebody else uses an address.
pub type InUse<'a> = &'a dyn Fn(IpAddr) -> bool;

impl State {
    /// Chooses an address of a range; [`State::advance`] makes it stick. `now` is seconds since boot.
    pub fn choose(
        &self,
        range: IpNetwork,
        in_use: InUse<'_>,
        now: u64,
    ) -> Result<Choice, Exhausted> {
        let mut choice = Choice {
            ip: range.network(),
            hasty: false,
            passed_over: Vec::new(),
            cursor: None,
        };
        let here = self.released.iter().filter(|r| range.contains(r.ip));
        let mut resting: Vec<&Released> = here.collect();
        resting.sort_by_key(|r| r.at);
        let rested = resting.iter().filter(|r| r.rested(REST, now)).count();
        let found = rested < RESTED_ENOUGH && self.never_used(range, in_use, &mut choice)
            || again(&resting, in_use, &mut choice, now);
        if found {
            return Ok(choice);
        }
        let resting = resting.iter().map(|r| r.ip);
        let (foreign, cooling): (Vec<_>, Vec<_>) = resting.partition(|ip| in_use(*ip));
        let passed_over = choice.passed_over.iter();
        let new = passed_over.filter(|ip| !foreign.contains(ip)).count();
        Err(Exhausted {
            range,
            used: self
                .taken()
                .iter()
                .filter(|ip| range.contains(**ip))
                .count(),
            cooling: cooling.len(),
            foreign: foreign.len() + new,
        })
    }

    /// The next address that nobody has had yet.
    fn never_used(&self, range: IpNetwork, in_use: InUse<'_>, choice: &mut Choice) -> bool {
        let offsets = range::offsets(range);
        let from = self.cursor(range).max(offsets.start);
        let mut known: HashSet<IpAddr> = self.taken();
        known.extend(self.released.iter().map(|r| r.ip));
        let new = (from..offsets.end).map(|offset| (offset, range::address(range, offset)));
        for (offset, ip) in new.filter(|(_, ip)| !known.contains(ip)) {
            if choice.takes(ip, in_use) {
                choice.cursor = Some(offset + 1);
                return true;
            }
        }
        false
    }

    fn cursor(&self, range: IpNetwork) -> u32 {
        self.cursors.get(&range.to_string()).copied().unwrap_or(0)
    }

    /// Remembers that a choice was taken, and what was passed over for it.
    pub fn advance(&mut self, range: IpNetwork, choice: &Choice, now: u64) {
        for ip in &choice.passed_over {
            self.pass_over(*ip, now);
        }
        if let Some(cursor) = choice.cursor {
            self.cursors.insert(range.to_string(), cursor);
        }
    }
}

/// The address that was released longest ago, and may be given out again.
fn again(resting: &[&Released], in_use: InUse<'_>, choice: &mut Choice, now: u64) -> bool {
    for released in resting
        .iter()
        .filter(|r| r.rested(REST_UNDER_PRESSURE, now))
    {
        if choice.takes(released.ip, in_use) {
            choice.hasty = !released.rested(REST, now);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::Key;

    fn key(n: usize) -> Key {
        Key {
            container_id: format!("c{n}"),
            ifname: "eth0".into(),
        }
    }

    fn choose(
        state: &State,
        range: IpNetwork,
        others: &[IpAddr],
        now: u64,
    ) -> Result<Choice, Exhausted> {
        state.choose(range, &|ip| others.contains(&ip), now)
    }

    fn take(state: &mut State, n: usize, range: IpNetwork, now: u64) -> Result<IpAddr, Exhausted> {
        let choice = choose(state, range, &[], now)?;
        state.advance(range, &choice, now);
        state.give(key(n), vec![choice.ip]);
        Ok(choice.ip)
    }

    #[test]
    fn a_full_range_says_how_full() {
        let range: IpNetwork = "10.244.1.0/24".parse().unwrap();
        let mut state = State::default();
        for n in 0..253 {
            take(&mut state, n, range, 1000).unwrap();
        }
        let error = take(&mut state, 253, range, 1000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no free pod IPv4 in 10.244.1.0/24 (253 used, 0 cooling)"
        );
        state.release(&key(7), 1000);
        let error = take(&mut state, 253, range, 1004).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no free pod IPv4 in 10.244.1.0/24 (252 used, 1 cooling)"
        );
        assert!(choose(&state, range, &[], 1005).unwrap().hasty);
        assert!(!choose(&state, range, &[], 1120).unwrap().hasty);
    }

    #[test]
    fn an_address_nobody_heard_of_needs_no_rest() {
        let range: IpNetwork = "10.244.1.0/30".parse().unwrap();
        let mut state = State::default();
        take(&mut state, 0, range, 1000).unwrap();
        let second = take(&mut state, 1, range, 1000).unwrap();
        state.release(&key(1), 0);
        assert_eq!(take(&mut state, 2, range, 1000).unwrap(), second);
    }

    #[test]
    fn what_others_use_is_passed_over_until_they_are_gone() {
        let range: IpNetwork = "10.244.1.0/29".parse().unwrap();
        let others: Vec<IpAddr> = ["10.244.1.2", "10.244.1.4"]
            .map(|ip| ip.parse().unwrap())
            .into();
        let mut state = State::default();
        let mut taken = Vec::new();
        for n in 0..4 {
            let choice = choose(&state, range, &others, 1000 + n).unwrap();
            state.advance(range, &choice, 1000 + n);
            state.give(key(usize::try_from(n).unwrap()), vec![choice.ip]);
            taken.push(choice.ip.to_string());
        }
        assert_eq!(
            taken,
            ["10.244.1.3", "10.244.1.5", "10.244.1.6", "10.244.1.7"]
        );
        let full = choose(&state, range, &others, 5000).unwrap_err();
        assert_eq!(
            full.to_string(),
            "no free pod IPv4 in 10.244.1.0/29 (4 used, 0 cooling, 2 in use by others)"
        );
        let choice = choose(&state, range, &others[1..], 5000).unwrap();
        assert_eq!((choice.ip, choice.hasty), (others[0], false));
    }

    #[test]
    fn rest_is_counted_from_boot_and_a_stamp_of_the_future_costs_no_more_than_a_rest() {
        let range: IpNetwork = "10.244.1.0/30".parse().unwrap();
        let mut state = State::default();
        // A machine that has been up for seconds only.
        take(&mut state, 0, range, 3).unwrap();
        let second = take(&mut state, 1, range, 3).unwrap();
        state.release(&key(1), 0);
        assert_eq!(take(&mut state, 1, range, 4).unwrap(), second);
        state.release(&key(0), 1_900_000_000);
        state.release(&key(1), 1_900_000_001);
        assert!(choose(&state, range, &[], 100).is_err());
        assert!(state.clamp(100) && !state.clamp(100));
        assert!(choose(&state, range, &[], 105).unwrap().hasty);
        assert!(!choose(&state, range, &[], 100 + REST).unwrap().hasty);
    }

    proptest! {
        /// Any course of ADDs and DELs: no address is held twice, none rests shorter than it must.
        #[test]
        fn no_address_is_held_twice(steps in prop::collection::vec((any::<bool>(), 0_usize..40, 0_u64..90), 1..300)) {
            let range: IpNetwork = "10.0.0.0/27".parse().unwrap();
            let mut state = State::default();
            let mut held: std::collections::BTreeMap<usize, IpAddr> = std::collections::BTreeMap::new();
            let mut freed: std::collections::HashMap<IpAddr, u64> = std::collections::HashMap::new();
            let mut now = 1_000_000;
            for (add, n, wait) in steps {
                now += wait;
                if !add {
                    state.release(&key(n), now);
                    if let Some(ip) = held.remove(&n) {
                        freed.insert(ip, now);
                    }
                } else if !held.contains_key(&n) && let Ok(ip) = take(&mut state, n, range, now) {
                    prop_assert!(!held.values().any(|h| *h == ip));
                    prop_assert!(freed.get(&ip).is_none_or(|at| at + REST_UNDER_PRESSURE <= now));
                    held.insert(n, ip);
                }
                prop_assert_eq!(state.taken().len(), held.len());
            }
        }
    }
}
