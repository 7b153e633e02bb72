use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::ctl::top::sample::{Brief, Slots};

const SERVICES: u32 = 3;

/// What becomes of a slot between two looks, as a story: not as the difference of two records.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Unused,
    /// A flow from before goes on.
    GoesOn,
    /// It ends and stays there to be seen.
    Ends,
    /// It was over already.
    WasOver,
    /// One begins where none was, or an old one that was over.
    Begins {
        over_old: bool,
    },
    /// One begins and ends.
    Flashes,
    /// One ends and another begins in its place.
    IsReplaced,
    /// One is over, and its slot is just being written.
    Vanishes,
}

const FATES: [Fate; 9] = [
    Fate::Unused,
    Fate::GoesOn,
    Fate::Ends,
    Fate::WasOver,
    Fate::Begins { over_old: false },
    Fate::Begins { over_old: true },
    Fate::Flashes,
    Fate::IsReplaced,
    Fate::Vanishes,
];

/// A flow of a generation: live or over, to a Service, between two ends.
fn flow(generation: u16, live: bool, (service, ends): (u32, [u16; 2])) -> Brief {
    Brief {
        generation,
        live,
        established: live,
        ends,
        service,
        straight: 0,
    }
}

type Whose = (u32, [u16; 2]);

fn records(fate: Fate, whose: Whose, generation: u16) -> [Option<Brief>; 2] {
    let next = generation.wrapping_add(1);
    let old = |live| Some(flow(generation, live, whose));
    let new = |live| Some(flow(next, live, whose));
    match fate {
        Fate::Unused => [None, None],
        Fate::GoesOn => [old(true), old(true)],
        Fate::Ends => [old(true), old(false)],
        Fate::WasOver => [old(false), old(false)],
        Fate::Begins { over_old: false } => [None, new(true)],
        Fate::Begins { over_old: true } => [old(false), new(true)],
        Fate::Flashes => [None, new(false)],
        Fate::IsReplaced => [old(true), new(true)],
        Fate::Vanishes => [old(true), None],
    }
}

/// Begun, ended, live: what the story says.
const fn told(fate: Fate) -> [u64; 3] {
    match fate {
        Fate::Unused | Fate::WasOver => [0, 0, 0],
        Fate::GoesOn => [0, 0, 1],
        Fate::Ends | Fate::Vanishes => [0, 1, 0],
        Fate::Begins { .. } => [1, 0, 1],
        Fate::Flashes => [1, 1, 0],
        Fate::IsReplaced => [1, 1, 1],
    }
}

fn whose() -> impl Strategy<Value = Whose> {
    (0..SERVICES, [0_u16..4, 0..4])
}

fn stories() -> impl Strategy<Value = Vec<(Fate, Whose, u16)>> {
    let fate = prop::sample::select(FATES.to_vec());
    prop::collection::vec((fate, whose(), any::<u16>()), 0..60)
}

fn samples(stories: &[(Fate, Whose, u16)]) -> [Sample; 2] {
    let (four, six) = stories.split_at(stories.len() / 2);
    [0, 1].map(|look| {
        let slots = [(7, four), (8, six)].map(|(map, stories)| Slots {
            map: Some(map),
            flows: stories
                .iter()
                .map(|(fate, whose, generation)| records(*fate, *whose, *generation)[look])
                .collect(),
        });
        Sample {
            at: Duration::from_secs(look as u64),
            slots,
            ..Sample::default()
        }
    })
}

fn sum(stories: &[(Fate, Whose, u16)], is_one: impl Fn(&Whose) -> bool) -> [u64; 3] {
    let of = stories.iter().filter(|(_, whose, _)| is_one(whose));
    of.fold([0; 3], |sum, (fate, ..)| {
        let told = told(*fate);
        [0, 1, 2].map(|n| sum[n] + told[n])
    })
}

