//! Which pods are let in, and how an ADD is answered that is overtaken.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::oneshot;

use super::{
    Add, Asked, Call, Event, Fake, Maps, Missing, Pods, PodsConfig, Response, add, ask, pods,
};
use crate::{
    model::{Pod, PodExtras},
    pod::{Fetch, Works, fetch::Fetched},
    watchdog::Watchdog,
};

fn refusal(answer: &mut oneshot::Receiver<Response>) -> (u32, String) {
    match answer.try_recv().unwrap() {
        Response::Error(refusal) => (
            refusal.code,
            format!("{}; {}", refusal.msg, refusal.details),
        ),
        Response::Ok(_) => panic!("taken in"),
    }
}

#[test]
fn a_del_tells_the_add_that_waits() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let mut answer = ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    pods.settle(|_, _| Err(Missing::Policy));
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    let (code, text) = refusal(&mut answer);
    assert_eq!(code, 11);
    assert!(text.starts_with("ADD of pod ns/p1 was withdrawn"), "{text}");
}

#[test]
fn an_add_that_is_asked_again_stands_for_the_first() {
    let (folder, maps, mut fake) = (tempfile::tempdir().unwrap(), Maps::new(), Fake::default());
    let mut pods = pods(&folder, &maps, &mut fake);
    let mut first = ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    let mut second = ask(&mut pods, &mut fake, Call::Add(Box::new(add(1))));
    assert_eq!(refusal(&mut first).0, 11);
    pods.settle(|_, _| Ok(()));
    assert!(matches!(second.try_recv().unwrap(), Response::Ok(_)));
    assert_eq!(maps.counts(), [1; 5]);
}

/// Pods whose live reads give this, and how many there were.
fn reading(
    folder: &tempfile::TempDir,
    maps: &Maps,
    uids: [&str; 2],
) -> (Pods, Fake, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let (count, pod) = (Arc::clone(&reads), Arc::new(pod_of(uids)));
    let fetch: Fetch = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let fetched: Fetched = Ok(Some(Arc::clone(&pod)));
        Box::pin(async { fetched })
    });
    let config = PodsConfig {
        run_dir: folder.path().into(),
        limit: Arc::new(|| 16),
        fetch: Some(fetch),
        admit: Arc::new(|_| Ok(())),
        works: Works::new(&Watchdog::default()),
    };
    let mut fake = Fake::default();
    let pods = Pods::open(config, maps.tables(), &mut fake).unwrap();
    (pods, fake, reads)
}

/// A pod of this UID that mirrors a static pod of the other.
fn pod_of([uid, static_uid]: [&str; 2]) -> Pod {
    let extras = PodExtras {
        static_uid: static_uid.into(),
        ..PodExtras::default()
    };
    Pod {
        uid: uid.into(),
        extras: extras.kept(),
        ..Pod::default()
    }
}

/// An ADD of this UID, while the watch knows a pod of the name with these.
fn add_of(
    pods: &mut Pods,
    fake: &mut Fake,
    uid: &str,
    watched: [&str; 2],
) -> oneshot::Receiver<Response> {
    let mut add: Add = add(1);
    uid.clone_into(&mut add.pod.uid);
    let watched = pod_of(watched);
    let (reply, answer) = oneshot::channel();
    let call = Call::Add(Box::new(add));
    pods.take(Event::Asked(Asked { call, reply }), fake, |_, uid| {
        watched.is(uid).then(|| Arc::new(watched.clone()))
    });
    pods.attach(fake);
    answer
}

#[tokio::test]
async fn a_pod_that_the_watch_knows_by_name_alone_is_read() {
    let (folder, maps) = (tempfile::tempdir().unwrap(), Maps::new());
    let (mut pods, mut fake, reads) = reading(&folder, &maps, ["new", ""]);
    drop(add_of(&mut pods, &mut fake, "new", ["new", ""]));
    drop(add_of(&mut pods, &mut fake, "hash", ["mirror", "hash"]));
    assert_eq!(reads.load(Ordering::Relaxed), 0, "known");
    drop(add_of(&mut pods, &mut fake, "new", ["old", ""]));
    let event = super::next(&mut pods).await;
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert!(pods.take(event, &mut fake, |_, _| None));
    assert!(pods.endpoints()[0].fetched.is_some());
}

#[tokio::test]
async fn a_pod_that_is_another_by_its_uid_is_not_taken_for_it() {
    for (uids, is_it) in [(["other", ""], false), (["mirror", "hash"], true)] {
        let (folder, maps) = (tempfile::tempdir().unwrap(), Maps::new());
        let (mut pods, mut fake, _) = reading(&folder, &maps, uids);
        let mut answer = add_of(&mut pods, &mut fake, "hash", ["old", ""]);
        let event = super::next(&mut pods).await;
        pods.take(event, &mut fake, |_, _| None);
        assert_eq!(pods.endpoints()[0].fetched.is_some(), is_it);
        pods.settle(|_, _| Err(Missing::Policy));
        if !is_it {
            let (code, text) = refusal(&mut answer);
            assert_eq!(code, 11);
            assert!(text.contains("its UID is other, not hash"), "{text}");
        }
    }
}
