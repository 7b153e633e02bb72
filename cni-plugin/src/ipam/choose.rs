//! Which free address is given next: never used, else released longest ago.
//!
//! An address is kept back for two minutes after its release, as long as `nf_conntrack` elsewhere remembers
//! half-open connections to it; under pressure for five seconds.

use std::{collections::HashSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{State, range};

/// Seconds that a released address rests.
pub const REST: u64 = 120;
/// Seconds that it rests when there is no other.
pub const REST_UNDER_PRESSURE: u64 = 5;
/// So many rested addresses of a range are used again before new ones, so that the file stays small.
const RESTED_ENOUGH: usize = 256;

/// An address chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The address.
    pub ip: IpAddr,
    /// It was released less than [`REST`] seconds ago.
    pub hasty: bool,
    cursor: Option<u32>,
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
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.range.is_ipv4() { 4 } else { 6 };
        let Self {
            range,
            used,
            cooling,
        } = self;
        write!(
            f,
            "no free pod IPv{family} in {range} ({used} used, {cooling} cooling)"
        )
    }
}

impl State {
    /// Chooses an address of a range; [`State::advance`] makes it stick. `now` is seconds since 1970.
    pub fn choose(
        &self,
        range: IpNetwork,
        reserved: &[IpAddr],
        now: u64,
    ) -> Result<Choice, Exhausted> {
        let mut resting: Vec<_> = self
            .released
            .iter()
            .filter(|r| range.contains(r.ip) && !reserved.contains(&r.ip))
            .collect();
        resting.sort_by_key(|r| r.at);
        let oldest = |rest: u64| {
            resting
                .first()
                .filter(|r| r.at.saturating_add(rest) <= now)
                .map(|r| r.ip)
        };
        let rested = resting.iter().filter(|r| r.at.saturating_add(REST) <= now);
        if rested.count() < RESTED_ENOUGH
            && let Some(choice) = self.never_used(range, reserved)
        {
            return Ok(choice);
        }
        let again = |ip, hasty| Choice {
            ip,
            hasty,
            cursor: None,
        };
        oldest(REST)
            .map(|ip| again(ip, false))
            .or_else(|| oldest(REST_UNDER_PRESSURE).map(|ip| again(ip, true)))
            .ok_or_else(|| Exhausted {
                range,
                used: self
                    .taken()
                    .iter()
                    .filter(|ip| range.contains(**ip))
                    .count(),
                cooling: resting.len(),
            })
    }

    fn never_used(&self, range: IpNetwork, reserved: &[IpAddr]) -> Option<Choice> {
        let offsets = range::offsets(range);
        let from = self.cursor(range).max(offsets.start);
        let mut known: HashSet<IpAddr> = self.taken();
        known.extend(self.released.iter().map(|r| r.ip));
        known.extend(reserved);
        (from..offsets.end)
            .map(|offset| (offset, range::address(range, offset)))
            .find(|(_, ip)| !known.contains(ip))
            .map(|(offset, ip)| Choice {
                ip,
                hasty: false,
                cursor: Some(offset + 1),
            })
    }

    fn cursor(&self, range: IpNetwork) -> u32 {
        self.cursors.get(&range.to_string()).copied().unwrap_or(0)
    }

    /// Remembers that a choice was taken.
    pub fn advance(&mut self, range: IpNetwork, choice: &Choice) {
        if let Some(cursor) = choice.cursor {
            self.cursors.insert(range.to_string(), cursor);
        }
    }
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

    fn take(state: &mut State, n: usize, range: IpNetwork, now: u64) -> Result<IpAddr, Exhausted> {
        let choice = state.choose(range, &[], now)?;
        state.advance(range, &choice);
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
        assert!(state.choose(range, &[], 1005).unwrap().hasty);
        assert!(!state.choose(range, &[], 1120).unwrap().hasty);
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
    fn reserved_addresses_are_not_given() {
        let range: IpNetwork = "fd00::/64".parse().unwrap();
        let reserved = ["fd00::2".parse().unwrap()];
        let choice = State::default().choose(range, &reserved, 1).unwrap();
        assert_eq!(choice.ip, "fd00::3".parse::<IpAddr>().unwrap());
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
