//! The word of a flow that changes: flags, what was seen of both sides, and the generation of its slot.

/// `Flow::head`, taken apart. Packed: flags in bits 0–15, protocol 16–23, `seen` 24–47, generation 48–63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// `FLOW_*` bits.
    pub flags: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP: 12 bits for each direction's sender, direction 0 in the lower half: the highest bits of what it
    /// acknowledged, as noted once a second. Others: the low bits of `SERVICE_EPOCH` under which the flow was last
    /// compared with its Service.
    pub seen: u32,
    /// Grows with each flow that the slot holds.
    pub generation: u16,
}

const SEEN_MASK: u32 = 0xff_ffff;
const HALF: u32 = 12;
const HALF_MASK: u32 = (1 << HALF) - 1;

/// How far beyond the last noted acknowledgement a RST is believed, in units of 1 MiB: what a fast link carries in
/// the second between two notes.
pub const ACKNOWLEDGED_AHEAD: u32 = 1 << 10;

impl Head {
    /// Packs the word.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn pack(self) -> u64 {
        self.flags as u64
            | (self.protocol as u64) << 16
            | ((self.seen & SEEN_MASK) as u64) << 24
            | (self.generation as u64) << 48
    }

    /// Takes the word apart.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn unpack(word: u64) -> Self {
        Self {
            flags: word as u16,
            protocol: (word >> 16) as u8,
            seen: (word >> 24) as u32 & SEEN_MASK,
            generation: (word >> 48) as u16,
        }
    }

    /// Notes what the sender of a direction acknowledges.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn acknowledging(self, direction: u32, number: u32) -> Self {
        let shift = HALF * (direction & 1);
        let seen = self.seen & !(HALF_MASK << shift) | (number >> (32 - HALF)) << shift;
        Self { seen, ..self }
    }

    /// Whether a RST that direction `direction` sends may be one that its receiver believes: not before what that has
    /// acknowledged, and not far beyond it (RFC 5961, 3.2; the window itself is not tracked).
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn believes_reset(self, direction: u32, sequence: u32) -> bool {
        let shift = HALF * (1 - (direction & 1));
        let noted = self.seen >> shift & HALF_MASK;
        (sequence >> (32 - HALF)).wrapping_sub(noted) & HALF_MASK < ACKNOWLEDGED_AHEAD
    }

    /// The epoch of Services under which a flow without acknowledgements was last compared with its Service is this.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn compared_at(self, epoch: u32) -> bool {
        self.seen == epoch & SEEN_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn a_head_is_what_was_packed() {
        let head = Head {
            flags: 0x8421,
            protocol: 17,
            seen: 0xab_cdef,
            generation: 0xfedc,
        };
        assert_eq!(Head::unpack(head.pack()), head);
    }

    #[test]
    fn a_reset_is_believed_at_what_its_receiver_acknowledged_and_a_little_beyond() {
        let number = 0xfff0_1234_u32;
        let head = Head::default().acknowledging(1, number);
        // Direction 0 sends the RST, direction 1 has acknowledged.
        for (distance, believed) in [
            (0, true),
            (1 << 20, true),
            (1 << 29, true),
            (1 << 31, false),
            (0_u32.wrapping_sub(1 << 22), false),
        ] {
            let sequence = number.wrapping_add(distance);
            assert_eq!(head.believes_reset(0, sequence), believed, "{distance:#x}");
        }
        let both = head.acknowledging(0, 77 << 20);
        assert!(both.believes_reset(0, number) && both.believes_reset(1, 77 << 20));
    }
}
