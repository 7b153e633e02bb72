//! Limits of bandwidth: who has the last word, and in which order things are done.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use cni_plugin::{
    rpc::{Add, Bandwidth, Call, Key, Reply, Response},
    wiring::{bucket::Limit, name, queue},
};
use proxy_common::endpoints::{ENDPOINT_PACED, ENDPOINT_QUEUED, ENDPOINT_SHAPED};
use tokio::sync::oneshot;

use super::{Fake, Maps, add, ask, pods, record};
use crate::{
    datapath::Table as _,
    model::{Asked, AskedLimits, EventReason, Pod, PodExtras},
    pod::{
        Pods,
        limits::{Done, Limits, Side, Way, Ways},
    },
};

/// What a kernel would have.
#[derive(Default)]
pub(super) struct FakeLimits {
    pub(super) ingress: BTreeMap<Key, Limit>,
    pub(super) queues: BTreeMap<Key, Limit>,
    /// What programs know of, by interface.
    pub(super) paces: BTreeSet<u32>,
    /// Entries of queues with their program.
    pub(super) entries: BTreeSet<u32>,
    /// It has a queue for times of departure.
    times: bool,
    /// What it says of any limit.
    fails: Option<i32>,
}

impl FakeLimits {
    pub(super) fn limit(&mut self, sides: &[Side]) -> Vec<io::Result<Done>> {
        sides.iter().map(|side| self.limit_one(side)).collect()
    }

    fn limit_one(&mut self, side: &Side) -> io::Result<Done> {
        let Limits { ingress, egress } = side.limits;
        if let Some(error) = self.fails.filter(|_| ingress.or(egress).is_some()) {
            return Err(io::Error::from_raw_os_error(error));
        }
        let former = match ingress {
            Some(limit) => self.ingress.insert(side.key.clone(), limit),
            None => self.ingress.remove(&side.key),
        };
        let mut changed = former != ingress;
        if let Some(limit) = egress {
            changed |= self.queues.insert(side.key.clone(), limit) != Some(limit);
        }
        let ways = Ways {
            ingress: self.way(side.index, ingress),
            egress: self.way(queue::entry(side.index), egress),
        };
        Ok(Done { changed, ways })
    }

    fn way(&mut self, index: u32, limit: Option<Limit>) -> Option<Way> {
        self.paces.remove(&index);
        limit?;
        if !self.times {
            return Some(Way::Bucket);
        }
        self.paces.insert(index);
        Some(Way::Edt)
    }

    pub(super) fn remove_queues(&mut self, keep: &BTreeSet<String>) {
        self.queues.retain(|key, _| {
            name::queue_ifnames(key)
                .iter()
                .all(|name| keep.contains(name))
        });
    }
}

fn told(ingress: u64, egress: u64) -> Box<Add> {
    Box::new(Add {
        bandwidth: Some(Bandwidth {
            ingress_rate: ingress,
            ingress_burst: u64::from(u32::MAX),
            egress_rate: egress,
            egress_burst: u64::from(u32::MAX),
        }),
        ..add(1)
    })
}

fn annotate(pods: &mut Pods, fake: &mut Fake, ingress: Asked, egress: Asked) {
    let extras = PodExtras {
        limits: Some(AskedLimits { ingress, egress }),
        ..PodExtras::default()
    };
    let pod = std::sync::Arc::new(Pod {
        extras: extras.kept(),
        ..Pod::default()
    });
    pods.follow_pods(fake, |_, _| Some(std::sync::Arc::clone(&pod)));
}

fn answer(pods: &mut Pods, mut of: oneshot::Receiver<Response>) -> Result<Reply, String> {
    pods.settle(|_, _| Ok(()));
    match of.try_recv().unwrap() {
        Response::Ok(reply) => Ok(reply),
        Response::Error(refusal) => Err(format!("{}: {}", refusal.msg, refusal.details)),
    }
}

fn in_force(fake: &Fake) -> [Option<u64>; 2] {
    let limits = fake.limits.lock().unwrap();
    let rate = |of: &BTreeMap<Key, Limit>| of.get(&add(1).key).map(|limit| limit.rate);
    [rate(&limits.ingress), rate(&limits.queues)]
}

fn flags(maps: &Maps) -> u32 {
    maps.endpoints.entries().unwrap()[0].1.flags
}

const BOTH: u32 = ENDPOINT_SHAPED | ENDPOINT_QUEUED;

#[test]
fn annotations_have_the_last_word_on_what_they_speak_of() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let asked = ask(&mut pods, &mut fake, Call::Add(told(10_000, 20_000)));
    assert_eq!(in_force(&fake), [Some(10_000), Some(20_000)]);
    assert_eq!(flags(&maps), BOTH);
    assert!(fake.attached.contains_key(&queue::end(101)));
    annotate(&mut pods, &mut fake, Some(Ok(10_000)), None);
    let own = answer(&mut pods, asked).unwrap().bandwidth.unwrap();
    assert_eq!((own.ingress_rate, own.egress_rate), (0, 20_000));

    annotate(&mut pods, &mut fake, Some(Ok(30_000)), None);
    assert_eq!(in_force(&fake), [Some(30_000), Some(20_000)]);
    // What the Pod never spoke of stays as the runtime told it.
    annotate(&mut pods, &mut fake, None, None);
    assert_eq!(in_force(&fake), [None, Some(20_000)]);
    assert_eq!(flags(&maps), ENDPOINT_QUEUED);
    annotate(&mut pods, &mut fake, None, Some(Ok(5_000)));
    assert_eq!(in_force(&fake), [None, Some(5_000)]);
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    assert_eq!(in_force(&fake), [None, None]);
}

