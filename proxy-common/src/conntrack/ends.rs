//! How a connection ends: which FIN and which RST counts.
//!
//! Whoever knows the ends of a connection can forge either of them. A FIN counts once its receiver has acknowledged it: one that
//! does not belong there is answered with another number (RFC 9293, 3.10.7.4). A RST counts at what its receiver acknowledged
//! last: what is not exact, that one answers (RFC 5961, 3.2), and a true sender resets it once more, exactly. No field of the
//! record has a whole number, so both are compared in part.

use super::{FLOW_FIN_0, FLOW_RST_0, FLOW_RST_1, Head};
use crate::address::TCP;

/// Bits of `Head::seen` for each direction's sender.
const HALF: u32 = 12;
const HALF_MASK: u32 = (1 << HALF) - 1;
/// The other side's FIN is acknowledged.
const ACKNOWLEDGED: u32 = 1 << (HALF - 1);
/// What is known of the number by which a FIN is acknowledged.
const END_MASK: u32 = ACKNOWLEDGED - 1;
/// What is acknowledged is noted in units of 1 MiB.
const UNIT_SHIFT: u32 = 32 - HALF;
/// A RST is believed in the unit that its receiver acknowledged last, and in the next one: of what was under way.
const UNITS_BELIEVED: u32 = 2;

/// A segment of TCP that is no RST, as far as it has to do with the end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The flow's direction in which it goes.
    pub direction: u32,
    /// SYN.
    pub syn: bool,
    /// FIN.
    pub fin: bool,
    /// What it acknowledges.
    pub acknowledges: Option<u32>,
    /// Its sequence number.
    pub sequence: u32,
    /// How many bytes of data it carries.
    pub data: u32,
}

