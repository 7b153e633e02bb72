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
/// A RST so far from what its receiver has acknowledged, in either direction, is nobody's (4 MiB). Nearer ones but for the exact one
/// the programs may take for true: they need not know the whole number.
const FAR: u32 = 1 << 22;
/// Of the number of a FIN too they need to know no more than its remainder by this.
const ALIKE: u32 = 1 << 11;

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
    /// Which side has ended it, as the other one knows.
    pub(crate) fin: [bool; 2],
    /// Which side has broken it off, and nobody has spoken since.
    pub(crate) rst: [bool; 2],
    /// The number by which each side's FIN is acknowledged, if it has sent one.
    sent: [Option<u32>; 2],
    /// What each side has acknowledged last, if that is known.
    acknowledged: [Option<u32>; 2],
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
            sent: [None; 2],
            acknowledged: [None; 2],
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
        let mut seen = self.believes(packet, direction);
        if seen != Seen::Counted {
            return seen;
        }
        let segment = packet.segment();
        let speaks = segment.is_none_or(|segment| !segment.syn && !segment.rst);
        if direction == 0 && self.replied && speaks {
            self.assured = true;
        }
        self.replied |= direction == 1;
        match segment {
            Some(segment) if segment.rst => self.rst[direction] = true,
            Some(segment) => {
                self.rst = [false; 2];
                seen = self.says(segment, direction);
            }
            None => {}
        }
        self.expires = now + self.lifetime();
        // A FIN that nobody acknowledges: its receiver may be gone.
        if segment.is_some_and(|segment| segment.fin && !segment.rst)
            && self.assured
            && !self.is_closed()
        {
            self.expires = now + CLOSE_WAIT;
        }
        seen
    }

    /// Takes into account what a segment says that is no RST.
    fn says(&mut self, segment: Segment, direction: usize) -> Seen {
        let (other, mut seen) = (1 - direction, Seen::Counted);
        let sends_on = segment.data != 0 && !segment.fin && self.fin[direction];
        if segment.syn || sends_on {
            self.fin[direction] = false;
            if self.sent[direction].take().is_some() {
                self.acknowledged[other] = None;
            }
        }
        match self.sent[other].filter(|_| segment.ack) {
            Some(end) if end == segment.acknowledged => self.fin[other] = true,
            Some(end) if is_alike(end, segment.acknowledged) => seen = Seen::Unclear,
            None if segment.ack => self.acknowledged[direction] = Some(segment.acknowledged),
            _ => {}
        }
        if segment.fin {
            let end = segment.end();
            let before = self.sent[direction].replace(end);
            match before {
                Some(before) if before == end => {}
                Some(before) if is_alike(before, end) => seen = Seen::Unclear,
                _ => self.fin[direction] = false,
            }
        }
        seen
    }

    /// Whether the receiver would believe this (RFC 5961): a RST ends no connection that it does not belong to.
    fn believes(&self, packet: &Packet, direction: usize) -> Seen {
        let Some(segment) = packet
            .segment()
            .filter(|segment| segment.rst && self.assured)
        else {
            return Seen::Counted;
        };
        let number = segment.sequence;
        if let Some(end) = self.sent[direction] {
            // Before the FIN was acknowledged, or after.
            let exact = [end, end.wrapping_sub(1)];
            return if exact.contains(&number) {
                Seen::Counted
            } else if exact.iter().any(|exact| is_alike(*exact, number)) {
                Seen::Unclear
            } else {
                Seen::Ignored
            };
        }
        match self.acknowledged[1 - direction] {
            Some(exact) if exact == number => Seen::Counted,
            Some(exact) if exact.wrapping_sub(number).min(number.wrapping_sub(exact)) >= FAR => {
                Seen::Ignored
            }
            _ => Seen::Unclear,
        }
    }

    /// A segment of a direction, with numbers that mean something to its flow in place of any.
    pub(crate) fn fitting(&self, mut segment: Segment, direction: usize) -> Segment {
        let other = 1 - direction;
        if segment.rst
            && let Some(exact) = self.sent[direction].or(self.acknowledged[other])
        {
            segment.sequence = exact;
        } else if segment.fin
            && let Some(end) = self.sent[direction]
        {
            // Sent again.
            segment.sequence = end.wrapping_sub(segment.end().wrapping_sub(segment.sequence));
        }
        if segment.ack
            && let Some(end) = self.sent[other]
        {
            segment.acknowledged = end;
        }
        segment
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

const fn is_alike(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).is_multiple_of(ALIKE)
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
            data: 0,
        })
    }

    #[test]
    fn a_connection_lives_long_only_once_its_beginner_has_spoken_again() {
        let mut flow = flow(TCP);
        assert_eq!(flow.expires, 60);
        let steps = [
            (1, "SA", 0, 60),
            (0, "S", 0, 60),
            (0, "A", 1000, 86400),
            (1, "FA", 1000, 3600),
            (0, "A", 1000, 86400),
            (0, "A", 1001, 3600),
            (0, "FA", 1001, 3600),
            (1, "A", 1000, 3600),
            (1, "A", 1001, 10),
        ];
        for (direction, flags, acknowledged, expires) in steps {
            let seen = after(&mut flow, direction, segment(flags, 1000, acknowledged));
            assert_eq!(seen, (Seen::Counted, expires), "{direction} {flags}");
        }
        assert!(flow.is_closed());
        let more = Segment {
            ack: true,
            data: 4,
            ..Segment::default()
        };
        for expires in [3600, 86400] {
            let direction = usize::from(expires == 86400);
            let seen = after(&mut flow, direction, Kind::Segment(more));
            assert_eq!(seen.1, expires, "{direction} sends on");
        }
    }

    #[test]
    fn a_reset_counts_only_where_its_receiver_believes_it_and_until_somebody_speaks() {
        let base = 0x7000_0000;
        let mut flow = flow(TCP);
        after(&mut flow, 1, segment("SA", 0, base));
        after(&mut flow, 0, segment("A", base, 77 << 20));
        let forged = after(&mut flow, 0, segment("R", base + FAR, 0));
        assert_eq!(forged, (Seen::Ignored, 86400));
        let near = after(&mut flow, 0, segment("R", base + 99, 0));
        assert_eq!(near.0, Seen::Unclear);
        for direction in 0..2 {
            let true_one = after(&mut flow, 0, segment("R", base, 0));
            assert_eq!(true_one, (Seen::Counted, 10));
            let goes_on = after(&mut flow, direction, segment("A", base, base));
            assert_eq!(goes_on, (Seen::Counted, 86400));
        }
    }

    #[test]
    fn datagrams_live_longer_once_both_ways_are_in_use() {
        let mut flow = flow(UDP);
        let lives = [0, 1, 0].map(|direction| after(&mut flow, direction, Kind::Datagram).1);
        assert_eq!(lives, [30, 30, 120]);
    }
}
