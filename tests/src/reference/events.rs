//! What agents tell in Events.

use proxy_agent::model::{EventReason, Kind};

use super::{Document, code, table};

const HEAD: &str = "\
`kubectl describe` of an object shows them, `kubectl get events --all-namespaces` all of them. Their type is `Warning`; \
the note names the node and the details. What all nodes find alike (`AddressConflict` of Services, `NotServed`, `NodeConflict`) one of them tells, and the note says \
so; another one does when that node is not ready. An Event is written once, again with other words after a minute, and again after half an \
hour while it stands: API servers keep Events for an hour.

";

pub(super) fn page() -> Document {
    let rows = EventReason::ALL.iter().map(|reason| {
        let kinds: Vec<String> = reason.kinds().iter().map(Kind::to_string).collect();
        vec![
            code(reason.name()),
            kinds.join(", "),
            reason.meaning().to_owned(),
            reason.remedy().to_owned(),
        ]
    });
    let text = table(&["reason", "of", "what it means", "what to do"], rows);
    Document::page("events", "Events", &format!("{HEAD}{text}"))
}
