//! Pods over maps in memory and interfaces that only remember.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use cni_plugin::{
    attachment::{Attachment, State},
    ipam::file::write_json,
    node_file::boot_id,
    paths::Paths,
    rpc::{Add, Call, Key, PodRef, PortMapping, Response},
    wiring::queue,
};
use proxy_common::{endpoints::Endpoint, sockets::Client};
use tokio::sync::oneshot;

use super::{
    Event, Interfaces, Missing, PodTables, Pods, PodsConfig, Works,
    interfaces::{Attached, Lift},
    limits::{Done, Side},
    server::Asked,
};
use crate::{
    api::messages::Status,
    datapath::{DatapathError, Faults, Flows, MemoryTable, Table as _, TcMode},
    subject::Subject as _,
    watchdog::Watchdog,
};

mod admit;
mod flows;
mod lift;
mod limits;
mod upkeep;

use lift::FakeLifter;
use limits::FakeLimits;

#[derive(Default)]
struct Fake {
    attached: BTreeMap<u32, TcMode>,
    detached: Mutex<Vec<u32>>,
    /// How often it was asked to attach some.
    requests: usize,
    /// Cannot be attached.
    broken: Option<u32>,
    /// Is not there any more.
    gone: Option<u32>,
    lifter: Option<Arc<FakeLifter>>,
    limits: Mutex<FakeLimits>,
}

impl Interfaces for Fake {
    fn take_over(&self) -> Result<(), DatapathError> {
        Ok(())
    }

    fn attach(&mut self, interfaces: &[u32]) -> Result<Attached, DatapathError> {
        self.requests += 1;
        let attach = |ifindex: &u32| {
            if [self.broken, self.gone].contains(&Some(*ifindex)) {
                return Err(DatapathError::NoProgram("to_pod".to_owned()));
            }
            self.attached.insert(*ifindex, TcMode::Clsact);
            Ok(TcMode::Clsact)
        };
        Ok(interfaces.iter().map(attach).collect())
    }

    fn is_there(&self, ifindex: u32) -> bool {
        self.gone != Some(ifindex)
    }

    fn detach(&self, ifindex: u32) -> Result<(), DatapathError> {
        self.detached.lock().unwrap().push(ifindex);
        Ok(())
    }

    fn attached(&self, _interfaces: &[u32]) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
        Ok(self.attached.clone())
    }

    fn limit(&self, sides: &[Side]) -> io::Result<Vec<io::Result<Done>>> {
        Ok(self.limits.lock().unwrap().limit(sides))
    }

    fn attach_entry(&mut self, entry: u32) -> Result<(), DatapathError> {
        self.limits.lock().unwrap().entries.insert(entry);
        Ok(())
    }

    fn has_entry(&self, entry: u32) -> Result<bool, DatapathError> {
        Ok(self.limits.lock().unwrap().entries.contains(&entry))
    }

    fn forget_limits(&self, key: &Key, ifindex: u32) -> io::Result<()> {
        let own = [ifindex, queue::entry(ifindex)];
        self.keep_paces(&|at| !own.contains(&at))?;
        self.remove_queue(key).map(drop)
    }

    fn keep_paces(&self, keep: &dyn Fn(u32) -> bool) -> io::Result<()> {
        self.limits.lock().unwrap().paces.retain(|at| keep(*at));
        Ok(())
    }

    fn remove_queue(&self, key: &Key) -> io::Result<bool> {
        Ok(self.limits.lock().unwrap().queues.remove(key).is_some())
    }

    fn remove_queues(&self, keep: &BTreeSet<String>) -> io::Result<()> {
        self.limits.lock().unwrap().remove_queues(keep);
        Ok(())
    }

    fn lifter(&self) -> Result<Option<Arc<dyn Lift>>, DatapathError> {
        Ok(self.lifter.clone().map(|lifter| lifter as Arc<dyn Lift>))
    }
}

struct Maps {
    endpoints: MemoryTable<u32, Endpoint>,
    interfaces: MemoryTable<u32, u32>,
    clients: MemoryTable<u64, Client>,
    local4: MemoryTable<u32, u32>,
    local6: MemoryTable<[u32; 4], u32>,
    flows: [Flows; 2],
}

