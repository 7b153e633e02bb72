//! How many addresses of a range are left.

use std::{collections::HashSet, net::IpAddr};

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::{State, choose::REST_UNDER_PRESSURE, range};

/// The addresses of a range that pods may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The range.
    pub range: IpNetwork,
    /// How many there are.
    pub all: usize,
    /// Those that attachments have.
    pub used: usize,
    /// Those given back so lately that nobody gets them yet.
    pub resting: usize,
    /// Those that can be had. Whether somebody else uses one, ADD finds out.
    pub free: usize,
}

impl State {
    /// Counts. `now` is seconds since boot.
    pub fn usage(&self, range: IpNetwork, reserved: &[IpAddr], now: u64) -> Usage {
        let taken = self.taken();
        let resting = self.released.iter();
        let resting = resting.filter(|released| !released.rested(REST_UNDER_PRESSURE, now));
        let resting: HashSet<IpAddr> = resting.map(|released| released.ip).collect();
        let ips = range::offsets(range).map(|offset| range::address(range, offset));
        let ips: Vec<IpAddr> = ips.filter(|ip| !reserved.contains(ip)).collect();
        let count = |of: &HashSet<IpAddr>| ips.iter().filter(|ip| of.contains(ip)).count();
        let (used, resting) = (count(&taken), count(&resting));
        Usage {
            range,
            all: ips.len(),
            used,
            resting,
            free: ips.len() - used - resting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Key;

    fn key(n: usize) -> Key {
        Key {
            container_id: format!("c{n}"),
            ifname: "eth0".into(),
        }
    }

    /// What is free is what can be taken: as many, and not one more.
    #[test]
    fn as_many_are_free_as_can_be_taken() {
        let range: IpNetwork = "10.1.1.0/28".parse().unwrap();
        let reserved = ["10.1.1.3".parse().unwrap(), "10.9.9.9".parse().unwrap()];
        let mut state = State::default();
        let now = 1000;
        let take = |state: &mut State, n: usize| -> Option<IpAddr> {
            let choice = state
                .choose(range, &|ip| reserved.contains(&ip), now)
                .ok()?;
            state.advance(range, &choice, now);
            state.give(key(n), vec![choice.ip]);
            Some(choice.ip)
        };
        for n in 0..5 {
            take(&mut state, n).unwrap();
        }
        state.give(key(90), vec!["10.2.2.2".parse().unwrap()]);
        // One rests, one has rested long enough for need, one was never heard of.
        state.release(&key(0), now - 1);
        state.release(&key(1), now - REST_UNDER_PRESSURE);
        state.release(&key(2), 0);
        let usage = state.usage(range, &reserved, now);
        assert_eq!((usage.all, usage.used, usage.resting), (13, 2, 1));
        for n in 0..usage.free {
            take(&mut state, 10 + n).unwrap();
        }
        assert_eq!(take(&mut state, 99), None);
        assert_eq!(state.usage(range, &reserved, now).free, 0);
    }
}
