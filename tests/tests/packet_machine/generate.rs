//! Random steps: mostly packets of flows that there are, or were, and of others so like them that they meet.

use std::net::{IpAddr, SocketAddr};

use proptest::{
    prelude::RngExt as _,
    test_runner::{RngAlgorithm, TestRng},
};
use proxy_common::address::{TCP, UDP};
use weir_tests::{
    flow_table::{ICMP, Tuple},
    packets::{FAMILIES, Hook, Plan},
};

use super::{
    flow::Flow,
    model::Model,
    packet::{Kind, Packet, Part, Segment},
    world::{Change, Place, place, plan},
};

/// A step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Put(Packet),
    /// Time goes by for a flow: so many seconds are left, or it ended so many ago.
    Age(u64, i32),
    Change(Change),
}

/// Flows that ended are remembered for a while: their packets come late.
const REMEMBERED: usize = 32;
/// Beyond what any receiver has acknowledged.
const IMPLAUSIBLE: u32 = 1 << 31;

/// The generator.
#[derive(Debug)]
pub(crate) struct Generator {
    random: TestRng,
    remembered: Vec<Tuple>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            random: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
            remembered: Vec::new(),
        }
    }

    /// One of some.
    fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.random.random_range(0..some.len())]
    }

    /// True so many times in a hundred.
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// What happens next.
    pub(crate) fn step(&mut self, model: &Model) -> Step {
        match self.random.random_range(0..100) {
            0..3 => Some(Step::Change(self.change(model))),
            3..7 => self.age(model),
            7..14 => self.error(model).map(Step::Put),
            14..75 => self.known(model).map(Step::Put),
            75..82 => self.late().map(Step::Put),
            _ => None,
        }
        .unwrap_or_else(|| Step::Put(self.fresh()))
    }

    fn age(&mut self, model: &Model) -> Option<Step> {
        let left = self.of(&[-1, -2, -3, -60, 5, 8, 100]);
        Some(Step::Age(self.flow(model)?, left))
    }

    fn flow(&mut self, model: &Model) -> Option<u64> {
        let count = model.flows.len();
        if count == 0 {
            return None;
        }
        let chosen = self.random.random_range(0..count);
        model.flows.keys().nth(chosen).copied()
    }

    /// A packet of a flow that there is.
    fn known(&mut self, model: &Model) -> Option<Packet> {
        let flow = &model.flows[&self.flow(model)?];
        let direction = self.random.random_range(0..2);
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(flow.arrives(direction));
        } else {
            let place = self.random.random_range(0..REMEMBERED);
            self.remembered[place] = flow.arrives(direction);
        }
        let leaves = flow.leaves(direction);
        let is_pods = matches!(place(leaves.from.ip()), Place::Pod(_));
        if leaves.to.ip() == plan(leaves.to.ip()).pod && !is_pods && self.chance(8) {
            // The stack, or another program, gives it to the pod.
            let hook = if place(leaves.from.ip()) == Place::Node {
                Hook::ToPodFromHost
            } else {
                Hook::ToPod
            };
            let packet = self.packet(hook, leaves);
            return Some(self.fitting(flow, direction, packet));
        }
        let tuple = flow.arrives(direction);
        let hook = self.hook(tuple.from.ip(), tuple.to.ip())?;
        let packet = self.packet(hook, tuple);
        Some(self.fitting(flow, direction, packet))
    }

    /// Now and then what its flow waits for.
    fn fitting(&mut self, flow: &Flow, direction: usize, mut packet: Packet) -> Packet {
        if let Kind::Segment(segment) = packet.kind
            && self.chance(50)
        {
            packet.kind = Kind::Segment(flow.fitting(segment, direction));
        }
        packet
    }

    /// A packet of a flow that there was, or is.
    fn late(&mut self) -> Option<Packet> {
        if self.remembered.is_empty() {
            return None;
        }
        let tuple = self.remembered[self.random.random_range(0..self.remembered.len())];
        let hook = self.hook(tuple.from.ip(), tuple.to.ip())?;
        let kind = self.kind(tuple);
        Some(Packet {
            hook,
            tuple,
            kind,
            part: Part::Whole,
        })
    }

    /// An ICMP error about a packet that went out, from its receiver or from a router.
    fn error(&mut self, model: &Model) -> Option<Packet> {
        let flow = &model.flows[&self.flow(model)?];
        let tuple = flow.leaves(self.random.random_range(0..2));
        let receiver = tuple.to.ip();
        let by = match place(receiver) {
            // Nobody stands between.
            Place::Pod(_) | Place::Node => receiver,
            _ => self.of(&[receiver, receiver, plan(receiver).outside]),
        };
        Some(Packet {
            hook: self.hook(by, tuple.from.ip())?,
            tuple,
            kind: Kind::Error(by),
            part: Part::Whole,
        })
    }

    /// A packet from somebody to somebody.
    fn fresh(&mut self) -> Packet {
        loop {
            let plan = self.of(&FAMILIES);
            let protocol = self.of(&[TCP, TCP, UDP, UDP, ICMP]);
            let (from, to) = (self.client(&plan), self.server(&plan));
            let Some(hook) = self.hook(from.ip(), to.ip()) else {
                continue;
            };
            let mut tuple = Tuple { protocol, from, to };
            if protocol == ICMP {
                // Also one that a translated source may have.
                let identifier = self.of(&[5, 6, 6, 20005]);
                tuple.from.set_port(identifier);
                tuple.to.set_port(identifier);
            }
            let kind = self.kind(tuple);
            // Now and then from where nobody has this address.
            let hook = if self.chance(3) {
                self.of(&[Hook::FromPod, Hook::FromNeighbour, Hook::FromNet])
            } else {
                hook
            };
            if hook == Hook::FromNet && place(to.ip()) == Place::RemotePod {
                continue;
            }
            return Packet {
                hook,
                tuple,
                kind,
                part: self.part(protocol),
            };
        }
    }

    fn client(&mut self, plan: &Plan) -> SocketAddr {
        let ip = self.of(&[
            plan.pod,
            plan.pod,
            plan.neighbour,
            plan.outside,
            plan.remote_pod,
            plan.node,
        ]);
        let ports = if ip == plan.node {
            // Also some that Services, or translated sources, have.
            [4000, 4001, 9000, 30000, 20005]
        } else {
            [4000, 4000, 4001, 4001, 8080]
        };
        SocketAddr::new(ip, self.of(&ports))
    }

    fn server(&mut self, plan: &Plan) -> SocketAddr {
        match self.random.random_range(0..10) {
            0..4 => plan.vip(self.of(&[1, 1, 2, 3, 4, 5, 6])),
            4..6 => plan.node(self.of(&[30000, 30001, 30002, 9000, 81])),
            6 => plan.pod(self.of(&[8080, 4000])),
            7 => plan.neighbour(self.of(&[8080, 9090, 4000])),
            8 => plan.remote_pod(self.of(&[8080, 4000])),
            _ => plan.outside(self.of(&[8080, 80])),
        }
    }

    /// Where a packet between two comes by, if it comes by here.
    fn hook(&mut self, from: IpAddr, to: IpAddr) -> Option<Hook> {
        Some(match (place(from), place(to)) {
            (Place::Pod(hook), _) => hook,
            (Place::Node, Place::Pod(Hook::FromPod)) => Hook::ToPodFromHost,
            (Place::Node, Place::Pod(_) | Place::Node) => return None,
            (Place::Node, Place::RemotePod) => Hook::ToNet,
            // Where the routes lead, or have led until now.
            (Place::Node, Place::Elsewhere) if plan(to).vip == to => {
                self.of(&[Hook::FromHost, Hook::FromHost, Hook::ToNet])
            }
            (Place::Node, Place::Elsewhere) if plan(to).outside == to => Hook::ToNet,
            (Place::Node, Place::Elsewhere) => Hook::FromHost,
            (_, Place::Pod(Hook::FromPod)) if self.chance(25) => Hook::ToPod,
            // No route leads back.
            _ if plan(from).vip == from => return None,
            (_, Place::RemotePod) => return None,
            (_, Place::Elsewhere) if plan(to).vip != to => return None,
            _ => Hook::FromNet,
        })
    }

    fn packet(&mut self, hook: Hook, tuple: Tuple) -> Packet {
        let kind = self.kind(tuple);
        Packet {
            hook,
            tuple,
            kind,
            part: self.part(tuple.protocol),
        }
    }

    fn part(&mut self, protocol: u8) -> Part {
        if protocol == TCP || !self.chance(20) {
            return Part::Whole;
        }
        let number = self.of(&[1, 2, 3]);
        self.of(&[Part::First(number), Part::Later(number)])
    }

    fn kind(&mut self, tuple: Tuple) -> Kind {
        match tuple.protocol {
            TCP => Kind::Segment(self.segment(tuple)),
            ICMP => self.of(&[Kind::Request, Kind::Reply]),
            _ => Kind::Datagram,
        }
    }

    /// Mostly what a connection is made of; now and then flags that no stack sends.
    fn segment(&mut self, tuple: Tuple) -> Segment {
        let mut segment = Segment {
            sequence: self.random.random_range(1000..60_000),
            ..Segment::default()
        };
        let odd = self.random.random_range(0_u32..16);
        match self.random.random_range(0..100) {
            0..25 => segment.syn = true,
            25..40 => (segment.syn, segment.ack) = (true, true),
            40..70 => segment.ack = true,
            70..85 => (segment.fin, segment.ack) = (true, true),
            85..90 => (segment.rst, segment.ack) = (true, true),
            90..94 => segment.rst = true,
            _ => {
                segment.syn = odd & 1 != 0;
                segment.ack = odd & 2 != 0;
                segment.fin = odd & 4 != 0;
                segment.rst = odd & 8 != 0;
            }
        }
        if segment.ack {
            segment.acknowledged = self.random.random_range(1000..60_000);
            segment.data = self.of(&[0, 0, 1, 100]);
        }
        if segment.rst && self.chance(50) {
            segment.sequence = segment.sequence.wrapping_add(IMPLAUSIBLE);
        }
        // Somewhere else for each pair of ends, but the same for all of a connection's segments.
        let ports = u32::from(tuple.from.port() ^ tuple.to.port());
        let base = [0, 0x4000_0000, 0xfff0_0000][ports as usize / 4 % 3];
        segment.sequence = segment.sequence.wrapping_add(base);
        if segment.ack {
            segment.acknowledged = segment.acknowledged.wrapping_add(base);
        }
        segment
    }

    fn change(&mut self, model: &Model) -> Change {
        let world = &model.world;
        let sets: Vec<u32> = world.sets.keys().copied().collect();
        let set = self.of(&sets);
        // Backends of a set are those that it began with: families and protocols do not mix.
        let candidates = world.candidates(set);
        let backend = self.of(candidates);
        let (address, frontend) = self.of(&world.offers);
        match self.random.random_range(0..10) {
            0..5 => Change::Serve { set, backend },
            5 => Change::Drain { set, backend },
            6 => Change::Remove { set, backend },
            7 => Change::Withdraw(address),
            _ => Change::Offer(address, frontend),
        }
    }
}