impl Head {
    /// What it is after a segment. A FIN that counts is taken back by data that its sender sends nevertheless.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn after(mut self, segment: Segment) -> Self {
        let direction = segment.direction;
        if segment.syn || segment.data != 0 && !segment.fin && self.has_ended(direction) {
            self = self.without_fin(direction);
        }
        if let Some(number) = segment.acknowledges {
            self = self.acknowledging(direction, number);
        }
        if segment.fin {
            let end = segment
                .sequence
                .wrapping_add(segment.data + segment.syn as u32 + 1);
            self = self.with_fin(direction, end & END_MASK);
        }
        self
    }

    /// Whether a direction has sent FIN, and its receiver has acknowledged that.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn has_ended(self, direction: u32) -> bool {
        self.has_fin(direction) && self.half(direction ^ 1) & ACKNOWLEDGED != 0
    }

    /// With a FIN of a direction that counts, of which the number is not known.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn ended(mut self, direction: u32) -> Self {
        self.flags |= fin_of(direction);
        self.with_half(direction ^ 1, ACKNOWLEDGED)
    }

    /// Whether a connection is over: ended by both sides, or broken off by one.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn is_closed(self) -> bool {
        self.protocol == TCP
            && (self.flags & (FLOW_RST_0 | FLOW_RST_1) != 0
                || self.has_ended(0) && self.has_ended(1))
    }

    /// Whether it is noted of a direction's sender that it has acknowledged this, and the other side has sent no FIN.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn has_noted(self, direction: u32, number: u32) -> bool {
        !self.has_fin(direction ^ 1) && self.half(direction) == number >> UNIT_SHIFT
    }

    /// Whether a RST that a direction sends may be one that its receiver believes: at what that has acknowledged, or a little
    /// beyond; after a FIN at its number, or the next one.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn believes_reset(self, direction: u32, sequence: u32) -> bool {
        let half = self.half(direction ^ 1);
        if self.has_fin(direction) {
            return half.wrapping_sub(sequence) & END_MASK <= 1;
        }
        (sequence >> UNIT_SHIFT).wrapping_sub(half) & HALF_MASK < UNITS_BELIEVED
    }

    /// With the FIN of a direction, acknowledged by a number of which these are the lowest bits. Sent again it is the same.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    const fn with_fin(mut self, direction: u32, end: u32) -> Self {
        if self.has_fin(direction) && self.half(direction ^ 1) & END_MASK == end {
            return self;
        }
        self.flags |= fin_of(direction);
        self.with_half(direction ^ 1, end)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    const fn without_fin(mut self, direction: u32) -> Self {
        if !self.has_fin(direction) {
            return self;
        }
        self.flags &= !fin_of(direction);
        self.with_half(direction ^ 1, 0)
    }

    /// Notes what the sender of a direction acknowledges.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    const fn acknowledging(self, direction: u32, number: u32) -> Self {
        if !self.has_fin(direction ^ 1) {
            return self.with_half(direction, number >> UNIT_SHIFT);
        }
        let half = self.half(direction);
        if (half ^ number) & END_MASK == 0 {
            self.with_half(direction, half | ACKNOWLEDGED)
        } else {
            self
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    const fn has_fin(self, direction: u32) -> bool {
        self.flags & fin_of(direction) != 0
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    const fn half(self, direction: u32) -> u32 {
        self.seen >> (HALF * (direction & 1)) & HALF_MASK
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    const fn with_half(self, direction: u32, half: u32) -> Self {
        let shift = HALF * (direction & 1);
        let seen = self.seen & !(HALF_MASK << shift) | half << shift;
        Self { seen, ..self }
    }
}

/// The bit of a direction's FIN.
#[inline(always)]
#[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
const fn fin_of(direction: u32) -> u16 {
    FLOW_FIN_0 << (direction & 1)
}

#[cfg(test)]
mod tests {
    use super::{Head, Segment};
    use crate::{
        address::TCP,
        conntrack::{FLOW_FIN_0, FLOW_FIN_1},
    };

    const NEW: Head = Head {
        flags: 0,
        protocol: TCP,
        seen: 0,
        generation: 7,
    };

    fn acknowledging(direction: u32, number: u32) -> Segment {
        Segment {
            direction,
            acknowledges: Some(number),
            ..Segment::default()
        }
    }

    fn fin(direction: u32, sequence: u32, data: u32) -> Segment {
        Segment {
            direction,
            fin: true,
            sequence,
            data,
            ..Segment::default()
        }
    }

    fn data(direction: u32) -> Segment {
        Segment {
            direction,
            data: 1,
            ..acknowledging(direction, 77)
        }
    }

    #[test]
    fn a_reset_is_believed_at_what_its_receiver_acknowledged_last() {
        for number in [0_u32, 1000, 0xfff0_1234, u32::MAX] {
            // Direction 0 sends the RST, direction 1 has acknowledged.
            let head = NEW.after(acknowledging(1, number));
            for (distance, believed) in [
                (0, true),
                (1 << 20, true),
                (1 << 21, false),
                (1 << 29, false),
                (1 << 31, false),
                (0_u32.wrapping_sub(1 << 20), false),
            ] {
                let sequence = number.wrapping_add(distance);
                assert_eq!(head.believes_reset(0, sequence), believed, "{distance:#x}");
            }
            let both = head.after(acknowledging(0, 77 << 20));
            assert!(both.believes_reset(0, number) && both.believes_reset(1, 77 << 20));
        }
    }

    #[test]
    fn a_fin_counts_once_it_is_acknowledged() {
        for sequence in [0_u32, 0x7ff, 0xffff_fff0] {
            let end = sequence.wrapping_add(101);
            let mut head = NEW.after(fin(0, sequence, 100));
            let steps = [
                (sequence, false),
                (end.wrapping_add(5), false),
                (end, true),
                (1, true),
            ];
            for (acknowledged, counts) in steps {
                head = head.after(acknowledging(1, acknowledged));
                assert_eq!(head.has_ended(0), counts, "{sequence:#x} {acknowledged:#x}");
            }
            assert_eq!(head.after(fin(0, sequence, 100)), head, "sent again");
            assert!(head.believes_reset(0, end) && head.believes_reset(0, end.wrapping_sub(1)));
            assert!(!head.believes_reset(0, end.wrapping_add(1)));
            let other = head.after(fin(0, sequence, 99));
            assert!(
                !other.has_ended(0),
                "another one is to be acknowledged anew"
            );
            let answered = head.after(fin(1, 500, 0));
            assert!(!answered.is_closed());
            assert!(answered.after(acknowledging(0, 501)).is_closed());
        }
    }

    #[test]
    fn who_sends_on_has_sent_no_fin() {
        let sent = NEW.after(fin(1, 1000, 0));
        assert_eq!(
            sent.after(data(1)).flags,
            FLOW_FIN_1,
            "sent again what was before it"
        );
        let ended = sent.after(acknowledging(0, 1001));
        assert!(ended.has_ended(1));
        assert!(ended.after(data(0)).has_ended(1), "the other side may");
        assert!(ended.after(acknowledging(1, 77)).has_ended(1), "no data");
        let goes_on = ended.after(data(1)).after(acknowledging(0, 5 << 20));
        assert_eq!(goes_on.flags, 0);
        assert!(goes_on.believes_reset(1, 5 << 20));
        assert!(NEW.ended(0).has_ended(0) && NEW.ended(0).ended(1).is_closed());
        let syn = Segment {
            syn: true,
            ..Segment::default()
        };
        assert_eq!(NEW.after(fin(0, 1, 0)).after(syn).flags & FLOW_FIN_0, 0);
    }
}
