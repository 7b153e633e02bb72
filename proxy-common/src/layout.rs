//! The layout hash: pinned beside the maps and compared at start, because aya does not check a pinned map
//! against the object that re-uses it.

/// Number of the schema; part of the pins' path. Raised when entries of the old maps cannot be kept.
pub const SCHEMA: u32 = 1;

/// FNV-1a over the text of every module that declares a map type, so that any change of them shows. The
/// same source gives the same hash on every machine.
pub const HASH: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let sources: &[&[u8]] = &[
        include_bytes!("affinity.rs"),
        include_bytes!("backends.rs"),
        include_bytes!("conntrack.rs"),
        include_bytes!("counters.rs"),
        include_bytes!("endpoints.rs"),
        include_bytes!("fragments.rs"),
        include_bytes!("frontends.rs"),
        include_bytes!("node.rs"),
        include_bytes!("policy/cells.rs"),
        include_bytes!("policy/intervals.rs"),
        include_bytes!("policy/peers.rs"),
        include_bytes!("policy/words.rs"),
        include_bytes!("sockets.rs"),
    ];
    let mut module = 0;
    while module < sources.len() {
        let mut byte = 0;
        while byte < sources[module].len() {
            hash ^= sources[module][byte] as u64;
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
            byte += 1;
        }
        module += 1;
    }
    hash
};
