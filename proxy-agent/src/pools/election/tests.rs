//! Nodes on a link that loses frames, with a clock that the test turns.

use proptest::prelude::*;

use super::*;
use crate::{model::ObjectName, pools::asked::Given};

const STEP: Duration = Duration::from_millis(50);

fn given(addresses: u8) -> AllGiven {
    let of = |n: u8| {
        let services = BTreeSet::from([ObjectName::new("x", format!("s{n}"))]);
        (
            IpAddr::from([192, 0, 2, n]),
            Given {
                services,
                local: false,
                here: true,
            },
        )
    };
    (0..addresses).map(of).collect()
}

struct Machine {
    election: Election,
    next: Duration,
    dead: bool,
    willing: bool,
    /// Whether it has endpoints of the Services that need some.
    endpoints: bool,
    part: u8,
}

struct Link {
    machines: Vec<Machine>,
    now: Duration,
    given: AllGiven,
}

impl Link {
    fn new(machines: usize, addresses: u8) -> Self {
        let mut link = Self {
            machines: Vec::new(),
            now: Duration::from_secs(100),
            given: given(addresses),
        };
        (0..machines).for_each(|i| link.add(&format!("n{i}")));
        link
    }

    fn add(&mut self, name: &str) {
        self.machines.push(Machine {
            election: Election::begin(name, self.now),
            next: self.now,
            dead: false,
            willing: true,
            endpoints: true,
            part: 0,
        });
    }

    fn seen_by(&self, i: usize) -> AllGiven {
        let mut given = self.given.clone();
        let endpoints = self.machines[i].endpoints;
        for given in given.values_mut() {
            given.here = !given.local || endpoints;
        }
        given
    }

    /// Lets a while pass; `lost` says which frames are.
    fn pass(&mut self, time: Duration, lost: &mut impl FnMut() -> bool) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            for i in 0..self.machines.len() {
                self.step(i, lost);
            }
        }
    }

    fn step(&mut self, i: usize, lost: &mut impl FnMut() -> bool) {
        let (now, given) = (self.now, self.seen_by(i));
        let machine = &mut self.machines[i];
        if machine.dead {
            return;
        }
        let ready = machine.election.is_ready(now);
        machine.election.elect(now, &given, machine.willing);
        let becomes = machine.election.is_ready(now) != ready;
        if now < machine.next && !becomes {
            return;
        }
        machine.next = now + BEAT;
        let (part, beats) = (machine.part, machine.election.tell(now, "", &given));
        for (j, other) in self.machines.iter_mut().enumerate() {
            if j == i || other.dead || other.part != part {
                continue;
            }
            for beat in beats.iter().filter(|_| !lost()) {
                other.election.hear(now, beat.clone());
            }
        }
    }

    fn claimants(&self, ip: IpAddr) -> Vec<&str> {
        let living = self
            .machines
            .iter()
            .filter(|m| !m.dead && m.election.has(ip));
        living.map(|m| m.election.node.as_str()).collect()
    }

    fn check(&self, of_one: usize) -> Result<(), TestCaseError> {
        for ip in self.given.keys() {
            prop_assert_eq!(self.claimants(*ip).len(), of_one, "{}", ip);
        }
        Ok(())
    }
}

fn none() -> impl FnMut() -> bool {
    || false
}

#[test]
fn each_address_is_one_nodes_and_they_are_spread() {
    let mut link = Link::new(5, 200);
    link.pass(DEAD + BEAT, &mut none());
    link.check(1).unwrap();
    for machine in &link.machines {
        let count = machine.election.own().count();
        assert!((20..=65).contains(&count), "{count}");
    }
}

#[test]
fn what_a_dead_node_had_is_anothers_within_two_seconds_and_nothing_else_moves() {
    let mut link = Link::new(4, 50);
    link.pass(DEAD * 3, &mut none());
    let before: Vec<BTreeSet<IpAddr>> = link
        .machines
        .iter()
        .map(|m| m.election.own().collect())
        .collect();
    link.machines[0].dead = true;
    link.pass(Duration::from_millis(1950), &mut none());
    link.check(1).unwrap();
    for (machine, before) in link.machines.iter().zip(&before).skip(1) {
        assert!(before.iter().all(|ip| machine.election.has(*ip)));
    }
}

