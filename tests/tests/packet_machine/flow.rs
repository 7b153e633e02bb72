//! A flow as RFC 9293, netfilter and kube-proxy's time-outs have it, not as the programs store it.

use proxy_common::address::{TCP, UDP};

use weir_tests::flow_table::Tuple;

use super::packet::{Kind, Packet, Segment};

/// Seconds that connections live which are not established.
const HALF_OPEN: u32 = 60;
const ESTABLISHED: u32 = 24 * 3600;
const CLOSE_WAIT: u32 = 3600;
const CLOSED: u32 = 10;
const DATAGRAMS: u32 = 30;
const DATAGRAMS_BOTH_WAYS: u32 = 120;
const ECHOES: u32 = 30;
/// What has been acknowledged is noted by the MiB.
const GRAIN: u32 = 1 << 20;
const GRAINS: u32 = 1 << 12;
/// How far beyond that a RST may lie: 1 GiB.
const AHEAD: u32 = 1 << 10;

/// Who sent the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginner {
    Pod,
    /// Somebody outside.
    Net,
    /// The node itself.
    Host,
}

/// A flow. Pairs are indexed by direction; 0 is the beginner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) beginner: Beginner,
    /// What the beginner's packets arrive as.
    pub(crate) asked: Tuple,
    /// What they are turned into.
    pub(crate) served: Tuple,
    /// Ids of the Service port and of the backend.
    pub(crate) service: Option<(u32, u32)>,
    /// The host's stack must see both directions, as client and backend, or neither.
    pub(crate) by_stack: bool,
    pub(crate) replied: bool,
    pub(crate) assured: bool,
    pub(crate) fin: [bool; 2],
    /// Which side has broken it off, and has not spoken since.
    pub(crate) rst: [bool; 2],
    /// What each side may be known to have acknowledged, by the MiB: any of these, as it is noted now and then only.
    acknowledged: [Vec<u32>; 2],
    /// The second in which it ends.
    pub(crate) expires: u32,
}

/// What a packet was for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Counted,
    /// It changes nothing.
    Ignored,
    /// Either, depending on what was noted.
    Unclear,
}

impl Flow {
    /// One that begins.
    pub(crate) fn new(
        beginner: Beginner,
        asked: Tuple,
        served: Tuple,
        service: Option<(u32, u32)>,
        now: u32,
    ) -> Self {
        let mut flow = Self {
            beginner,
            asked,
            served,
            service,
            by_stack: false,
            replied: false,
            assured: false,
            fin: [false; 2],
            rst: [false; 2],
            acknowledged: [vec![0], vec![0]],
            expires: 0,
        };
        flow.expires = now + flow.lifetime();
        flow
    }

    /// The tuple of packets of a direction as they arrive.
    pub(crate) const fn arrives(&self, direction: usize) -> Tuple {
        if direction == 0 {
            self.asked
        } else {
            self.served.reversed()
        }
    }

    /// The tuple into which they are turned.
    pub(crate) const fn leaves(&self, direction: usize) -> Tuple {
        if direction == 0 {
            self.served
        } else {
            self.asked.reversed()
        }
    }

    pub(crate) fn is_translated(&self) -> bool {
        self.asked != self.served
    }

    /// Both sides have ended it, or one has broken it off.
    pub(crate) const fn is_closed(&self) -> bool {
        self.rst[0] || self.rst[1] || self.fin[0] && self.fin[1]
    }

    /// Takes a packet into account.
    pub(crate) fn sees(&mut self, packet: &Packet, direction: usize, now: u32) -> Seen {
        if matches!(packet.kind, Kind::Error(_)) {
            return Seen::Ignored;
        }
        let seen = self.believes(packet, direction);
        if seen != Seen::Counted {
            return seen;
        }
        let before = (self.replied, self.assured, self.fin, self.rst);
        let segment = packet.segment();
        let speaks = segment.is_none_or(|segment| !segment.syn && !segment.rst);
        if direction == 0 && self.replied && speaks {
            self.assured = true;
        }
        self.replied |= direction == 1;
        if let Some(segment) = segment {
            self.rst[direction] = segment.rst;
            self.fin[direction] |= segment.fin;
            let changed = before != (self.replied, self.assured, self.fin, self.rst);
            self.notes(direction, segment, changed);
        }
        self.expires = now + self.lifetime();
        Seen::Counted
    }