const fn numbers(count: Count) -> [u64; 3] {
    [count.begun, count.ended, count.live]
}

proptest! {
    #[test]
    fn two_looks_tell_what_has_happened(stories in stories()) {
        let [before, after] = samples(&stories);
        let services = by_service(&before, &after, &BTreeMap::new());
        let (four, six) = stories.split_at(stories.len() / 2);
        for (family, stories) in [four, six].into_iter().enumerate() {
            for service in 1..SERVICES {
                let count = services.get(&(service, family)).copied().unwrap_or_default();
                prop_assert_eq!(numbers(count.asked), sum(stories, |(s, _)| *s == service));
                prop_assert!(count.straight.is_empty());
            }
            prop_assert!(!services.contains_key(&(0, family)));
        }
        let pods = by_pod(&before, &after);
        for end in 1..4 {
            let pod = pods.get(&end).copied().unwrap_or_default();
            prop_assert_eq!(numbers(pod.all), sum(&stories, |(_, ends)| ends.contains(&end)));
            prop_assert_eq!(pod.asked, sum(&stories, |(_, ends)| ends[0] == end)[0]);
            prop_assert_eq!(pod.served, sum(&stories, |(_, ends)| ends[1] == end)[0]);
        }
        prop_assert!(!pods.contains_key(&0));
    }

    #[test]
    fn in_exchanged_maps_nothing_has_happened_yet(stories in stories()) {
        let [mut before, after] = samples(&stories);
        for slots in &mut before.slots {
            slots.map = Some(1);
        }
        let services = by_service(&before, &after, &BTreeMap::new());
        let (four, six) = stories.split_at(stories.len() / 2);
        for ((service, family), count) in services {
            let live = sum([four, six][family], |(s, _)| *s == service)[2];
            prop_assert_eq!(numbers(count.asked), [0, 0, live]);
        }
    }
}

#[test]
fn a_straight_flow_counts_for_each_service_of_its_backend() {
    let straight = Brief {
        straight: 40,
        ..flow(1, true, (0, [5, 0]))
    };
    let sample = |flow| Sample {
        slots: [
            Slots {
                map: Some(7),
                flows: vec![flow],
            },
            Slots::default(),
        ],
        ..Sample::default()
    };
    let users = BTreeMap::from([(40, BTreeSet::from([2, 3])), (41, BTreeSet::from([4]))]);
    let counts = by_service(&sample(None), &sample(Some(straight)), &users);
    let of: Vec<((u32, usize), [u64; 3], bool)> = counts
        .iter()
        .map(|(id, count)| (*id, numbers(count.straight), count.asked.is_empty()))
        .collect();
    assert_eq!(of, [((2, 0), [1, 0, 1], true), ((3, 0), [1, 0, 1], true)]);
}

#[test]
fn drops_are_told_since_the_last_look_and_ever() {
    let counter = |packets, bytes| Counter { packets, bytes };
    let sample = |drops: &[(u32, Counter)]| Sample {
        drops: drops.iter().copied().collect(),
        ..Sample::default()
    };
    let before = sample(&[
        (3, counter(10, 600)),
        (4, counter(2, 80)),
        (9, counter(50, 50)),
    ]);
    let after = sample(&[
        (3, counter(13, 780)),
        (4, counter(2, 80)),
        (5, counter(0, 0)),
        (6, counter(1, 60)),
        // Counters that began anew.
        (9, counter(1, 1)),
    ]);
    let counts = by_reason(&before, &after);
    let of = |reason| counts.get(&reason).map(|c| (c.lately, c.ever));
    assert_eq!(of(3), Some((counter(3, 180), counter(13, 780))));
    assert_eq!(of(4), Some((counter(0, 0), counter(2, 80))));
    assert_eq!(of(5), None);
    assert_eq!(of(6), Some((counter(1, 60), counter(1, 60))));
    assert_eq!(of(9), Some((counter(0, 0), counter(1, 1))));
}
