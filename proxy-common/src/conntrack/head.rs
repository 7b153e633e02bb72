//! The word of a flow that changes: flags, what was seen of both sides, and the generation of its slot.

/// `Flow::head`, taken apart. Packed: flags in bits 0–15, protocol 16–23, `seen` 24–47, generation 48–63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// `FLOW_*` bits.
    pub flags: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP: 12 bits for each direction's sender, direction 0 in the lower half: the highest bits of what it acknowledged last.
    /// Once the other side has sent FIN: the lowest 11 bits of the number by which that is acknowledged, and above them 1 if it
    /// has been. Others: the low bits of `SERVICE_EPOCH` under which the flow was last compared with its Service.
    pub seen: u32,
    /// Grows with each flow that the slot holds.
    pub generation: u16,
}

const SEEN_MASK: u32 = 0xff_ffff;

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
}
