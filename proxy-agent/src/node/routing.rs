//! Routes that a look wants, and that are set after it.

use super::{
    facts::Facts,
    host_device::{Leads, program::HostDevice},
    routes::{self, RouteTable, Routes, TO_NODES},
    tunnel::Tunnel,
};
use crate::{model::Owned, subject::Repairs};

/// What a look wants.
pub(super) struct Routing {
    pub(super) to_nodes: Option<Routes>,
    pub(super) tunnel: Option<Tunnel>,
    /// The device that encrypts is wanted.
    pub(super) encrypts: bool,
    pub(super) leads: Option<Leads>,
    pub(super) facts: Facts,
    /// There are no other routes to nodes.
    pub(super) all_routes: bool,
    /// All ranges of Services are known.
    pub(super) complete: bool,
}

/// Routes as they were set last.
#[derive(Default)]
pub(super) struct RoutesSet {
    to_nodes: Routes,
    to_services: Routes,
}

impl RoutesSet {
    /// Sets those that are wanted; returns what failed.
    pub(super) fn set(
        &mut self,
        wanted: &Routing,
        host: &mut HostDevice,
        repairs: &mut Repairs,
    ) -> Vec<String> {
        let mut table = match RouteTable::open() {
            Ok(table) => table,
            Err(error) => return vec![format!("read routes: {error}")],
        };
        let mut errors = Vec::new();
        if let Some(to_nodes) = &wanted.to_nodes {
            let brought = routes::bring(&mut table, TO_NODES, to_nodes, wanted.all_routes);
            let former = std::mem::replace(&mut self.to_nodes, to_nodes.clone());
            routes::put_back(Owned::NodeRoutes, &former, &brought.set, repairs);
            errors.extend(brought.errors);
        }
        if let Some(leads) = &wanted.leads {
            let brought = host.lead(&mut table, leads, &wanted.facts, wanted.complete);
            let former = std::mem::replace(&mut self.to_services, leads.routes.clone());
            routes::put_back(Owned::ServiceRoutes, &former, &brought.set, repairs);
            errors.extend(brought.errors);
        }
        errors
    }
}
