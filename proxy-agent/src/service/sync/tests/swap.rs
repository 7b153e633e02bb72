//! Services that take over each other's addresses at once.

use super::*;

/// A Service with an endpoint of its own, and the external address of this number.
fn owner(number: usize, external: usize) -> (Service, Few<Arc<EndpointSlice>>) {
    let shape = Shape {
        udp: false,
        node_port: false,
        external_local: false,
        internal_local: false,
        affinity: false,
        external_ip: false,
        sources: BTreeSet::new(),
        endpoints: vec![(number as u8 + 1, false, false)],
    };
    let mut service = service(number, &shape);
    service.external = External {
        ips: [address(&format!("192.0.2.{}", 10 + external))]
            .into_iter()
            .collect(),
        ..External::default()
    }
    .boxed();
    // All by one port, else the addresses would be no rivals.
    let mut ports: Vec<ServicePort> = service.ports.iter().cloned().collect();
    ports[0].port = 80;
    service.ports = ports.into();
    (service, slices(number, &shape))
}

/// Services with these external addresses.
fn owners(externals: &[usize]) -> Snapshot {
    let mut snapshot = snapshot(&[]);
    for (number, external) in externals.iter().enumerate() {
        let (service, slices) = owner(number, *external);
        snapshot.services.insert(name(number), Arc::new(service));
        snapshot.slices.insert(name(number), slices);
    }
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whoever has an address, and whatever writes fail on the way: it is never nobody's.
    #[test]
    fn addresses_that_change_hands_are_always_somebodys(
        hands in prop::collection::vec(Just(vec![0, 1, 2]).prop_shuffle(), 1..6), seed in any::<u64>(),
    ) {
        let world = World::new(seed, 10);
        let mut sync = ServiceSync::new(world.tables(), "here").unwrap().with_grace(Duration::ZERO);
        sync.set_own_addresses(&OWN.map(|own| own.parse().unwrap()));
        for externals in &hands {
            let snapshot = owners(externals);
            world.expect(&snapshot);
            let report = settle(&mut sync, &snapshot, &all_dirty(3));
            prop_assert!(report.failed.is_empty());
            world.settled(&snapshot);
        }
    }
}