#[test]
fn whoever_comes_or_leaves_leaves_no_gap() {
    let mut link = Link::new(3, 50);
    link.pass(DEAD * 2, &mut none());
    link.add("new");
    let end = link.now + DEAD * 2;
    while link.now < end {
        link.pass(STEP, &mut none());
        for ip in link.given.keys() {
            assert!(!link.claimants(*ip).is_empty(), "{ip}");
        }
    }
    link.check(1).unwrap();
    assert!(link.machines[3].election.own().count() > 0);
    link.machines[0].willing = false;
    link.pass(BEAT * 2, &mut none());
    link.check(1).unwrap();
    assert_eq!(link.machines[0].election.own().count(), 0);
}

#[test]
fn only_nodes_with_endpoints_have_what_needs_them() {
    let mut link = Link::new(4, 30);
    link.given.values_mut().for_each(|given| given.local = true);
    (0..4).for_each(|i| link.machines[i].endpoints = i >= 2);
    link.pass(DEAD * 2, &mut none());
    link.check(1).unwrap();
    assert!(
        link.machines[..2]
            .iter()
            .all(|m| m.election.own().count() == 0)
    );
    (2..4).for_each(|i| link.machines[i].endpoints = false);
    link.pass(DEAD, &mut none());
    link.check(0).unwrap();
}

#[test]
fn a_link_that_is_cut_has_one_on_each_side_and_one_when_it_is_whole() {
    let mut link = Link::new(4, 30);
    link.pass(DEAD * 2, &mut none());
    (0..2).for_each(|i| link.machines[i].part = 1);
    link.pass(DEAD * 2, &mut none());
    link.check(2).unwrap();
    link.machines
        .iter_mut()
        .for_each(|m| while !m.election.due().is_empty() {});
    (0..2).for_each(|i| link.machines[i].part = 0);
    link.pass(DEAD, &mut none());
    link.check(1).unwrap();
    for machine in &mut link.machines {
        let own: Vec<IpAddr> = machine.election.own().collect();
        assert_eq!(machine.election.due(), own, "it is told again");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Kill(usize),
    Revive(usize),
    Willing(usize, bool),
    Endpoints(usize, bool),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let who = 0..5_usize;
    prop::collection::vec(
        prop_oneof![
            who.clone().prop_map(Event::Kill),
            who.clone().prop_map(Event::Revive),
            (who.clone(), any::<bool>()).prop_map(|(i, is)| Event::Willing(i, is)),
            (who, any::<bool>()).prop_map(|(i, is)| Event::Endpoints(i, is)),
            (0..3000_u64).prop_map(Event::Pass),
        ],
        0..20,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Whatever has happened and was lost: once it is quiet, each address is one node's if anybody may serve it, and nobody's
    /// else.
    #[test]
    fn in_the_end_each_address_is_one_nodes(events in events(), seed in any::<u64>()) {
        let mut link = Link::new(5, 12);
        for (ip, given) in &mut link.given {
            given.local = hash(*ip).is_multiple_of(2);
        }
        let mut dice = seed;
        let mut lost = move || { dice = mix(dice); dice % 5 == 0 };
        for event in events {
            match event {
                Event::Kill(i) => link.machines[i].dead = true,
                Event::Revive(i) if link.machines[i].dead => {
                    let name = link.machines[i].election.node.clone();
                    link.machines[i].election = Election::begin(&name, link.now);
                    link.machines[i].dead = false;
                }
                Event::Revive(_) => {}
                Event::Willing(i, is) => link.machines[i].willing = is,
                Event::Endpoints(i, is) => link.machines[i].endpoints = is,
                Event::Pass(millis) => link.pass(Duration::from_millis(millis), &mut lost),
            }
        }
        link.pass(DEAD * 3, &mut none());
        let able = link.machines.iter().filter(|m| !m.dead && m.willing);
        let able: Vec<bool> = able.map(|m| m.endpoints).collect();
        for (ip, given) in &link.given {
            let anybody = if given.local { able.contains(&true) } else { !able.is_empty() };
            let claimants = link.claimants(*ip);
            prop_assert_eq!(claimants.len(), usize::from(anybody), "{}: {:?}", ip, claimants);
            for i in 0..link.machines.len() {
                if !link.machines[i].dead {
                    let seen = link.seen_by(i);
                    prop_assert_eq!(link.machines[i].election.elected(link.now, *ip, &seen), claimants.first().copied());
                }
            }
        }
    }
}