    /// Notes what a side acknowledges: whenever the flow changes, else perhaps.
    fn notes(&mut self, direction: usize, segment: Segment, changed: bool) {
        let known = &mut self.acknowledged[direction];
        let grain = segment.acknowledged / GRAIN;
        if segment.ack && changed {
            *known = vec![grain];
        } else if segment.ack && !known.contains(&grain) {
            known.push(grain);
        }
    }

    /// Whether the receiver would believe this (RFC 5961): a RST ends no connection that it does not belong to.
    fn believes(&self, packet: &Packet, direction: usize) -> Seen {
        let Some(segment) = packet
            .segment()
            .filter(|segment| segment.rst && self.assured)
        else {
            return Seen::Counted;
        };
        let known = &self.acknowledged[1 - direction];
        let believing =
            |noted: &&u32| (segment.sequence / GRAIN).wrapping_sub(**noted) % GRAINS < AHEAD;
        match known.iter().filter(believing).count() {
            0 => Seen::Ignored,
            all if all == known.len() => Seen::Counted,
            _ => Seen::Unclear,
        }
    }

    const fn lifetime(&self) -> u32 {
        match self.asked.protocol {
            TCP if self.is_closed() => CLOSED,
            TCP if !self.assured => HALF_OPEN,
            TCP if self.fin[0] || self.fin[1] => CLOSE_WAIT,
            TCP => ESTABLISHED,
            UDP if self.assured => DATAGRAMS_BOTH_WAYS,
            UDP => DATAGRAMS,
            _ => ECHOES,
        }
    }
}

#[cfg(test)]
mod tests {
    use proxy_common::address::TCP;
    use weir_tests::packets::{Hook, V4};

    use super::*;
    use crate::packet::Part;

    fn flow(protocol: u8) -> Flow {
        let asked = Tuple {
            protocol,
            from: V4.pod(4000),
            to: V4.vip(1),
        };
        Flow::new(Beginner::Pod, asked, asked, None, 0)
    }

    /// Puts a packet in; what it was and how long the flow lives now.
    fn after(flow: &mut Flow, direction: usize, kind: Kind) -> (Seen, u32) {
        let packet = Packet {
            hook: Hook::FromPod,
            tuple: flow.arrives(direction),
            kind,
            part: Part::Whole,
        };
        (flow.sees(&packet, direction, 0), flow.expires)
    }

    /// Flags by their letters.
    fn segment(flags: &str, sequence: u32, acknowledged: u32) -> Kind {
        Kind::Segment(Segment {
            syn: flags.contains('S'),
            ack: flags.contains('A'),
            fin: flags.contains('F'),
            rst: flags.contains('R'),
            sequence,
            acknowledged,
        })
    }

    #[test]
    fn a_connection_lives_long_only_once_its_beginner_has_spoken_again() {
        let mut flow = flow(TCP);
        assert_eq!(flow.expires, 60);
        let steps = [
            (1, "SA", 60),
            (0, "S", 60),
            (0, "A", 86400),
            (1, "FA", 3600),
            (0, "A", 3600),
            (0, "FA", 10),
        ];
        for (direction, flags, expires) in steps {
            let seen = after(&mut flow, direction, segment(flags, 1000, 1000));
            assert_eq!(seen, (Seen::Counted, expires), "{direction} {flags}");
        }
        assert!(flow.is_closed());
    }

    #[test]
    fn a_reset_counts_only_where_its_receiver_believes_it_and_until_its_sender_speaks_again() {
        let base = 0x7000_0000;
        let mut flow = flow(TCP);
        after(&mut flow, 1, segment("SA", 0, base));
        after(&mut flow, 0, segment("A", base, 77 << 20));
        let forged = after(&mut flow, 0, segment("R", base + (1 << 31), 0));
        assert_eq!(forged, (Seen::Ignored, 86400));
        let true_one = after(&mut flow, 0, segment("R", base + 99, 0));
        assert_eq!(true_one, (Seen::Counted, 10));
        let goes_on = after(&mut flow, 0, segment("A", base, 77 << 20));
        assert_eq!(goes_on, (Seen::Counted, 86400));
    }

    #[test]
    fn datagrams_live_longer_once_both_ways_are_in_use() {
        let mut flow = flow(UDP);
        let lives = [0, 1, 0].map(|direction| after(&mut flow, direction, Kind::Datagram).1);
        assert_eq!(lives, [30, 30, 120]);
    }
}
