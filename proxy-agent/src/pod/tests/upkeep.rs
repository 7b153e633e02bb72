//! What sweeps and looks find is brought in step; what came since they began stays.

use std::fs;

use cni_plugin::{
    attachment::{Attachment, State},
    ipam::file::write_json,
    node_file::boot_id,
    paths::Paths,
};

use super::{Call, Event, Fake, Maps, add, ask, pods, record};
use crate::{
    api::messages::Status,
    datapath::Table as _,
    model::{EventReason, Kind, ObjectName, Pod, Snapshot},
    pod::{
        Pods,
        collector::{Memory, Sweep},
        swept::Swept,
    },
    subject::Subject as _,
};

/// As a sweep gives it that ends now.
fn swept(pods: &Pods, sweep: Sweep) -> Event {
    let keys: Vec<_> = pods.known.keys().cloned().collect();
    let swept = Swept::new(&pods.paths, &keys, Memory::default(), sweep);
    Event::Swept(Box::new(swept))
}

/// Whom the plugin asked for so far was asked for before the sweep began.
fn begin(pods: &mut Pods) {
    pods.meanwhile.clear();
}

#[test]
fn one_that_was_dead_and_is_there_again_stays() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    for n in [1, 2] {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    record(&folder, 1);
    let dead = [1, 2].map(|n| add(n).key).into();
    let sweep = Sweep {
        dead,
        ..Sweep::default()
    };
    begin(&mut pods);
    let event = swept(&pods, sweep);
    pods.take(event, &mut fake, |_, _| None);
    let left: Vec<_> = pods
        .endpoints()
        .into_iter()
        .map(|e| e.pod.to_string())
        .collect();
    assert_eq!(left, ["ns/p1"]);
}

#[test]
fn more_pods_than_ids_keep_no_agent_from_starting() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    for n in 1..=20 {
        record(&folder, n);
    }
    let mut pods = pods(&folder, &maps, &mut fake);
    assert_eq!(pods.endpoints().len(), 15, "all ids are in use");
    let gone = pods.endpoints()[0].pod.to_string();
    let gone = (1..=20).find(|n| add(*n).pod.to_string() == gone).unwrap();
    ask(&mut pods, &mut fake, Call::Del(add(gone).key));
    let late = (1..=20).find(|n| {
        !pods
            .endpoints()
            .iter()
            .any(|e| e.pod.to_string() == add(*n).pod.to_string())
            && *n != gone
    });
    let live = Attachment {
        state: State::Ready,
        add: add(late.unwrap()),
        ..Attachment::default()
    };
    let sweep = Sweep {
        live: vec![live],
        ..Sweep::default()
    };
    begin(&mut pods);
    let event = swept(&pods, sweep);
    pods.take(event, &mut fake, |_, _| None);
    assert_eq!(
        pods.endpoints().len(),
        15,
        "the next sweep takes in what has room"
    );
}

#[test]
fn a_tombstone_ends_an_endpoint_once() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    let tombstone = Paths::new(folder.path()).tombstone(&add(1).key);
    write_json(&tombstone, &add(1).key).unwrap();
    begin(&mut pods);
    let event = swept(&pods, Sweep::default());
    pods.take(event, &mut fake, |_, _| None);
    assert!(pods.endpoints().is_empty() && !tombstone.exists());
    assert_eq!(maps.counts(), [0; 5]);
    assert_eq!(*fake.detached.lock().unwrap(), [101]);
}

