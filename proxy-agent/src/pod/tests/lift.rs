//! When interfaces are lifted, and what becomes of those that went meanwhile.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Call, Event, Fake, Maps, Pods, add, ask, pods};
use crate::{
    datapath::{DatapathError, Lifted, TcMode},
    pod::interfaces::Lift,
};

/// Notes what it is asked to lift.
#[derive(Default)]
pub(super) struct FakeLifter {
    asked: Mutex<Vec<u32>>,
    /// The kernel has no TCX.
    never: bool,
    /// Each lift takes until it is told to stop.
    slow: bool,
    begun: AtomicBool,
}

impl Lift for FakeLifter {
    fn lift(&self, ifindex: u32, go_on: &dyn Fn() -> bool) -> Result<Lifted, DatapathError> {
        self.asked.lock().unwrap().push(ifindex);
        self.begun.store(true, Ordering::Release);
        if self.never {
            return Ok(Lifted::Never);
        }
        while self.slow && go_on() {
            std::thread::yield_now();
        }
        Ok(if self.slow {
            Lifted::Later
        } else {
            Lifted::Done
        })
    }
}

/// Pods on a node that has been quiet for a while.
async fn quiet(lifter: FakeLifter, count: u32) -> (Pods, Fake, Arc<FakeLifter>) {
    let folder = tempfile::tempdir().unwrap();
    let lifter = Arc::new(lifter);
    let mut fake = Fake {
        lifter: Some(Arc::clone(&lifter)),
        ..Fake::default()
    };
    let mut pods = pods(&folder, &Maps::new(), &mut fake);
    // It would look at the machine.
    pods.next_sweep += Duration::from_hours(1);
    pods.looking.running = true;
    pods.keeping.running = true;
    for n in 1..=count {
        ask(&mut pods, &mut fake, Call::Add(Box::new(add(n))));
    }
    pods.settle(|_, _| Ok(()));
    take(&mut pods, &mut fake, Event::Tick);
    assert!(lifter.asked.lock().unwrap().is_empty(), "at once");
    tokio::time::advance(Duration::from_secs(3)).await;
    (pods, fake, lifter)
}

fn take(pods: &mut Pods, fake: &mut Fake, event: Event) {
    pods.take(event, fake, |_, _| Some(Arc::default()));
}

/// A tick, and what comes of it.
async fn lift(pods: &mut Pods, fake: &mut Fake) {
    take(pods, fake, Event::Tick);
    let event = super::next(pods).await;
    assert!(matches!(event, Event::Lifted(_)), "{event:?}");
    take(pods, fake, event);
}

fn modes(pods: &Pods) -> [usize; 2] {
    [TcMode::Clsact, TcMode::Tcx].map(|mode| pods.attached(mode))
}

#[tokio::test(start_paused = true)]
async fn interfaces_of_a_quiet_node_are_lifted_a_few_at_a_time() {
    let (mut pods, mut fake, lifter) = quiet(FakeLifter::default(), 5).await;
    assert_eq!(modes(&pods), [5, 0]);
    lift(&mut pods, &mut fake).await;
    assert_eq!(modes(&pods), [1, 4]);
    lift(&mut pods, &mut fake).await;
    assert_eq!(modes(&pods), [0, 5]);
    take(&mut pods, &mut fake, Event::Tick);
    assert!(pods.next().is_none(), "all is done");
    assert_eq!(lifter.asked.lock().unwrap().len(), 5, "each once");
}

#[tokio::test(start_paused = true)]
async fn an_add_ends_the_lifting() {
    let slow = FakeLifter {
        slow: true,
        ..FakeLifter::default()
    };
    let (mut pods, mut fake, _lifter) = quiet(slow, 2).await;
    take(&mut pods, &mut fake, Event::Tick);
    ask(&mut pods, &mut fake, Call::Add(Box::new(add(3))));
    // It would go on for ever.
    let event = super::next(&mut pods).await;
    take(&mut pods, &mut fake, event);
    assert_eq!(modes(&pods), [3, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_went_while_it_was_lifted_is_detached() {
    let slow = FakeLifter {
        slow: true,
        ..FakeLifter::default()
    };
    let (mut pods, mut fake, lifter) = quiet(slow, 1).await;
    take(&mut pods, &mut fake, Event::Tick);
    while !lifter.begun.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    ask(&mut pods, &mut fake, Call::Del(add(1).key));
    fake.detached.lock().unwrap().clear();
    let event = super::next(&mut pods).await;
    take(&mut pods, &mut fake, event);
    assert_eq!(*fake.detached.lock().unwrap(), [101]);
}

#[tokio::test(start_paused = true)]
async fn without_tcx_it_is_tried_once() {
    let never = FakeLifter {
        never: true,
        ..FakeLifter::default()
    };
    let (mut pods, mut fake, lifter) = quiet(never, 1).await;
    lift(&mut pods, &mut fake).await;
    take(&mut pods, &mut fake, Event::Tick);
    assert!(pods.next().is_none());
    assert_eq!(
        (lifter.asked.lock().unwrap().len(), modes(&pods)),
        (1, [1, 0])
    );
}