#[test]
fn nonsense_refuses_an_add_and_leaves_what_is_in_force() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let nonsense = || Some(Err("resource is unreasonably small (< 1kbit)".to_owned()));
    let asked = ask(&mut pods, &mut fake, Call::Add(told(0, 0)));
    annotate(&mut pods, &mut fake, nonsense(), None);
    let why = answer(&mut pods, asked).unwrap_err();
    assert!(
        why.contains("annotations of pod ns/p1") && why.contains("< 1kbit"),
        "{why}"
    );

    let asked = ask(&mut pods, &mut fake, Call::Add(told(0, 0)));
    annotate(&mut pods, &mut fake, Some(Ok(9_000)), Some(Ok(8_000)));
    answer(&mut pods, asked).unwrap();
    annotate(&mut pods, &mut fake, nonsense(), Some(Ok(7_000)));
    assert_eq!(in_force(&fake), [Some(9_000), Some(7_000)]);
    let notices = pods.notices_of_limits();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].reason, EventReason::InvalidBandwidth);
    annotate(&mut pods, &mut fake, None, None);
    assert_eq!(pods.notices_of_limits(), []);
    assert_eq!((in_force(&fake), flags(&maps)), ([None, None], 0));
}

#[test]
fn a_kernel_that_cannot_is_told_of_and_one_that_fails_holds_the_add_up() {
    for (error, reason) in [
        (libc::ENOENT, EventReason::BandwidthNotPossible),
        (libc::ENOMEM, EventReason::BandwidthNotInForce),
    ] {
        let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
        let mut pods = pods(&folder, &maps, &mut fake);
        fake.limits.lock().unwrap().fails = Some(error);
        let mut asked = ask(&mut pods, &mut fake, Call::Add(told(10_000, 20_000)));
        pods.settle(|_, _| Ok(()));
        assert_eq!(pods.notices_of_limits()[0].reason, reason);
        assert_eq!((in_force(&fake), flags(&maps)), ([None, None], 0));
        assert_eq!(asked.try_recv().is_ok(), error == libc::ENOENT);
        fake.limits.lock().unwrap().fails = None;
        pods.watch_limits(&mut fake);
        let mends = error != libc::ENOENT;
        assert_eq!(pods.notices_of_limits().is_empty(), mends);
        assert_eq!(flags(&maps), if mends { BOTH } else { 0 });
    }
}

#[test]
fn after_a_restart_all_is_as_it_was_until_the_pod_is_known() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut former = pods(&folder, &maps, &mut fake);
    ask(&mut former, &mut fake, Call::Add(Box::new(add(1))));
    annotate(&mut former, &mut fake, Some(Ok(4_000)), Some(Ok(6_000)));
    record(&folder, 1);
    drop(former);
    let mut pods = pods(&folder, &maps, &mut fake);
    pods.watch_limits(&mut fake);
    let before = ([Some(4_000), Some(6_000)], BOTH);
    assert_eq!((in_force(&fake), flags(&maps)), before);
    assert_eq!(pods.limited(), 1);
    annotate(&mut pods, &mut fake, None, Some(Ok(6_000)));
    let after = ([None, Some(6_000)], ENDPOINT_QUEUED);
    assert_eq!((in_force(&fake), flags(&maps)), after);
}

#[test]
fn where_the_kernel_has_departure_times_programs_know_of_limits_until_these_go() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    fake.limits.lock().unwrap().times = true;
    let _asked = ask(&mut pods, &mut fake, Call::Add(told(10_000, 20_000)));
    let known = |fake: &Fake| {
        let limits = fake.limits.lock().unwrap();
        limits.paces.iter().copied().collect::<Vec<_>>()
    };
    let entry = queue::entry(101);
    assert_eq!(known(&fake), [101, entry]);
    assert_eq!(flags(&maps), BOTH | ENDPOINT_PACED);
    assert_eq!((pods.limited(), pods.timed()), (1, 1));
    // Who takes the program of the entry off finds it back.
    assert!(fake.limits.lock().unwrap().entries.remove(&entry));
    // As another agent's, of a pod that is gone.
    fake.limits.lock().unwrap().paces.insert(7);
    pods.watch_limits(&mut fake);
    assert!(fake.limits.lock().unwrap().entries.contains(&entry));
    assert_eq!(known(&fake), [101, entry]);
    annotate(&mut pods, &mut fake, Some(Ok(10_000)), None);
    annotate(&mut pods, &mut fake, None, None);
    assert_eq!((known(&fake), flags(&maps)), (vec![entry], ENDPOINT_QUEUED));
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    assert!(known(&fake).is_empty());
}
