use proptest::prelude::*;

use super::*;

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// What may come to pass.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// The agent looks, and is killed after so many steps: what they left is what the next one finds.
    Look { steps: usize },
    /// It publishes what it has; the API server may be away.
    Publish { lands: bool },
    /// It has seen what the API server has.
    Watch,
    /// Others have.
    Peers,
    /// The key has become old.
    Ages,
    /// Somebody removes the file of the present key.
    Removes,
    /// Another node has published the same key.
    Shared,
}

/// A node, the API server, and another node.
#[derive(Debug, Default)]
struct World {
    held: Held,
    /// What the API server has, what the node has seen of it, and what another node has.
    published: Option<PublicKey>,
    seen: Option<PublicKey>,
    peer: Option<PublicKey>,
    shared: bool,
    made: u8,
}

impl World {
    fn fresh(&mut self) -> PublicKey {
        self.made += 1;
        key(self.made)
    }

    /// One step; whether there was any.
    fn steps(&mut self) -> bool {
        let shown = Shown {
            own: self.seen,
            shared: self.shared,
        };
        match self.held.step(shown) {
            Step::Stay => {
                self.held.device = self.held.present;
                return false;
            }
            Step::Begin => self.held.present = Some(self.fresh()),
            Step::Prepare => self.held.next = Some(self.fresh()),
            Step::Restore => self.held.present = self.held.device,
            Step::Adopt => {
                self.held.present = self.held.next.take();
                self.held.age = Age::Young;
                self.shared = false;
            }
        }
        true
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Look { steps } => {
                for _ in 0..steps {
                    if !self.steps() {
                        break;
                    }
                }
            }
            Happens::Publish { lands } => {
                if lands && self.held.device.is_some() {
                    self.published = self.held.next.or(self.held.present);
                }
            }
            Happens::Watch => self.seen = self.published,
            Happens::Peers => self.peer = self.published,
            Happens::Ages => self.held.age = Age::Old,
            Happens::Removes => self.held.present = None,
            Happens::Shared => {
                self.shared = true;
                self.held.age = Age::Settled;
            }
        }
    }

    /// All is told and seen.
    fn settles(&mut self) {
        for _ in 0..3 {
            self.happens(Happens::Look { steps: 9 });
            self.happens(Happens::Publish { lands: true });
            self.happens(Happens::Watch);
            self.happens(Happens::Peers);
        }
        self.happens(Happens::Look { steps: 9 });
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0_usize..4).prop_map(|steps| Happens::Look { steps }),
        4 => any::<bool>().prop_map(|lands| Happens::Publish { lands }),
        4 => Just(Happens::Watch),
        4 => Just(Happens::Peers),
        1 => Just(Happens::Ages),
        1 => Just(Happens::Removes),
        1 => Just(Happens::Shared),
    ]
}

proptest! {
    /// In whatever order: the device never has a key that the API server was not seen to have, once it has had one; and in the end
    /// all know the same one.
    #[test]
    fn no_key_is_used_before_others_can_know_it(all in prop::collection::vec(happens(), 0..60)) {
        let mut world = World::default();
        world.settles();
        for what in all {
            let (before, seen) = (world.held.device, world.seen);
            world.happens(what);
            let after = world.held.device;
            prop_assert!(after == before || after == seen, "{what:?}: {world:?}");
            prop_assert!(after.is_some());
        }
        world.settles();
        prop_assert_eq!(world.held.device, world.peer);
        prop_assert_eq!(world.held.next, None);
    }

    /// While the API server takes nothing, whatever happens at the node, it is spoken to with the key that others know.
    #[test]
    fn nothing_changes_while_the_api_server_is_away(all in prop::collection::vec(happens(), 0..60)) {
        let mut world = World::default();
        world.settles();
        let known = world.peer;
        for what in all {
            let what = match what {
                Happens::Publish { .. } => Happens::Publish { lands: false },
                what => what,
            };
            world.happens(what);
            prop_assert_eq!(world.held.device, known, "{:?}", what);
        }
    }
}

#[test]
fn what_asks_for_another_key() {
    let held = |age| Held {
        present: Some(key(1)),
        device: Some(key(1)),
        age,
        ..Held::default()
    };
    let (own, shared) = (
        Shown {
            own: Some(key(1)),
            shared: false,
        },
        Shown {
            own: Some(key(1)),
            shared: true,
        },
    );
    for (age, shown, step) in [
        (Age::Young, own, Step::Stay),
        (Age::Settled, own, Step::Stay),
        (Age::Old, own, Step::Prepare),
        (Age::Young, shared, Step::Stay),
        (Age::Settled, shared, Step::Prepare),
        (Age::Old, shared, Step::Prepare),
    ] {
        assert_eq!(held(age).step(shown), step, "{age:?} {shown:?}");
    }
    // A machine that has booted has no device, and whoever knows the former key nobody can answer.
    let booted = Held {
        next: Some(key(2)),
        ..Held::default()
    };
    assert_eq!(booted.step(own), Step::Adopt);
    assert_eq!(Held::default().step(own), Step::Begin);
}
