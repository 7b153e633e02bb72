//! Two Services that share a server, one of which says that it runs here, and the other that it does not.

use super::*;
use crate::service::render::services::rows;

fn shape(here: bool) -> Shape {
    Shape {
        udp: false,
        node_port: true,
        external_local: true,
        internal_local: true,
        affinity: false,
        external_ip: false,
        sources: BTreeSet::new(),
        endpoints: vec![(1, here, false)],
    }
}

/// Whether a Service's cluster IPs lead to anybody.
fn serves(sync: &ServiceSync, number: usize) -> bool {
    let rows = rows(sync.tables(), &sync.names()).unwrap();
    let own = name(number).to_string();
    let own = rows
        .iter()
        .filter(|row| row.kind == "ClusterIP" && row.service.starts_with(&own));
    let sets: Vec<_> = own.flat_map(|row| [&row.internal, &row.external]).collect();
    assert!(!sets.is_empty(), "{rows:?}");
    sets.iter().any(|set| !set.backends.is_empty())
}

/// Each serves what its own slices say, whichever was written last, and when the other goes.
#[test]
fn a_service_is_served_by_its_own_word_on_a_server_that_another_shares() {
    for here in [[true, false], [false, true]] {
        let world = World::new(1, 0);
        let sync = ServiceSync::new(world.tables(), "here").unwrap();
        let mut sync = sync.with_grace(Duration::ZERO);
        let both = snapshot(&here.map(|here| Some(shape(here))));
        for changed in [0, 1, 0] {
            world.expect(&both);
            let mut dirty = Dirty::default();
            dirty.service(&name(changed), Stamp::now());
            settle(&mut sync, &both, &dirty);
            assert_eq!([0, 1].map(|number| serves(&sync, number)), here);
        }
        world.settled(&both);
        assert_eq!(verify(&mut sync, &both).drift, 0);
        let (stays, goes) = if here[0] { (0, 1) } else { (1, 0) };
        let mut left = both;
        left.services.remove(&name(goes));
        left.slices.remove(&name(goes));
        world.expect(&left);
        settle(&mut sync, &left, &all_dirty(2));
        assert!(serves(&sync, stays));
    }
}
