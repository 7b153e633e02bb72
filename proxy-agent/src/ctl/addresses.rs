//! Load balancers' addresses of the pools, as the agent knows them: no map has them.

use serde::Serialize;

use super::output::Row;
use crate::api::messages::{AnnouncementStatus, GivenAddress, LoadBalancersStatus};

/// An address that Services have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressRow {
    /// It.
    pub address: String,
    /// Whose it is.
    pub services: Vec<String>,
    /// Who answers for it on which link of this node.
    pub announced: Vec<AnnouncementStatus>,
}

impl Row for AddressRow {
    const KIND: &'static str = "AddressList";
    const COLUMNS: &'static [&'static str] = &["ADDRESS", "SERVICES", "ANNOUNCED"];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        let announced = self.announced.iter();
        let announced = announced.map(|on| {
            let node = on.node.as_deref().unwrap_or("nobody");
            format!("{node} on {}", on.link)
        });
        vec![
            self.address.clone(),
            self.services.join(", "),
            announced.collect::<Vec<_>>().join(", "),
        ]
    }

    fn name(&self) -> String {
        self.address.clone()
    }
}

/// All of them, or those of a Service (`namespace/name`).
pub fn rows(status: LoadBalancersStatus, service: Option<&String>) -> Vec<AddressRow> {
    let wanted = |given: &GivenAddress| service.is_none_or(|name| given.services.contains(name));
    let given = status.addresses.into_iter().filter(wanted);
    let row = |given: GivenAddress| AddressRow {
        address: given.address,
        services: given.services,
        announced: given.announced,
    };
    given.map(row).collect()
}
