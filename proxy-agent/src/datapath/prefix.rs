//! Keys of longest-prefix-match tries.

/// A key of an `LPM_TRIE`: laid out as the kernel wants it, the length before the data.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix<D> {
    /// How many leading bits of `data` count. For `CIDRS4` and `CIDRS6` this includes the 32 bits of `side`.
    pub length: u32,
    /// The data.
    pub data: D,
}
