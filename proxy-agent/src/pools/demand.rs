//! What Services ask for, as the plan takes it.

use std::net::IpAddr;

use crate::{
    config::{AddressPool, LOAD_BALANCER_CLASS, LoadBalancerSettings},
    model::{ObjectName, Protocol, Service},
};

/// A Service of `type: LoadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Its name.
    pub name: ObjectName,
    /// When it was made, seconds since 1970. Of two that want the same the older one has it.
    pub created: i64,
    /// Its addresses are given by the pools; otherwise somebody else gives them, and nobody else may have them.
    pub ours: bool,
    /// Of which families it wants an address: IPv4, IPv6.
    pub families: [bool; 2],
    /// It wants one of each of them or none.
    pub needs_all: bool,
    /// Addresses that it asks for.
    pub requested: Vec<IpAddr>,
    /// What it asks for that is no address.
    pub mistake: Option<String>,
    /// The pool that it asks for.
    pub pool: Option<String>,
    /// Those of the same key may share an address.
    pub sharing: Option<String>,
    /// Its ports.
    pub ports: Vec<(Protocol, u16)>,
    /// `externalTrafficPolicy: Local`: only nodes with endpoints of it can serve it, so that its address is its own.
    pub local: bool,
    /// The addresses that it has.
    pub given: Vec<IpAddr>,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
}

impl Demand {
    /// Of a Service, if it is of `type: LoadBalancer`.
    pub fn of(service: &Service, settings: &LoadBalancerSettings) -> Option<Self> {
        let asks = service.load_balancer()?;
        let has = |ipv6| service.cluster_ips.of(ipv6).is_some();
        let families = match asks.families {
            [false, false] => [has(false), has(true)],
            families => families,
        };
        Some(Self {
            name: service.name.clone(),
            created: service.created,
            ours: match asks.class.as_deref() {
                Some(class) => class == LOAD_BALANCER_CLASS,
                None => settings.default_class,
            },
            families,
            needs_all: asks.needs_both,
            requested: asks.requested.to_vec(),
            mistake: asks.mistake.as_deref().map(str::to_owned),
            pool: asks.pool.as_deref().map(str::to_owned),
            sharing: asks.sharing.as_deref().map(str::to_owned),
            ports: service
                .ports
                .iter()
                .map(|port| (port.protocol, port.port))
                .collect(),
            local: service.external_local,
            given: asks.given.to_vec(),
            uid: asks.uid.as_ref().to_owned(),
            version: asks.version.as_ref().to_owned(),
        })
    }

    /// Whether it may have an address that another one has.
    pub fn may_share(&self, other: &Self) -> bool {
        self.sharing.is_some()
            && self.sharing == other.sharing
            && !(self.local || other.local)
            && !self.ports.iter().any(|port| other.ports.contains(port))
    }

    /// The address of a family that it asks for.
    pub fn asked(&self, ipv6: bool) -> Option<IpAddr> {
        let mut asked = self.requested.iter().copied();
        asked.find(|ip| ip.is_ipv6() == ipv6)
    }

    /// Whether a pool gives to it without an address being named.
    pub fn is_for(&self, pool: &AddressPool) -> bool {
        match &self.pool {
            Some(name) => *name == pool.name,
            None => pool.auto_assign,
        }
    }

    /// What it asks for that cannot be, whoever has what.
    pub fn mistake(&self, pools: &[AddressPool]) -> Option<String> {
        if let Some(why) = &self.mistake {
            return Some(why.clone());
        }
        let is_there = |name: &String| pools.iter().any(|pool| pool.name == *name);
        if let Some(name) = self.pool.as_ref().filter(|name| !is_there(name)) {
            return Some(format!("there is no pool {name}"));
        }
        let families = ["IPv4", "IPv6"].into_iter().zip(self.families);
        for ((family, wanted), ipv6) in families.zip([false, true]) {
            let of_family = |ip: &&IpAddr| ip.is_ipv6() == ipv6;
            let count = self.requested.iter().filter(of_family).count();
            if count > 0 && !wanted {
                return Some(format!(
                    "it asks for an {family} address, but {family} is not among its ipFamilies"
                ));
            }
            if count > 1 {
                return Some(format!("it asks for more than one {family} address"));
            }
        }
        None
    }
}
