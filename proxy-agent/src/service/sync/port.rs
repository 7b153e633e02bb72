//! A Service port as it is programmed.

use std::sync::Arc;

use crate::{
    model::{Few, Protocol},
    service::{
        Owner,
        desired::{DesiredPort, Scope},
        key::FrontendKey,
    },
};

/// A Service port in one family: its ids, and the frontends that it may hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Port {
    pub(super) name: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) ipv6: bool,
    pub(super) service: u32,
    /// Ids of its sets, 0 for none.
    cluster: u32,
    local: u32,
    /// The one that serves what comes from outside, if something does; else 0.
    pub(super) outside: u32,
    pub(super) frontends: Few<FrontendKey>,
}

impl Port {
    /// A port that has no sets yet.
    pub(super) fn new(of: &DesiredPort, service: u32, frontends: Few<FrontendKey>) -> Self {
        Self {
            name: Arc::clone(&of.name),
            protocol: of.protocol,
            ipv6: of.ipv6,
            service,
            cluster: 0,
            local: 0,
            outside: 0,
            frontends,
        }
    }

    /// Whether it is the one with this id, and may hold this frontend.
    pub(super) fn holds(&self, service: u32, key: &FrontendKey) -> bool {
        self.service == service && self.frontends.contains(key)
    }

    /// Holds these frontends as well, though it wants them no more.
    pub(super) fn hold<'a>(&mut self, left: impl Iterator<Item = &'a FrontendKey>) {
        let held = self.frontends.iter().copied();
        let all: Vec<FrontendKey> = held.chain(left.copied()).collect();
        self.frontends = all.into();
    }

    /// Whether this is what is programmed of a desired port.
    pub(super) fn is(&self, want: &DesiredPort) -> bool {
        self.name == want.name && self.protocol == want.protocol && self.ipv6 == want.ipv6
    }

    /// The ids of its sets.
    pub(super) const fn sets(&self) -> [u32; 2] {
        [self.cluster, self.local]
    }

    /// The id of a set, 0 for none.
    pub(super) const fn set(&self, scope: Scope) -> u32 {
        match scope {
            Scope::Cluster => self.cluster,
            Scope::Local => self.local,
        }
    }

    /// The same, to be changed.
    pub(super) const fn set_mut(&mut self, scope: Scope) -> &mut u32 {
        match scope {
            Scope::Cluster => &mut self.cluster,
            Scope::Local => &mut self.local,
        }
    }

    /// `namespace/service:port`.
    pub(super) fn describe(&self, owner: &Owner) -> String {
        if self.name.is_empty() {
            owner.to_string()
        } else {
            format!("{owner}:{}", self.name)
        }
    }
}
