//! Annotations whose values are refused: their objects tell it by Events, and a row of the status does.

use crate::{
    model::{EventReason, Kind, Node, Notice, ObjectName, Snapshot},
    node::{encryption, ways},
    observe::{convert::annotations::is_told, store::Problems},
};

/// Why annotations of Nodes by which ways between them go are not followed.
pub fn of_ways(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    snapshot.nodes.values().flat_map(|node| mistakes(node))
}

fn mistakes(node: &Node) -> impl Iterator<Item = String> {
    let mistakes = [ways::mistake(node), encryption::mistake(node)];
    mistakes.into_iter().flatten()
}

/// What owners of objects should know.
pub fn notices(snapshot: &Snapshot, problems: &Problems) -> Vec<Notice> {
    let notice = |kind, object: ObjectName, note| Notice {
        kind,
        object,
        reason: EventReason::InvalidAnnotation,
        note,
    };
    let read = problems.iter().flat_map(|((kind, name), found)| {
        let told = found.iter().filter(|problem| is_told(*kind, problem));
        told.map(|problem| notice(*kind, name.clone(), problem.to_string()))
    });
    let followed = snapshot.nodes.values().flat_map(|node| {
        let name = ObjectName::new("", &node.name);
        mistakes(node).map(move |why| notice(Kind::Node, name.clone(), why))
    });
    read.chain(followed).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::Problem;

    fn snapshot() -> Snapshot {
        let node = Node {
            name: "a".to_owned(),
            routing: Some("banana".to_owned()),
            wireguard_key: Some("banana".to_owned()),
            ..Node::default()
        };
        let mut snapshot = Snapshot::default();
        snapshot.nodes.insert("a".into(), Arc::new(node));
        let good = Node {
            name: "b".to_owned(),
            routing: Some("tunnel".to_owned()),
            ..Node::default()
        };
        snapshot.nodes.insert("b".into(), Arc::new(good));
        snapshot
    }

    #[test]
    fn objects_tell_which_of_their_annotations_are_refused_and_nothing_else() {
        let web = ObjectName::new("shop", "web");
        let found = [
            ("weir.dev/forwarding-mode", "`DSR2` is not snat"),
            ("spec.externalIPs[0]", "no address"),
        ];
        let found = found.map(|(field, why)| Problem::new(field, why));
        let problems = [((Kind::Service, web.clone()), found.into())].into();
        let told = notices(&snapshot(), &problems);
        let told: Vec<(Kind, String, &str)> = told
            .iter()
            .map(|one| (one.kind, one.object.to_string(), one.note.as_str()))
            .collect();
        let [service, routing, key] = told.as_slice() else {
            panic!("{told:?}");
        };
        let forwarding = "weir.dev/forwarding-mode: `DSR2` is not snat";
        assert_eq!(*service, (Kind::Service, web.to_string(), forwarding));
        for (one, annotation) in [
            (routing, "weir.dev/routing"),
            (key, "weir.dev/wireguard-public-key"),
        ] {
            assert_eq!((one.0, one.1.as_str()), (Kind::Node, "a"));
            assert!(
                one.2
                    .starts_with(&format!("annotation {annotation} of node a: ")),
                "{one:?}"
            );
        }
        let rows: Vec<String> = of_ways(&snapshot()).collect();
        assert_eq!(rows, [routing.2, key.2]);
    }
}
