//! What becomes of a pod's flows, and who the pod is to the socket programs.

use cni_plugin::rpc::{Add, Call};
use proxy_common::{
    address::address4,
    conntrack::{ENDPOINT_HOST, FLOW_REPLIED, Flow4, Head, Tuple},
};

use super::{Event, Fake, Maps, Pods, add, ask, pods, record};
use crate::datapath::{FlowState, clock};

/// Flows in the slots of IPv4, by their ends.
fn put(maps: &Maps, ends: &[[u16; 2]]) {
    let head = Head {
        flags: FLOW_REPLIED,
        ..Head::default()
    };
    for (slot, endpoint) in ends.iter().enumerate() {
        let flow = Flow4 {
            head: head.pack(),
            expires: clock::seconds() + 1000,
            epoch: [0; 2],
            endpoint: *endpoint,
            cookie: [0; 2],
            service: 0,
            backend: 0,
            target: [Tuple::default(); 2],
        };
        maps.flows[0].put(slot as u32, &flow);
    }
}

/// Which of them live.
fn live(maps: &Maps) -> Vec<u32> {
    let now = clock::seconds();
    let flows = maps.flows[0].iter();
    let live = flows.filter(|(_, flow)| FlowState::of(flow, now) != FlowState::Expired);
    live.map(|(slot, _)| slot).collect()
}

fn two_pods(folder: &tempfile::TempDir, maps: &Maps, fake: &mut Fake) -> Pods {
    let mut pods = pods(folder, maps, fake);
    for n in 1..=2 {
        ask(&mut pods, fake, Call::Add(Box::new(add(n))));
    }
    put(
        maps,
        &[
            [1, 2],
            [0, 1],
            [ENDPOINT_HOST, 1],
            [2, 0],
            [2, ENDPOINT_HOST],
            [0, 0],
        ],
    );
    pods
}

#[test]
fn a_pods_flows_end_with_it() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = two_pods(&folder, &maps, &mut fake);
    // It would look at the machine.
    pods.next_sweep += std::time::Duration::from_hours(1);
    pods.looking.running = true;
    pods.keeping.running = true;
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    pods.take(Event::Tick, &mut fake, |_, _| None);
    assert_eq!(live(&maps), [3, 4, 5]);
    pods.take(Event::Tick, &mut fake, |_, _| None);
    assert_eq!(live(&maps), [3, 4, 5]);
}

#[test]
fn they_end_before_another_pod_comes() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = two_pods(&folder, &maps, &mut fake);
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(3))));
    assert_eq!(live(&maps), [3, 4, 5]);
}

#[test]
fn an_id_is_nobodys_until_its_flows_are_ended() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    for n in 1..16 {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    put(&maps, &[[7, 0], [8, 0]]);
    // The sixteenth has the room of the seventh, whose flows are not its.
    ask(&mut pods, &mut fake, Call::Del(add(7).key));
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(16))));
    assert_eq!(live(&maps), [1]);
    assert!(maps.ids().contains(&(116, 7)), "{:?}", maps.ids());
}

#[test]
fn a_pod_that_went_while_no_agent_was_there_leaves_no_flow() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let former = two_pods(&folder, &maps, &mut fake);
    record(&folder, 2);
    drop(former);
    let again = pods(&folder, &maps, &mut fake);
    assert_eq!(again.endpoints().len(), 1);
    assert_eq!(live(&maps), [3, 4, 5]);
}

#[test]
fn a_pods_namespace_stands_for_its_addresses() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    let silent = Add {
        netns_cookie: 0,
        ..add(2)
    };
    ask(&mut pods, &mut fake, Call::Add(Box::new(silent)));
    let clients = crate::datapath::Table::entries(&maps.clients).unwrap();
    let [(4001, client)] = clients.as_slice() else {
        panic!("{clients:?}");
    };
    assert_eq!(client.address4, address4([10, 0, 0, 1]));
    assert_eq!(client.address6[3], 1_u32.to_be());
}
