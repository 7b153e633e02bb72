//! `POLICY_WORDS` (ARRAY, mmapable, endpoint id → `u64`): the one word that commits an endpoint's policy.
//!
//! `ingress row : 20 | egress row : 20 | side : 1 | epoch : 23`, from the low end. Row 0 denies all (the
//! node itself excepted): the state of an endpoint whose policy is not known yet. Row 1 allows all.

/// Row that denies everything.
pub const ROW_DENY_ALL: u32 = 0;
/// Row that allows everything.
pub const ROW_ALLOW_ALL: u32 = 1;
/// First row for compiled policy.
pub const ROW_FIRST: u32 = 2;
/// Rows are below this.
pub const ROW_LIMIT: u32 = 1 << 20;
/// Epochs are below this; then they begin anew at 1.
pub const EPOCH_LIMIT: u32 = 1 << 23;

/// A policy word, taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyWord {
    /// Row that judges flows begun by others.
    pub ingress_row: u32,
    /// Row that judges flows begun by the pod.
    pub egress_row: u32,
    /// Which half of `PEERS*` and `CIDRS*` names the classes: 0 or 1.
    pub side: u32,
    /// Grows with every commit; a flow allowed under another epoch is judged anew.
    pub epoch: u32,
}

impl PolicyWord {
    /// Packs the word.
    #[must_use]
    pub const fn pack(self) -> u64 {
        (self.ingress_row as u64 & 0xf_ffff)
            | (self.egress_row as u64 & 0xf_ffff) << 20
            | (self.side as u64 & 1) << 40
            | (self.epoch as u64 & 0x7f_ffff) << 41
    }

    /// Takes the word apart.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn unpack(word: u64) -> Self {
        Self {
            ingress_row: (word & 0xf_ffff) as u32,
            egress_row: (word >> 20 & 0xf_ffff) as u32,
            side: (word >> 40 & 1) as u32,
            epoch: (word >> 41) as u32,
        }
    }
}