impl Maps {
    fn new() -> Self {
        let faults = || Faults::new(1, 0);
        Self {
            endpoints: MemoryTable::new("ENDPOINTS", 64, faults()),
            interfaces: MemoryTable::new("INTERFACES", 64, faults()),
            clients: MemoryTable::new("CLIENTS", 64, faults()),
            local4: MemoryTable::new("LOCAL_PODS4", 64, faults()),
            local6: MemoryTable::new("LOCAL_PODS6", 64, faults()),
            flows: [Flows::memory(8), Flows::memory(8)],
        }
    }

    fn tables(&self) -> PodTables {
        PodTables {
            endpoints: Box::new(self.endpoints.clone()),
            interfaces: Box::new(self.interfaces.clone()),
            clients: Box::new(self.clients.clone()),
            local4: Box::new(self.local4.clone()),
            local6: Box::new(self.local6.clone()),
            flows: self.flows.clone(),
        }
    }

    fn ids(&self) -> Vec<(u32, u32)> {
        let entries = self.endpoints.entries().unwrap();
        entries.into_iter().map(|(id, e)| (e.ifindex, id)).collect()
    }

    fn counts(&self) -> [usize; 5] {
        [
            self.endpoints.entries().unwrap().len(),
            self.interfaces.entries().unwrap().len(),
            self.clients.entries().unwrap().len(),
            self.local4.entries().unwrap().len(),
            self.local6.entries().unwrap().len(),
        ]
    }
}

fn pods(folder: &tempfile::TempDir, maps: &Maps, interfaces: &mut Fake) -> Pods {
    let config = PodsConfig {
        run_dir: folder.path().into(),
        limit: Arc::new(|| 16),
        fetch: None,
        admit: Arc::new(|_| Ok(())),
        works: Works::new(&Watchdog::default()),
    };
    Pods::open(config, maps.tables(), interfaces).unwrap()
}

fn add(n: u32) -> Add {
    Add {
        key: Key {
            container_id: format!("c{n}"),
            ifname: "eth0".into(),
        },
        netns_cookie: 4000 + u64::from(n),
        host_ifindex: 100 + n,
        host_ifname: format!("weir{n:011x}"),
        ips: vec![
            format!("10.0.0.{n}").parse().unwrap(),
            format!("fd00::{n}").parse().unwrap(),
        ],
        pod: PodRef {
            namespace: "ns".into(),
            name: format!("p{n}"),
            uid: String::new(),
        },
        ..Add::default()
    }
}

/// What the plugin writes once an ADD is done.
fn record(folder: &tempfile::TempDir, n: u32) {
    let attachment = Attachment {
        state: State::Ready,
        boot_id: boot_id().unwrap(),
        add: add(n),
        ..Attachment::default()
    };
    let path = Paths::new(folder.path()).attachment(attachment.key());
    write_json(&path, &attachment).unwrap();
}

fn ask(pods: &mut Pods, interfaces: &mut Fake, call: Call) -> oneshot::Receiver<Response> {
    let answer = take(pods, interfaces, call);
    pods.attach(interfaces);
    answer
}

fn take(pods: &mut Pods, interfaces: &mut Fake, call: Call) -> oneshot::Receiver<Response> {
    let (reply, answer) = oneshot::channel();
    pods.take(Event::Asked(Asked { call, reply }), interfaces, |_, _| {
        Some(Arc::default())
    });
    answer
}

/// The next event.
async fn next(pods: &mut Pods) -> Event {
    pods.changed().await;
    pods.next().unwrap()
}

#[test]
fn a_crowd_is_attached_in_one_go_and_who_cannot_be_is_refused_alone() {
    let (folder, maps) = (tempfile::tempdir().unwrap(), Maps::new());
    let mut fake = Fake {
        broken: Some(102),
        ..Fake::default()
    };
    let mut pods = pods(&folder, &maps, &mut fake);
    let mut answers: Vec<_> = (1..=3)
        .map(|n| take(&mut pods, &mut fake, Call::Add(Box::new(add(n)))))
        .collect();
    pods.settle(|_, _| Ok(()));
    for answer in &mut answers {
        assert!(answer.try_recv().is_err(), "answered before its programs");
    }
    let told = |pods: &Pods| {
        let mut status = Status::default();
        pods.status(&mut status);
        (status.cni.pods, status.cni.clsact)
    };
    assert_eq!(told(&pods), (0, 0), "nobody lacks programs yet");
    assert!(pods.attach(&mut fake), "an endpoint went");
    assert_eq!(fake.requests, 1);
    pods.settle(|_, _| Ok(()));
    let good = |answer: &mut oneshot::Receiver<Response>| {
        matches!(answer.try_recv().unwrap(), Response::Ok(_))
    };
    let good: Vec<bool> = answers.iter_mut().map(good).collect();
    assert_eq!(good, [true, false, true]);
    assert_eq!(maps.counts(), [2; 5]);
    assert_eq!(told(&pods), (2, 2));
}

