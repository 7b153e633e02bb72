//! Who has a port on all addresses of the node but for one, which another one names: a `hostPort` or a `NodePort`, and a Service
//! with an external IP that is the node's, or a `hostPort` with a `hostIP`. The maps have room for both, and the narrower one
//! serves there.

use std::collections::BTreeMap;

use super::ServiceSync;
use crate::{
    model::{EventReason, Notice},
    service::{Owner, key::FrontendKey, report::ServiceError},
};

impl ServiceSync {
    /// They, and what others have of theirs.
    pub fn shadowed(&self) -> BTreeMap<&Owner, String> {
        let mut shadowed: BTreeMap<&Owner, String> = BTreeMap::new();
        for key in self.node_ports.narrow() {
            let Some((loser, why)) = self.shadow(key) else {
                continue;
            };
            let words = shadowed.entry(loser).or_default();
            if !words.is_empty() {
                words.push_str("; ");
            }
            words.push_str(&why);
        }
        shadowed
    }

    /// Who would have had a frontend, and has all the others of its port.
    fn shadow(&self, key: &FrontendKey) -> Option<(&Owner, String)> {
        let narrow = self.image.frontend(key)?;
        let wide = self.image.frontend(&key.on_all())?;
        if narrow.service == wide.service {
            return None;
        }
        let (holder, loser) = (self.owner(narrow.service)?, self.owner(wide.service)?);
        let taken = ServiceError::Taken {
            key: *key,
            owner: holder.to_string(),
        };
        (holder != loser).then(|| (loser, taken.to_string()))
    }

    /// What they should know. Only this node has its addresses, so that it tells that of Services too.
    pub(super) fn notices_of_shadowed(&self) -> impl Iterator<Item = Notice> {
        self.shadowed().into_iter().map(|(loser, note)| {
            let (kind, object) = loser.object();
            let reason = match loser {
                Owner::Service(_) => EventReason::NodePortTaken,
                Owner::Pod(_) => EventReason::AddressConflict,
            };
            Notice {
                kind,
                object,
                reason,
                note,
            }
        })
    }
}
