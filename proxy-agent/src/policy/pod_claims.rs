//! Which pods claim an address.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use crate::model::Pod;

/// A pod that claims an address.
type Claim<A> = (A, Arc<Pod>);

/// The pods that hold addresses of their own, by address: lists in order, which take no more memory than what is in them.
#[derive(Debug, Default)]
pub(super) struct PodClaims {
    v4: Vec<Claim<Ipv4Addr>>,
    v6: Vec<Claim<Ipv6Addr>>,
}

impl PodClaims {
    /// The pods that claim an address: one, or more while it moves from one to the next.
    pub(super) fn of(&self, address: IpAddr) -> Vec<Arc<Pod>> {
        match address {
            IpAddr::V4(address) => of(&self.v4, address),
            IpAddr::V6(address) => of(&self.v6, address),
        }
    }

    /// All addresses that are claimed.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().map(|(address, _)| (*address).into());
        v4.chain(self.v6.iter().map(|(address, _)| (*address).into()))
    }

    /// Takes over that pods are gone and that others have come. Tells the addresses of both.
    pub(super) fn change(
        &mut self,
        gone: &[Arc<Pod>],
        come: &[Arc<Pod>],
        dirty: &mut HashSet<IpAddr>,
    ) {
        let holding = come.iter().filter(|pod| holds_addresses(pod));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for pod in holding {
            for address in pod.ips.iter() {
                match address {
                    IpAddr::V4(address) => v4.push((address, Arc::clone(pod))),
                    IpAddr::V6(address) => v6.push((address, Arc::clone(pod))),
                }
                dirty.insert(address);
            }
        }
        let held = gone.iter().filter(|pod| holds_addresses(pod));
        dirty.extend(held.flat_map(|pod| pod.ips.iter()));
        let gone: HashSet<*const Pod> = gone.iter().map(Arc::as_ptr).collect();
        merge(&mut self.v4, &gone, v4);
        merge(&mut self.v6, &gone, v6);
    }
}

fn holds_addresses(pod: &Pod) -> bool {
    !pod.host_network && !pod.terminated
}

fn of<A: Ord + Copy>(claims: &[Claim<A>], address: A) -> Vec<Arc<Pod>> {
    let first = claims.partition_point(|(a, _)| *a < address);
    let all = claims[first..].iter().take_while(|(a, _)| *a == address);
    all.map(|(_, pod)| Arc::clone(pod)).collect()
}

/// A stable sort of what is in order but for its end costs little more than a copy.
fn merge<A: Ord + Copy>(
    claims: &mut Vec<Claim<A>>,
    gone: &HashSet<*const Pod>,
    come: Vec<Claim<A>>,
) {
    if !gone.is_empty() {
        claims.retain(|(_, pod)| !gone.contains(&Arc::as_ptr(pod)));
    }
    if !come.is_empty() {
        claims.extend(come);
        claims.sort_by_key(|(address, _)| *address);
    }
    if claims.capacity() > claims.len() + claims.len() / 8 {
        claims.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::IpAddr, sync::Arc};

    use super::PodClaims;
    use crate::model::Pod;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn pod(ips: &[&str]) -> Arc<Pod> {
        let ips: Vec<IpAddr> = ips.iter().map(|text| ip(text)).collect();
        Arc::new(Pod {
            ips: ips.into(),
            ..Pod::default()
        })
    }

    #[test]
    fn an_address_may_be_claimed_by_two_for_a_while() {
        let (mut claims, mut dirty) = (PodClaims::default(), HashSet::new());
        let [a, b, other] = [
            &["10.0.0.2", "fd00::2"],
            &["10.0.0.2", "fd00::3"],
            &["10.0.0.1", "fd00::1"],
        ]
        .map(|ips: &[&str; 2]| pod(ips));
        claims.change(&[], &[Arc::clone(&a), Arc::clone(&other)], &mut dirty);
        dirty.clear();
        claims.change(&[], &[Arc::clone(&b)], &mut dirty);
        assert_eq!(dirty, HashSet::from([ip("10.0.0.2"), ip("fd00::3")]));
        let holders = |claims: &PodClaims, text: &str| claims.of(ip(text));
        let same = |holders: Vec<Arc<Pod>>, pods: &[&Arc<Pod>]| {
            holders.len() == pods.len() && holders.iter().zip(pods).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        assert!(same(holders(&claims, "10.0.0.2"), &[&a, &b]));
        assert!(same(holders(&claims, "fd00::2"), &[&a]));
        dirty.clear();
        claims.change(&[Arc::clone(&a)], &[], &mut dirty);
        assert_eq!(dirty, HashSet::from([ip("10.0.0.2"), ip("fd00::2")]));
        assert!(same(holders(&claims, "10.0.0.2"), &[&b]));
        assert!(holders(&claims, "fd00::2").is_empty());
        let all: HashSet<IpAddr> = claims.addresses().collect();
        assert_eq!(
            all,
            ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::3"]
                .map(ip)
                .into()
        );
    }

    #[test]
    fn who_has_no_address_of_its_own_claims_none() {
        let (mut claims, mut dirty) = (PodClaims::default(), HashSet::new());
        let mut host = Pod::clone(&pod(&["192.0.2.1"]));
        host.host_network = true;
        let mut ended = Pod::clone(&pod(&["10.0.0.2"]));
        ended.terminated = true;
        claims.change(&[], &[Arc::new(host), Arc::new(ended)], &mut dirty);
        assert!(dirty.is_empty() && claims.addresses().next().is_none());
    }
}