#[test]
fn an_add_is_answered_when_its_policy_is_in_force_and_not_before() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let mut answer = ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    assert!(fake.attached.contains_key(&101));
    assert_eq!(maps.counts(), [1; 5]);
    let endpoint = pods.endpoints()[0].id;
    pods.settle(|_, _| Err(Missing::Policy));
    assert!(answer.try_recv().is_err(), "answered before policy");
    pods.settle(|id, _| (id == endpoint).then_some(()).ok_or(Missing::Policy));
    assert!(
        matches!(answer.try_recv().unwrap(), Response::Ok(reply) if reply.endpoint == endpoint)
    );
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    assert_eq!(maps.counts(), [0; 5]);
}

#[test]
fn a_restart_keeps_ids_and_drops_what_has_no_record() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut former = pods(&folder, &maps, &mut fake);
    for n in 1..=5 {
        ask(&mut former, &mut fake, Call::Add(Box::new(add(n))));
    }
    let before = maps.ids();
    for n in [2, 4, 5] {
        record(&folder, n);
    }
    drop(former);
    let mut fake = Fake::default();
    let again = pods(&folder, &maps, &mut fake);
    let kept: Vec<_> = before
        .into_iter()
        .filter(|(ifindex, _)| [102, 104, 105].contains(ifindex))
        .collect();
    assert_eq!(maps.ids(), kept);
    assert_eq!(maps.counts(), [3; 5]);
    assert_eq!(again.endpoints().len(), 3);
    assert!(fake.attached.into_keys().eq([102, 104, 105]));
}

#[test]
fn when_ids_run_out_the_add_is_refused_whole() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    for n in 1..16 {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    let mut answer = ask(&mut pods, &mut fake, Call::Add(Box::new(add(16))));
    assert!(matches!(answer.try_recv().unwrap(), Response::Error(refusal) if refusal.code == 100));
    assert_eq!(maps.counts(), [15; 5]);
}

#[test]
fn a_map_that_refuses_undoes_the_add() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    maps.local6.set_faults(Faults::new(1, 100));
    let mut answer = ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    assert!(matches!(answer.try_recv().unwrap(), Response::Error(refusal) if refusal.code == 101));
    assert!(pods.endpoints().is_empty());
    assert_eq!(maps.counts(), [0; 5]);
}

/// An ADD with a `hostPort`.
fn add_with_port(n: u32, host_ip: &str) -> Box<Add> {
    let ports = vec![PortMapping {
        host_port: 80,
        container_port: 8080,
        protocol: "tcp".into(),
        host_ip: host_ip.into(),
    }];
    Box::new(Add { ports, ..add(n) })
}

#[test]
fn host_ports_hold_an_add_up_and_go_with_a_del() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let mut answer = ask(&mut pods, &mut fake, Call::Add(add_with_port(1, "")));
    let all = pods.host_ports();
    let names: Vec<&str> = all.iter().map(|(pod, _)| pod.as_str()).collect();
    assert_eq!(names, ["ns/p1"]);
    assert_eq!(all[0].1.len(), 2, "both families");
    pods.settle(|_, pod| {
        assert_eq!(pod, "ns/p1");
        Err(Missing::HostPorts("no room".into()))
    });
    assert!(
        answer.try_recv().is_err(),
        "answered before its hostPort serves"
    );
    pods.settle(|_, _| Ok(()));
    assert!(matches!(answer.try_recv().unwrap(), Response::Ok(_)));
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    assert!(pods.host_ports().is_empty());
}

#[test]
fn a_host_port_that_makes_no_sense_is_refused() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let mut answer = ask(&mut pods, &mut fake, Call::Add(add_with_port(1, "node")));
    let Response::Error(refusal) = answer.try_recv().unwrap() else {
        panic!("taken in")
    };
    assert_eq!(refusal.code, 7);
    assert!(
        refusal.details.starts_with("hostPort 80: hostIP `node`"),
        "{refusal:?}"
    );
    assert_eq!(maps.counts(), [0; 5]);
}