#[test]
fn whom_the_plugin_asked_for_since_a_sweep_began_is_left_for_the_next() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    for n in [1, 2, 3] {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    // What the files of three pods said at the end of a sweep that began before this.
    write_json(
        &Paths::new(folder.path()).tombstone(&add(1).key),
        &add(1).key,
    )
    .unwrap();
    let live = Attachment {
        state: State::Ready,
        add: add(4),
        ..Attachment::default()
    };
    record(&folder, 4);
    let sweep = Sweep {
        dead: vec![add(2).key],
        live: vec![live],
        ..Sweep::default()
    };
    let event = swept(&pods, sweep);
    begin(&mut pods);
    for n in [1, 2, 3] {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    ask(&mut pods, &mut fake, Call::Del(add(4).key));
    pods.take(event, &mut fake, |_, _| None);
    let mut left: Vec<_> = maps.ids().into_iter().map(|(index, _)| index).collect();
    left.sort_unstable();
    assert_eq!(left, [101, 102, 103]);
}

#[test]
fn an_endpoint_whose_interface_was_made_anew_moves_to_it() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    let at = |ifindex: u32| Attachment {
        state: State::Ready,
        boot_id: boot_id().unwrap(),
        add: cni_plugin::rpc::Add {
            host_ifindex: ifindex,
            ..add(1)
        },
        ..Attachment::default()
    };
    let path = Paths::new(folder.path()).attachment(&add(1).key);
    let mut look = |seen: u32, now: u32| {
        write_json(&path, &at(now)).unwrap();
        let sweep = Sweep {
            live: vec![at(seen)],
            ..Sweep::default()
        };
        begin(&mut pods);
        let event = swept(&pods, sweep);
        pods.take(event, &mut fake, |_, _| None);
        maps.ids()
            .into_iter()
            .map(|(ifindex, _)| ifindex)
            .collect::<Vec<_>>()
    };
    assert_eq!(look(101, 101), [101]);
    assert_eq!(look(99, 101), [101], "the sweep saw an older one");
    assert_eq!(look(300, 300), [300]);
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_hardware_address_that_changed_is_in_the_maps_and_outlives_the_agent() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut former = pods(&folder, &maps, &mut fake);
    ask(&mut former, &mut fake, Call::Add(Box::new(add(1))));
    record(&folder, 1);
    let before = maps.ids();
    let mac = [2, 0, 0, 0, 0, 9];
    former.take(Event::Looked(Ok(vec![(101, mac)])), &mut fake, |_, _| None);
    let told = || {
        let endpoints = maps.endpoints.entries().unwrap();
        endpoints[0].1.pod_mac
    };
    assert_eq!(told(), mac);
    drop(former);
    let again = pods(&folder, &maps, &mut Fake::default());
    assert_eq!(
        (maps.ids(), told()),
        (before, mac),
        "id and address are kept"
    );
    assert_eq!(again.endpoints().len(), 1);
}

/// Pods without a network, as status, names and Events tell them: all by name.
fn cut_off(pods: &Pods) -> Vec<(String, EventReason)> {
    let mut status = Status::default();
    pods.status(&mut status);
    let notices = pods.notices();
    let told: Vec<_> = notices
        .iter()
        .map(|notice| (notice.object.to_string(), notice.reason))
        .collect();
    let shown: Vec<&String> = status.cni.cut_off.iter().map(|one| &one.pod).collect();
    assert!(shown.iter().copied().eq(told.iter().map(|(pod, _)| pod)));
    for (one, notice) in status.cni.cut_off.iter().zip(&notices) {
        assert!(one.why.contains(&one.interface), "{one:?}");
        assert_eq!(notice.note, format!("the pod has no network: {}", one.why));
    }
    told
}

#[test]
fn a_pod_whose_interface_is_gone_is_told_by_name_until_it_is_made_anew() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    for n in [1, 2] {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    assert_eq!(cut_off(&pods), []);
    (fake.gone, fake.broken) = (Some(101), Some(102));
    fake.attached.clear();
    pods.watch(&mut fake);
    let (gone, failed) = (EventReason::InterfaceGone, EventReason::ProgramsNotAttached);
    let told = |n: u32, reason| (format!("ns/p{n}"), reason);
    assert_eq!(cut_off(&pods), [told(1, gone), told(2, failed)]);
    fake.broken = None;
    pods.watch(&mut fake);
    assert_eq!(cut_off(&pods), [told(1, gone)]);
    record(&folder, 2);
    // Its addresses are given back, but it runs.
    let sweep = || Sweep {
        dead: vec![add(1).key],
        ..Sweep::default()
    };
    begin(&mut pods);
    let event = swept(&pods, sweep());
    pods.take(event, &mut fake, |_, _| None);
    assert_eq!(maps.counts()[0], 1);
    let mut snapshot = Snapshot::default();
    let name = ObjectName::new("ns", "p1");
    pods.review_forgotten(&snapshot);
    assert_eq!(cut_off(&pods), [told(1, gone)], "nobody knows its pod");
    snapshot.complete.0.insert(Kind::Pod);
    let pod = Pod {
        name: name.clone(),
        uid: add(1).pod.uid.as_str().into(),
        ..Pod::default()
    };
    snapshot.pods.insert(name.clone(), pod.into());
    pods.review_forgotten(&snapshot);
    assert_eq!(cut_off(&pods), [told(1, gone)]);
    snapshot.pods.remove(&name);
    pods.review_forgotten(&snapshot);
    assert_eq!(cut_off(&pods), []);
}

#[test]
fn one_that_has_an_interface_again_is_told_no_more() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    pods.lose(&add(1).key);
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    assert_eq!(cut_off(&pods).len(), 1);
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    pods.review_forgotten(&Snapshot::default());
    assert_eq!(cut_off(&pods), []);
}
