//! What owners of Services should know.

use super::ServiceSync;
use crate::{
    model::{Kind, Notice, ObjectName},
    service::Owner,
};

/// Another Service has an address that this one wants.
const CONFLICT: &str = "AddressConflict";
/// It does not fit.
const NOT_PROGRAMMED: &str = "NotProgrammed";
/// A part of it is not served here.
const NOT_SERVED: &str = "NotServed";

impl ServiceSync {
    /// What stands now. What the kernel does not take is no fault of a Service.
    pub fn notices(&self) -> Vec<Notice> {
        let failed = self.failed.iter().filter(|(_, failure)| !failure.broken);
        let refused = failed.filter_map(|(owner, failure)| {
            let reason = if failure.taken {
                CONFLICT
            } else {
                NOT_PROGRAMMED
            };
            match owner {
                Owner::Service(name) => Some(notice(name, reason, failure.error.clone())),
                Owner::Pod(_) => None,
            }
        });
        let unserved = self.unserved.iter();
        let unserved = unserved.map(|(name, why)| notice(name, NOT_SERVED, why.join("; ")));
        refused.chain(unserved).collect()
    }
}

fn notice(service: &ObjectName, reason: &'static str, note: String) -> Notice {
    Notice {
        kind: Kind::Service,
        object: service.clone(),
        reason,
        note,
    }
}
