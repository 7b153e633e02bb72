//! API servers begin and cease to listen where a Service has an external address.

use super::*;
use crate::service::render::services::rows;

fn serving(sync: &ServiceSync) -> BTreeSet<String> {
    let rows = rows(sync.tables(), &sync.names()).unwrap().into_iter();
    let external = rows.filter(|row| row.kind != "ClusterIP" && row.kind != "NodePort");
    external.map(|row| row.frontend).collect()
}

/// The slices of `default/kubernetes`, with one that listens at these.
fn kubernetes(snapshot: &mut Snapshot, at: &[(IpAddr, u16, Protocol)]) {
    let kubernetes = ObjectName::new("default", "kubernetes");
    let slices = at.iter().map(|(ip, port, protocol)| {
        Arc::new(EndpointSlice {
            name: ObjectName::new("default", format!("kubernetes-{ip}")),
            service: kubernetes.clone(),
            ipv6: ip.is_ipv6(),
            ports: vec![EndpointPort {
                name: "https".into(),
                protocol: *protocol,
                port: *port,
            }]
            .into(),
            endpoints: Endpoints::new([(*ip, EndpointState::default())], SharedList::from),
        })
    });
    let slices: Vec<_> = slices.collect();
    snapshot.slices.insert(kubernetes, slices.into());
}

#[test]
fn what_is_an_api_servers_is_no_services() {
    let shape = Shape {
        external_ip: true,
        ..Shape::node_port(vec![(1, true, false)])
    };
    let mut snapshot = snapshot(&[Some(shape)]);
    let world = World::new(1, 0);
    let mut sync = ServiceSync::new(world.tables(), "here").unwrap();
    world.expect(&snapshot);
    settle(&mut sync, &snapshot, &all_dirty(1));
    let all = serving(&sync);
    assert_eq!(all.len(), 3, "{all:?}");
    let external = address("192.0.2.1");
    for ip in [external, balancer(0, false), balancer(0, true)] {
        // Another port and another protocol are anybody's.
        let elsewhere = [(ip, 81, Protocol::Tcp), (ip, 80, Protocol::Udp)];
        for at in [elsewhere.as_slice(), &[(ip, 80, Protocol::Tcp)], &[]] {
            kubernetes(&mut snapshot, at);
            settle(&mut sync, &snapshot, &Dirty::default());
            let taken = at.contains(&(ip, 80, Protocol::Tcp));
            let left: BTreeSet<String> = serving(&sync);
            let lost: Vec<&String> = all.difference(&left).collect();
            assert_eq!(lost.len(), usize::from(taken), "{ip}: {lost:?}");
            assert!(lost.iter().all(|lost| lost.contains(&ip.to_string())));
            let told = sync.notices(&crate::subject::growth::InVain::default());
            assert_eq!(told.len(), usize::from(taken), "{told:?}");
        }
    }
}
