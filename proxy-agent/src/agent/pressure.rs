//! Map pressure: maps that are filling up, as Events of the Node.

use crate::{
    api::messages::MapStatus,
    model::{EventReason, Kind, Notice, ObjectName},
};

/// What stands of these maps, if it is anything.
pub(super) fn notice(maps: &[MapStatus], node: &str) -> Option<Notice> {
    let full = maps.iter().filter(|map| map.is_filling_up());
    let full: Vec<String> = full.map(|map| map.name.clone()).collect();
    (!full.is_empty()).then(|| Notice {
        kind: Kind::Node,
        object: ObjectName::new("", node),
        reason: EventReason::MapsFillingUp,
        // No numbers, which would be news each time.
        note: format!(
            "{}: at least four fifths of the capacity are in use; raise it in `maps:` of the configuration",
            full.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_evicts_or_cannot_be_counted_does_not_fill_up() {
        let map = |name: &str, kind: &str, entries, max_entries| MapStatus {
            name: name.to_owned(),
            kind: kind.to_owned(),
            entries,
            max_entries,
        };
        let mut maps = vec![
            map("FRAGMENTS4", "lru_hash", Some(10), 10),
            map("DROPS", "percpu_array", None, 10),
            map("NODE_CONFIG", "array", Some(1), 1),
            map("FRONTENDS4", "hash", Some(79), 100),
        ];
        assert_eq!(notice(&maps, "n1"), None);
        maps.push(map("BACKENDS4", "hash", Some(80), 100));
        let notice = notice(&maps, "n1").unwrap();
        assert_eq!(notice.object, ObjectName::new("", "n1"));
        assert!(notice.note.starts_with("BACKENDS4: "), "{}", notice.note);
        // Clients would lose their backends.
        maps.push(map("AFFINITY", "lru_hash", Some(8), 10));
        let note = super::notice(&maps, "n1").unwrap().note;
        assert!(note.starts_with("BACKENDS4, AFFINITY: "), "{note}");
    }
}
